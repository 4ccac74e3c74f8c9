"""Budgets: dollars per UTC calendar month for a team, service, namespace or billing path.

Enters: tables of `[[budgets]]`, or the short form `team:payments=500,service:checkout=120.50`.
Leaves: budgets that are all right, or one error that quotes every rule that is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from flowcost import money
from flowcost.access.principal import Principal
from flowcost.errors import UsageError
from flowcost.ledger.ends import ATTRIBUTE_BY
from flowcost.model import Path

# More than a hundred million dollars a month is a typing error; the bound keeps sums in range.
_MOST = Decimal(10) ** 8


class BudgetKind(StrEnum):
    """What a budget is for; each is one group key of the ledger."""

    TEAM = "team"
    SERVICE = "service"
    NAMESPACE = "namespace"
    PATH = "path"


KEYS = {
    BudgetKind.TEAM: "owner.team",
    BudgetKind.SERVICE: "service.name",
    BudgetKind.NAMESPACE: "k8s.namespace.name",
    BudgetKind.PATH: "path",
}


class Budget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[budgets]]`: what may be spent in a UTC calendar month.

    Raises:
        ValueError: a budget that could never, or always, be exceeded; its rule is quoted.
    """

    kind: Annotated[str, Meta(description="team, service, namespace or path")]
    name: Annotated[str, Meta(description="which one, as the ledger spells it")]
    monthly_usd: Annotated[
        Decimal,
        Meta(description="dollars a month", extra_json_schema={"type": ["number", "string"]}),
    ]
    thresholds: Annotated[
        tuple[int, ...], Meta(description="percents of it that are signalled, each once a month")
    ] = (100,)
    attribute_by: Annotated[str, Meta(description="which end pays, as in `--attribute-by`")] = (
        "local"
    )
    tenant: Annotated[str, Meta(description="whose budget")] = "default"

    def __post_init__(self) -> None:
        problems = "; ".join(_problems(self))
        if problems:
            raise ValueError(f"{self.rule!r}: {problems}")

    @property
    def limit(self) -> int:
        """Return the amount as a numerator over `money.ONE`."""
        return money.from_decimal(self.monthly_usd)

    @property
    def target(self) -> str:
        """Return what signals call it: `team:payments`."""
        return f"{self.kind}:{self.name}"

    @property
    def rule(self) -> str:
        """Return it in the short form, for messages."""
        return f"{self.target}={self.monthly_usd}"


class BudgetState(Struct, frozen=True, kw_only=True):
    """One budget in one month; money is numerators over `money.ONE`.

    `month` is its first day. `unpriced_bytes` were moved on the budget's account without a rate,
    so they are not in `spent`. `crossed` are the thresholds reached, in percent.
    """

    kind: str
    name: str
    month: date
    limit: int
    spent: int
    unpriced_bytes: int
    crossed: tuple[int, ...]

    @property
    def exceeded(self) -> bool:
        """Return whether the whole amount is spent."""
        return self.spent >= self.limit


def short_form(text: str, *, tenant: str = "default") -> tuple[Budget, ...]:
    """Return the budgets of `kind:name=usd,…`; blank items are skipped.

    Raises:
        UsageError: a rule is malformed; every such rule is quoted.
    """
    found, wrong = [], []
    for rule in filter(None, (item.strip() for item in text.split(","))):
        try:
            found.append(_budget(rule, tenant))
        except ValueError as problem:
            wrong.append(str(problem))
    _refuse(wrong)
    return ordered(found)


def ordered(budgets: Iterable[Budget]) -> tuple[Budget, ...]:
    """Return the budgets in order of tenant, kind and name.

    Raises:
        UsageError: a target is given twice; it is quoted.
    """
    found = sorted(budgets, key=lambda b: (b.tenant, b.kind, b.name))
    times = Counter((b.tenant, b.target) for b in found).items()
    _refuse([f"{target!r}: given {count} times" for (_, target), count in times if count > 1])
    return tuple(found)


def visible(target: str, principal: Principal) -> bool:
    """Return whether a principal may see what is about `target` (`kind:name`).

    Who is scoped sees the budgets of their own teams and namespaces: a service or a path is
    spent on by others too.
    """
    kind, _, name = target.partition(":")
    return (
        not (principal.namespaces or principal.owners)
        or (kind == BudgetKind.TEAM and name in principal.owners)
        or (kind == BudgetKind.NAMESPACE and name in principal.namespaces)
    )


def _budget(rule: str, tenant: str) -> Budget:
    target, equals, amount = rule.partition("=")
    kind, colon, name = target.partition(":")
    if not (equals and colon):
        raise ValueError(f"{rule!r}: not kind:name=usd")
    try:
        usd = Decimal(amount.strip())
    except InvalidOperation:
        raise ValueError(f"{rule!r}: {amount.strip()!r} is not a number of dollars") from None
    return Budget(kind=kind.strip(), name=name.strip(), monthly_usd=usd, tenant=tenant)


def _problems(budget: Budget) -> Iterable[str]:
    kinds = [kind.value for kind in BudgetKind]
    if budget.kind not in kinds:
        yield f"unknown kind {budget.kind!r}, one of {', '.join(kinds)}"
    if not budget.name:
        yield "no name"
    elif budget.kind == BudgetKind.PATH and budget.name not in list(Path):
        yield f"unknown path, one of {', '.join(Path)}"
    if not budget.tenant:
        yield "no tenant"
    usd = budget.monthly_usd
    # Zero, NaN and infinity would never, or always, be exceeded.
    if not usd.is_finite() or not 0 < usd <= _MOST:
        yield f"the amount must be above 0 and at most {_MOST} dollars"
    elif usd.as_tuple().exponent < -money.PRICE_PLACES:  # type: ignore[operator] # it is finite
        yield f"the amount has more than {money.PRICE_PLACES} decimals"
    if not budget.thresholds or len(set(budget.thresholds)) < len(budget.thresholds):
        yield "thresholds must be there and differ"
    if not all(1 <= percent <= 100 for percent in budget.thresholds):
        yield "thresholds are percents from 1 to 100"
    if budget.attribute_by not in ATTRIBUTE_BY:
        yield f"attribute_by must be one of {', '.join(ATTRIBUTE_BY)}"


def _refuse(wrong: list[str]) -> None:
    if wrong:
        raise UsageError(
            "budgets:\n  " + "\n  ".join(wrong),
            hint="write team:payments=500, with kind, name and dollars a month",
        )
