"""The dated rates behind a selection: each with its source, and what it priced."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from flowcost.ledger.explain import RateUsed
from flowcost.ledger.query import EVERYTHING, Selection, opened, scanned
from flowcost.ledger.reread import reread
from flowcost.ledger.store import Ledger

_FIELDS = tuple(RateUsed.__struct_fields__)
_MEASURES = (
    "CAST(sum(c.quantity) AS DECIMAL(38,0))",
    "CAST(coalesce(sum(c.list_cost), 0) AS DECIMAL(38,0))",
)


class Applied(Struct, frozen=True, kw_only=True):
    """A rate and what it priced: quantities, and their cost as a numerator over `money.ONE`.

    `rate` is None for the quantities that no rate priced.
    """

    rate: RateUsed | None
    unit: str
    quantity: int
    list_cost: int


@reread
def rates_used(ledger: Ledger, selection: Selection = EVERYTHING) -> list[Applied]:
    """Return every rate that priced a charge of the selection, dearest first.

    Raises:
        FilterError: the selection's filter cannot be read.
    """
    scan = scanned(selection)
    what = ", ".join((*(f"rate.{name}" for name in _FIELDS), "c.unit", *_MEASURES))
    count = len(_FIELDS) + 1
    groups = ", ".join(str(index + 1) for index in range(count))
    order = f"GROUP BY {groups} ORDER BY {count + 2} DESC, {count + 1} DESC, {groups}"
    with opened(ledger, selection, scan.detail, scan.summed(what)) as con:
        rows = con.execute(scan.sums(what, order), scan.values).fetchall()
    return [_applied(row) for row in rows]


def _applied(row: tuple[Any, ...]) -> Applied:
    *fields, unit, quantity, cost = row
    values = dict(zip(_FIELDS, fields, strict=True))
    rate = None
    if values["price"] is not None:
        rate = RateUsed(**values | {"tier_from": int(values["tier_from"])})
    return Applied(rate=rate, unit=unit, quantity=int(quantity), list_cost=int(cost))
