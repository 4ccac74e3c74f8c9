"""`GET /v1/cost/summary`: the summary of `insights.cost_summary` in its own JSON.

Money is a JSON number here, as that format has it: the exact amount, rounded half up to ten
decimals and written as digits. Everywhere else in `/v1` money is decimal text.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from flowcost import clock, money
from flowcost.insights.budgets import BudgetState, visible
from flowcost.insights.cost_summary import Amount, Summary, summarise
from flowcost.ledger.query import Selection
from flowcost.views.api import guard
from flowcost.views.api.endpoint import Asked, Nothing

Usd = Annotated[Raw, Meta(extra_json_schema={"type": "number"})]


class Sum(Struct, frozen=True):
    """Bytes and dollars."""

    bytes: int
    usd: Usd


class ChattyPair(Struct, frozen=True, kw_only=True, rename={"kind": "class"}):
    """What a service sent from one zone to another; `chatty` from a GiB in the window."""

    service: str
    src_zone: str
    dst_zone: str
    kind: str
    bytes: int
    usd: Usd
    chatty: bool


class Hour(Struct, frozen=True, kw_only=True):
    """One UTC hour with data."""

    hour: datetime
    bytes: int
    usd: Usd


class SummaryBudget(Struct, frozen=True, kw_only=True):
    """One budget in this UTC month."""

    kind: str
    name: str
    monthly_usd: Usd
    spent_usd: Usd
    exceeded: bool


class CostSummary(Struct, frozen=True, kw_only=True):
    """Traffic at one price per GiB and class, each transmission once (`basis` per_leg).

    Totals are sums over `by_class`. Without a price table `priced` is false, every usd is 0 and
    no budget is exceeded; `/v1/budgets` has what the ledger's rates say.
    `chatty_window` says over which time pairs are counted. `data_since` is null until the first
    flow.
    """

    priced: bool
    zones_mapped: bool
    pricing_source: str | UnsetType = UNSET
    pricing_as_of: str | UnsetType = UNSET
    pricing_license: str | UnsetType = UNSET
    pricing_age_days: int | UnsetType = UNSET
    basis: str
    total_bytes: int
    total_usd: Usd
    by_class: dict[str, Sum]
    by_service: dict[str, Sum]
    by_team: dict[str, Sum]
    chatty_pairs: list[ChattyPair]
    chatty_window: str
    trend: list[Hour]
    budgets: list[SummaryBudget]
    data_since: datetime | None


class CostSummaryAnswer(Struct, frozen=True, kw_only=True):
    """Whether the summary is made at all, and the summary if it is."""

    cost_running: bool
    summary: CostSummary | UnsetType = UNSET


def cost_summary(asked: Asked, takes: Nothing) -> CostSummaryAnswer:  # noqa: ARG001
    """Return totals, classes, services, teams, pairs, trend, budgets; needs metrics.read."""
    settings = asked.service.cost
    if settings is None:
        return CostSummaryAnswer(cost_running=False)
    asker, now = asked.principal, asked.service.now()
    selection = Selection(tenant=asker.tenant, within=guard.within(asker))
    found = summarise(asked.service.ledger, selection, settings, now)
    states = asked.service.budgets.states(asker.tenant, clock.month_of(now))
    seen = [one for one in states if visible(f"{one.kind}:{one.name}", asker)]
    window = "lifetime" if settings.lifetime else "7d"
    return CostSummaryAnswer(cost_running=True, summary=_shown(found, seen, now, window))


def _shown(found: Summary, budgets: list[BudgetState], now: datetime, window: str) -> CostSummary:
    prices = found.prices
    provenance: dict[str, Any] = {}
    if prices is not None:
        provenance = {
            "pricing_source": prices.source,
            "pricing_as_of": prices.as_of.isoformat(),
            "pricing_license": prices.license or UNSET,
            "pricing_age_days": (now.date() - prices.as_of).days,
        }
    return CostSummary(
        priced=prices is not None,
        zones_mapped=found.zones_mapped,
        **provenance,
        basis="per_leg",
        total_bytes=found.total.bytes,
        total_usd=usd(found.total.usd),
        by_class=_sums(found.by_class),
        by_service=_sums(found.by_service),
        by_team=_sums(found.by_team),
        chatty_pairs=[
            ChattyPair(
                service=pair.service,
                src_zone=pair.src_zone,
                dst_zone=pair.dst_zone,
                kind=pair.kind,
                bytes=pair.amount.bytes,
                usd=usd(pair.amount.usd),
                chatty=pair.chatty,
            )
            for pair in found.pairs
        ],
        chatty_window=window,
        trend=[
            Hour(hour=hour, bytes=amount.bytes, usd=usd(amount.usd)) for hour, amount in found.trend
        ],
        budgets=[
            SummaryBudget(
                kind=each.kind,
                name=each.name,
                monthly_usd=usd(each.limit),
                spent_usd=usd(each.spent if prices else 0),
                exceeded=each.exceeded and prices is not None,
            )
            for each in sorted(budgets, key=lambda one: (one.kind, one.name))
        ],
        data_since=found.data_since,
    )


def usd(numerator: int) -> Raw:
    """Return an amount as the digits of a JSON number; no float is made on the way."""
    text = money.rounded(numerator, 10)
    return Raw((text.rstrip("0").rstrip(".") or "0").encode())


def _sums(amounts: dict[str, Amount]) -> dict[str, Sum]:
    return {name: Sum(amount.bytes, usd(amount.usd)) for name, amount in amounts.items()}
