"""What a selection adds up to, and how far that can be trusted.

Enters: a `Selection`. Leaves: `Totals` of exact integers, or only since when there are charges.
"""

from __future__ import annotations

from datetime import UTC, date, datetime

from msgspec import Struct, structs

from flowcost import clock
from flowcost.ledger import keys
from flowcost.ledger.ends import UNATTRIBUTED
from flowcost.ledger.query import EVERYTHING, Scan, Selection, opened, scanned, summed
from flowcost.ledger.reread import reread
from flowcost.ledger.store import Ledger
from flowcost.model import Path


class Totals(Struct, frozen=True, kw_only=True):
    """What a selection adds up to, and how far it can be trusted.

    `attributed_*` belongs to a paying end with an owner; `unknown_bytes` has no provable path.
    `data_until` is exclusive. `rates_checked` spans the dates on which the applied rates were
    read from their source. `days` counts UTC days with charges.
    """

    bytes: int
    list_cost: int
    unpriced_bytes: int
    attributed_bytes: int
    attributed_cost: int
    unknown_bytes: int
    days: int
    data_since: datetime | None
    data_until: datetime | None
    rates_checked: tuple[date, date] | None


@reread
def totals(ledger: Ledger, selection: Selection = EVERYTHING) -> Totals:
    """Return what the selection adds up to."""
    owner = keys.find("owner", selection.attribute_by).sql
    owned = f"{owner} <> '{UNATTRIBUTED}'"
    checked = ("min(rate.checked_on)", "max(rate.checked_on)")
    scan = scanned(selection)
    what = (
        *scan.measures,
        summed(scan.bytes, owned),
        summed("c.list_cost", owned),
        summed(scan.bytes, f"c.path = '{Path.UNKNOWN}'"),
        "count(DISTINCT CAST(c.hour AS DATE))",
        "min(c.hour)",
        "max(c.hour)",
        *checked,
    )
    asked = ", ".join(what)
    with opened(ledger, selection, scan.detail, scan.summed(asked)) as con:
        row = con.execute(scan.sums(asked), scan.values).fetchall()[0]
    first, last, oldest, newest = row[7:]
    since, until = _edges(ledger, selection, scan, first, last) if row[6] else (None, None)
    return Totals(
        bytes=int(row[0]),
        list_cost=int(row[1]),
        unpriced_bytes=int(row[2]),
        attributed_bytes=int(row[3]),
        attributed_cost=int(row[4]),
        unknown_bytes=int(row[5]),
        days=row[6],
        data_since=since,
        data_until=until,
        rates_checked=(oldest, newest) if oldest else None,
    )


@reread
def since(ledger: Ledger, selection: Selection = EVERYTHING) -> datetime | None:
    """Return the first hour with charges: `Totals.data_since`, without the rest of it."""
    scan = scanned(selection)
    asked = "min(c.hour)"
    with opened(ledger, selection, scan.detail, scan.summed(asked)) as con:
        first = con.execute(scan.sums(asked), scan.values).fetchall()[0][0]
    return _edges(ledger, selection, scan, first, first)[0] if first else None


def _edges(
    ledger: Ledger, selection: Selection, scan: Scan, first: datetime, last: datetime
) -> tuple[datetime, datetime]:
    """Return the first hour and the end of the last; only the two outermost days are read."""
    days = {clock.day_of(instant.replace(tzinfo=UTC)) for instant in (first, last)}
    found = []
    by_hour = scan.detail.with_hours()
    edges = "min(c.hour), max(c.hour)"
    for day in sorted(days):
        start = max(day, selection.start) if selection.start else day
        end = min(day + clock.DAY, selection.end) if selection.end else day + clock.DAY
        day_of = structs.replace(selection, start=start, end=end)
        with opened(ledger, day_of, by_hour, scan.summed(edges)) as con:
            row = con.execute(scan.sums(edges), scan.values).fetchall()[0]
        found.append([instant.replace(tzinfo=UTC) for instant in row])
    until = found[-1][1]
    whole_day = ledger.shelves.retired().has(until)  # its hours are gone: it ends with the day
    return found[0][0], until + (clock.DAY if whole_day else clock.HOUR)
