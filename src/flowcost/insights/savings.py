"""Savings as signals: what the findings prove could be saved, told once a month."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct

from flowcost import clock, money
from flowcost.insights.signals import Signal, signal_id
from flowcost.insights.spending import bounds
from flowcost.ledger import Ledger
from flowcost.ledger.findings import findings
from flowcost.ledger.query import Selection

KIND = "cost.saving"
_WEEK = timedelta(days=7)


class Savings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[savings]]`: tell what could be saved.

    Raises:
        ValueError: the least sum is no sum.
    """

    least_usd: Annotated[
        Decimal,
        Meta(
            description="dollars in the last seven whole days, at least",
            extra_json_schema={"type": ["number", "string"]},
        ),
    ] = Decimal(10)
    tenant: Annotated[str, Meta(description="whose ledger")] = "default"

    def __post_init__(self) -> None:
        if not self.least_usd.is_finite() or not 0 <= self.least_usd <= 10**8:
            raise ValueError("least_usd must be a number of dollars")


class SavingsWatch:
    """Looks once a day at the seven days before it."""

    def __init__(self, ledger: Ledger, rule: Savings) -> None:
        self.ledger = ledger
        self.rule = rule
        self._seen: datetime | None = None

    def signals(self, now: datetime) -> Iterator[Signal]:
        """Yield a signal for each saving that is large enough."""
        day = clock.day_of(now)
        if day == self._seen:
            return
        month = f"{clock.month_of(now):%Y-%m}"
        selection = Selection(start=day - _WEEK, end=day, tenant=self.rule.tenant)
        for noticed in findings(self.ledger, selection):
            saved = noticed.list_cost or 0
            if not noticed.saves or saved < money.from_decimal(self.rule.least_usd):
                continue
            found = noticed.finding
            incident = signal_id(self.rule.tenant, "saving", noticed.where, month)
            yield Signal(
                id=incident,
                incident=incident,
                tenant_id=self.rule.tenant,
                plane="cost",
                kind=KIND,
                severity="info",
                title=f"Could be saved: {found.subject}",
                summary=f"${money.rounded(saved)} in seven days: {found.hint}",
                target=f"saving:{found.code}",
                attributes={
                    "cost.month": month,
                    "cost.saved_usd": money.rounded(saved),
                    "cost.filter": noticed.where,
                    "cost.from": clock.iso(day - _WEEK),
                    "cost.to": clock.iso(day),
                },
                occurred_at=day,
                until=bounds(clock.month_of(now))[1],
            )
        self._seen = day
