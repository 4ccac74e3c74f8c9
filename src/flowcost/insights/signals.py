"""Signals: what is worth telling somebody, once.

A signal only tells. Nothing in Flowcost slows, blocks or changes traffic or a bill because of it.
"""

from __future__ import annotations

import hashlib
from datetime import date, datetime

from msgspec import Struct

from flowcost import money
from flowcost.insights.budgets import Budget
from flowcost.insights.spending import bounds

EXCEEDED, THRESHOLD = "cost.budget_exceeded", "cost.budget_threshold"
WHOLE = 100  # percent


class Signal(Struct, frozen=True, kw_only=True):
    """One signal, as destinations get it.

    `id` is the same however often it is made or delivered: receivers may drop what they have
    seen. `incident` groups the signals about one target in one period. `occurred_at` is the end
    of the hour that caused it, UTC; from `until` on it is no news. Amounts among the attributes
    are dollars with two decimals.
    """

    id: str
    incident: str
    tenant_id: str
    plane: str
    kind: str
    severity: str
    title: str
    summary: str
    target: str
    attributes: dict[str, str]
    occurred_at: datetime
    until: datetime


def of_budget(
    budget: Budget, month: date, threshold: int, *, spent: int, reached: datetime
) -> Signal:
    """Return the signal of a budget that reached `threshold` percent in a month.

    `spent` is a numerator over `money.ONE`; `reached` is the end of the hour that crossed.
    """
    whole = threshold >= WHOLE
    in_month = f"{month:%Y-%m}"
    what = f"{budget.kind} {budget.name}"
    dollars, limit = money.rounded(spent), money.rounded(budget.limit)
    share = "" if whole else f", {threshold} % reached"
    return Signal(
        id=signal_id(budget.tenant, "budget", budget.target, in_month, str(threshold)),
        incident=signal_id(budget.tenant, "budget", budget.target, in_month),
        tenant_id=budget.tenant,
        plane="cost",
        kind=EXCEEDED if whole else THRESHOLD,
        severity="warning" if whole else "info",
        title=f"Budget exceeded: {what}" if whole else f"Budget at {threshold} %: {what}",
        summary=f"{what} spent ${dollars} of its ${limit} in {in_month}{share}",
        target=budget.target,
        attributes={
            "cost.budget_kind": budget.kind,
            "cost.budget_name": budget.name,
            "cost.month": in_month,
            "cost.spent_usd": dollars,
            "cost.budget_usd": limit,
            "cost.threshold_percent": str(threshold),
        },
        occurred_at=reached,
        until=bounds(month)[1],
    )


def signal_id(*parts: str) -> str:
    """Return the id of what these words name: the same words, the same id."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
