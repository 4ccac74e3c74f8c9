"""Words for views whose costs are the bill's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from flowcost.ledger.query import Selection
from flowcost.ledger.totals import Totals
from flowcost.schema import Column
from flowcost.views.tables import binary

if TYPE_CHECKING:
    from flowcost.bill import Bill  # the reader's imports are not for every view

_NAMES = {
    "list_cost": ("billed_cost", "shares of billed lines, before credits"),
    "unpriced_bytes": ("unbilled_bytes", "booked bytes that no line of the bill met"),
}


def columns(shown: Sequence[Column]) -> tuple[Column, ...]:
    """Return the columns of `query.costs` under the names they have on this basis."""
    return tuple(
        replace(column, name=_NAMES[column.name][0], doc=_NAMES[column.name][1])
        if column.name in _NAMES
        else column
        for column in shown
    )


def caveats(bill: Bill, found: Totals, selection: Selection) -> list[str]:
    """Return what qualifies the figures: which bill, what it lacks, what has no owner."""
    months = ", ".join(f"{month:%Y-%m}" for month in bill.months)
    state = "final" if bill.final else "an estimate"
    return [
        f"basis: billed, from the bill of {months} ({bill.currency}, {state}), before credits",
        f"not on the bill: {binary(found.unpriced_bytes)}",
        "billed without an owner: the rows of observer_type bill, their source names the reason",
        f"attributed by {selection.attribute_by}",
    ]
