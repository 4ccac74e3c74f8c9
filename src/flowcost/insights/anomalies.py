"""Anomalies: a UTC day that cost far more than the same weekday of earlier weeks did.

Compared are whole days, seven days apart, so that nights and weekends are compared with their
like. All of it is exact: a day is unusual if it costs more than so many percent of the dearest of
those days, and more than a least sum above it. Without enough earlier days there is no verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct

from flowcost import clock, money
from flowcost.insights.budgets import KEYS, BudgetKind
from flowcost.insights.signals import Signal, signal_id
from flowcost.ledger import Ledger
from flowcost.ledger.filter import Compare, show
from flowcost.ledger.query import Selection, costs
from flowcost.ledger.state import state

KIND = "cost.anomaly"
_WEEK = timedelta(days=7)
_SETTLED = timedelta(hours=3)  # after midnight: what is late by two hours is in
_LEAST_DAYS = 2  # earlier days without which there is nothing to compare with


class Anomalies(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[anomalies]]`: which days are unusual.

    Raises:
        ValueError: an unknown kind, or a bound that everything or nothing would cross.
    """

    by: Annotated[str, Meta(description="whose days: team, service, namespace or path")]
    percent: Annotated[
        int, Meta(description="of the dearest of the earlier days", gt=100, le=100_000)
    ] = 200
    least_usd: Annotated[
        Decimal,
        Meta(
            description="dollars above it, at least",
            extra_json_schema={"type": ["number", "string"]},
        ),
    ] = Decimal(10)
    weeks: Annotated[int, Meta(description="earlier weeks to look at", ge=_LEAST_DAYS, le=12)] = 4
    attribute_by: Annotated[str, Meta(description="which end pays, as in `--attribute-by`")] = (
        "local"
    )
    tenant: Annotated[str, Meta(description="whose ledger")] = "default"

    def __post_init__(self) -> None:
        if self.by not in list(BudgetKind):
            raise ValueError(f"by = {self.by!r}: one of {', '.join(BudgetKind)}")
        if not self.least_usd.is_finite() or not 0 <= self.least_usd <= 10**8:
            raise ValueError("least_usd must be a number of dollars")


class AnomalyWatch:
    """Compares days; a day that has not changed since is not compared again."""

    def __init__(self, ledger: Ledger, rule: Anomalies) -> None:
        self.ledger = ledger
        self.rule = rule
        self._seen: tuple[date, str] | None = None

    def signals(self, now: datetime) -> Iterator[Signal]:
        """Yield a signal for each unusual account of the last whole day."""
        day = clock.day_of(now - _SETTLED) - clock.DAY
        mark = day.date(), state(self.ledger, day, day + clock.DAY, tenant=self.rule.tenant)
        if mark == self._seen:
            return
        today = self._spent(day)
        earlier = [
            spent
            for week in range(1, self.rule.weeks + 1)
            if (spent := self._spent(day - week * _WEEK))
        ]
        if len(earlier) >= _LEAST_DAYS:
            for name, cost in sorted(today.items()):
                before = [spent.get(name, 0) for spent in earlier]
                if self._is_unusual(cost, max(before)):
                    yield self._signal(day, name, cost, before)
        self._seen = mark

    def _is_unusual(self, cost: int, usual: int) -> bool:
        least = money.from_decimal(self.rule.least_usd)
        return cost * 100 > usual * self.rule.percent and cost - usual >= max(least, 1)

    def _spent(self, day: datetime) -> dict[str, int]:
        """Return the cost of a day by account; nothing if the ledger does not hold the day."""
        selection = self._of(day)
        key = KEYS[BudgetKind(self.rule.by)]
        return {name: cost for name, _, cost, _ in costs(self.ledger, selection, by=(key,)).rows}

    def _of(self, day: datetime, where: str = "") -> Selection:
        return Selection(
            where=where,
            start=day,
            end=day + clock.DAY,
            attribute_by=self.rule.attribute_by,
            tenant=self.rule.tenant,
        )

    def _signal(self, day: datetime, name: str, cost: int, before: list[int]) -> Signal:
        rule, on = self.rule, day.date().isoformat()
        where = show(Compare(KEYS[BudgetKind(rule.by)], "=", name))
        spent, usual = money.rounded(cost), money.rounded(max(before))
        grown, by = self._grown(day, where)
        incident = signal_id(rule.tenant, "anomaly", rule.by, name, on)
        return Signal(
            id=incident,
            incident=incident,
            tenant_id=rule.tenant,
            plane="cost",
            kind=KIND,
            severity="warning",
            title=f"Unusual day: {rule.by} {name}",
            summary=(
                f"{rule.by} {name} cost ${spent} on {on}; the same weekday of the"
                f" {len(before)} weeks before at most ${usual}. Most of it: {grown}, ${by} more"
            ),
            target=f"{rule.by}:{name}",
            attributes={
                "cost.day": on,
                "cost.spent_usd": spent,
                "cost.usual_usd": usual,
                "cost.earlier_usd": ", ".join(map(money.rounded, before)),
                "cost.path": grown,
                "cost.filter": where,
                "cost.from": clock.iso(day),
                "cost.to": clock.iso(day + clock.DAY),
            },
            occurred_at=day + clock.DAY,
            until=day + 2 * clock.DAY,
        )

    def _grown(self, day: datetime, where: str) -> tuple[str, str]:
        """Return the billing path that grew most since the week before, and by how much."""
        now, before = (
            {p: c for p, _, c, _ in costs(self.ledger, self._of(each, where), by=("path",)).rows}
            for each in (day, day - _WEEK)
        )
        path = max(sorted(now), key=lambda each: now[each] - before.get(each, 0))
        return path, money.rounded(now[path] - before.get(path, 0))
