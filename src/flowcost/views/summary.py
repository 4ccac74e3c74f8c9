"""Sentences about a selection: what every view must say besides its rows."""

from __future__ import annotations

from datetime import datetime, timedelta

from flowcost import clock
from flowcost.ledger.query import Selection, Table
from flowcost.ledger.totals import Totals
from flowcost.views.tables import binary, dollars, share

BASIS_WORDS = {
    "account_bill": "account_bill: every metered end, seen or implied",
    "per_leg": "per_leg: only the metered ends that were seen",
}


def headline(found: Totals) -> str:
    """Return the one sentence on top: how much, since when, how much of it has an owner."""
    if found.data_since is None or found.data_until is None:
        return "The ledger has no charges in this selection."
    owned = share(found.attributed_bytes, found.bytes)
    return (
        f"{dollars(found.list_cost)} for {binary(found.bytes)} from {clock.iso(found.data_since)}"
        f" to {clock.iso(found.data_until)}; {owned} of the bytes have an owner."
    )


def caveats(found: Totals, selection: Selection) -> list[str]:
    """Return what qualifies the figures: unknown, unpriced, basis, rates."""
    unknown = share(found.unknown_bytes, found.bytes)
    return [
        f"unknown path: {binary(found.unknown_bytes)} ({unknown} of the bytes)",
        f"unpriced: {binary(found.unpriced_bytes)}, kept and never counted as free",
        f"basis: {BASIS_WORDS[selection.basis]}; attributed by {selection.attribute_by}",
        f"rates: {_rates(found)}",
    ]


def shown(table: Table) -> list[tuple[object, ...]]:
    """Return the rows of `query.costs` for eyes: what is wholly unpriced costs nothing known."""
    return [
        (*keys, size, None if unpriced and not cost and unpriced >= size else cost, unpriced)
        for *keys, size, cost, unpriced in table.rows
    ]


def _rates(found: Totals) -> str:
    if found.rates_checked is None:
        return "none applied"
    first, last = (day.isoformat() for day in found.rates_checked)
    return (
        f"list prices, checked {last}"
        if first == last
        else f"list prices, checked {first} to {last}"
    )


def age(until: datetime, now: datetime) -> str:
    """Return how long ago the data ends, in the largest unit that says something."""
    gap = now - until
    if gap < timedelta(0):
        return "ahead of this clock"
    if gap < timedelta(hours=48):
        return f"{gap // timedelta(hours=1)} h old"
    return f"{gap.days} days old"
