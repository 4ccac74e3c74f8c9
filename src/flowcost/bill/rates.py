"""What was really paid per unit: prices as the bill shows them, and as a rate book.

Enters: `bill_lines`. A price is taken where the bill prints it (list, contracted); billed and
effective prices of a meter are its month's cost over its quantity, at ten places. Tiers are read
off the bill, never modelled: where a price changed, and which lines were free.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from flowcost import usage_types
from flowcost.bill.read import Bill
from flowcost.bill.rounding import DIGIT, printed
from flowcost.ledger.query import Table
from flowcost.model import Rate
from flowcost.money import GIB, PRICE_PLACES
from flowcost.schema import Column

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SOURCE = "https://docs.aws.amazon.com/cur/latest/userguide/what-is-cur.html"
BASES = ("list", "billed", "effective")
_UNITS = {"bytes": ("GB", GIB), "hours": ("Hrs", 1), "lcu_hours": ("LCU-Hrs", 1)}
_UNITS["gbps_hours"] = ("Gbps-hrs", 1)

PAID = (
    Column("usage_type", "text", "usage type"),
    Column("operation", "text", "operation"),
    Column("region", "text", "region whose rate applies"),
    Column("to_region", "text", "other region of an inter-region meter"),
    Column("list_price", "text", "public price per unit"),
    Column("contracted_price", "text", "price per unit on the line"),
    Column("billed_price", "text", "billed cost over quantity"),
    Column("effective_price", "text", "cost after discounts over quantity"),
    Column("unit", "text", "unit"),
    Column("lines", "int", "lines at this price"),
    Column("bytes", "bytes", "metered bytes at this price; null if not bytes"),
    Column("cost", "money", "billed cost"),
    Column("first_hour", "instant", "first hour at this price"),
    Column("last_hour", "instant", "last hour at this price"),
)
TIERS = (
    Column("payer_account", "text", "account that is invoiced"),
    Column("usage_type", "text", "usage type; its tiers are the payer's in this region"),
    Column("day", "day", "UTC day"),
    Column("price", "text", "price per unit on the lines"),
    Column("bytes", "bytes", "metered on this day at this price"),
    Column("month_to_date", "bytes", "metered in the month at this price or any other"),
)


def paid(con: DuckDBPyConnection) -> Table:
    """Return the prices of the month, one row per meter and printed price."""
    rows = con.execute(
        "SELECT metered_as, operation, region, to_region, list_price, unit_price, unit,"
        " count(*) AS lines, sum(bytes), sum(cost) AS cost, sum(effective_cost), sum(quantity),"
        " min(period_start), max(period_start)"
        " FROM bill_lines WHERE line_type = 'usage' GROUP BY ALL"
        " ORDER BY cost DESC, metered_as, operation, unit_price"
    ).fetchall()
    return Table(
        PAID,
        tuple(
            (
                *row[:4],
                _shown(row[4]),
                _shown(row[5]),
                _shown(_over(row[9], row[11])),
                _shown(_over(row[10], row[11])),
                row[6],
                row[7],
                None if row[8] is None else int(row[8]),
                int(row[9]),
                row[12],
                row[13],
            )
            for row in rows
        ),
    )


def tiers(con: DuckDBPyConnection) -> Table:
    """Return where each payer stood in the tiers of a meter, day by day, free lines included."""
    rows = con.execute(
        """
        WITH tiered AS (
            SELECT metered_as FROM bill_lines
            WHERE line_type = 'usage' AND counts = 'bytes' AND unit_price IS NOT NULL
            GROUP BY metered_as HAVING count(DISTINCT unit_price) > 1
        ),
        days AS (
            SELECT payer_account, metered_as, billing_month, CAST(period_start AS DATE) AS day,
                   unit_price, sum(bytes) AS bytes
            FROM bill_lines JOIN tiered USING (metered_as) WHERE line_type = 'usage' GROUP BY ALL
        )
        SELECT payer_account, metered_as, day, unit_price, bytes,
               sum(bytes) OVER (PARTITION BY payer_account, metered_as, billing_month
                                ORDER BY day, unit_price DESC) AS so_far
        FROM days ORDER BY ALL
        """
    ).fetchall()
    return Table(TIERS, tuple((*row[:3], _shown(row[3]), int(row[4]), int(row[5])) for row in rows))


def rate_book(con: DuckDBPyConnection, bill: Bill, *, basis: str, on: date) -> str:
    """Return the month's prices as the CSV text of a rate book, dated to the bill's months.

    Args:
        con: the engine that read the bill.
        bill: what was read.
        basis: `list` and `billed` keep the tiers the bill shows, free lines first; `effective`
            is one price per meter, after discounts.
        on: day to note as the day of checking.

    Meters that Flowcost does not book and lines of unknown regions are left out.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(Rate.__struct_fields__)
    for month in bill.months:
        for row in _rows(con, month, basis):
            writer.writerow((*row, bill.currency, "", SOURCE, on.isoformat()))
    return out.getvalue()


def _rows(con: DuckDBPyConnection, month: date, basis: str) -> Iterator[tuple[object, ...]]:
    """Yield the book's columns up to `unit_bytes`, of every meter of one month."""
    price = {"list": "list_price", "billed": "unit_price"}.get(basis, "NULL::DECIMAL(38,10)")
    found = con.execute(
        f"SELECT provider, metered_as, meter, operation, region, to_region, counts,"
        f" {price} AS price, sum(coalesce(bytes, 0)), sum(effective_cost), sum(quantity)"
        " FROM bill_lines WHERE line_type = 'usage' AND meter <> '' AND region <> ''"
        " AND billing_month = ? GROUP BY ALL ORDER BY metered_as, operation, min(period_start)",
        [month],
    ).fetchall()
    groups: dict[str, list[Any]] = defaultdict(list)
    for row in found:
        groups[row[1]].append(row)
    until = date(month.year + month.month // 12, month.month % 12 + 1, 1)
    for usage_type, rows in groups.items():
        provider, _, meter, _, region, to_region, counts = rows[0][:7]
        if provider != "aws" or meter not in usage_types.METERS:
            continue
        unit, size = _UNITS[counts]
        for operation, start, end, value in _tiers(rows, basis):
            yield (
                provider, usage_type, operation, region, to_region, start, end,
                month.isoformat(), until.isoformat(), f"{value.normalize():f}", unit, size,
            )  # fmt: skip


def _tiers(rows: list[Any], basis: str) -> Iterator[tuple[str, int, int | str, Decimal]]:
    """Yield (operation, tier from, tier to or '', price) of one usage type."""
    by_operation: dict[str, dict[Decimal, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        value = _over(row[9], row[10]) if basis == "effective" else row[7]
        if value is not None and value >= 0:
            by_operation[row[3]][value] += int(row[8])
    flat = all(len(prices) == 1 for prices in by_operation.values())
    differ = len({value for prices in by_operation.values() for value in prices}) > 1
    if basis == "effective" or (flat and differ):
        for operation, prices in by_operation.items():
            yield operation, 0, "", next(iter(prices))
        return
    # One scale for all operations: a payer's tiers do not ask who used them.
    together: dict[Decimal, int] = defaultdict(int)
    for prices in by_operation.values():
        for value, size in prices.items():
            together[value] += size
    yield from _scale(together)


def _scale(together: dict[Decimal, int]) -> Iterator[tuple[str, int, int | str, Decimal]]:
    """Yield tiers: free first, then dearest first, whatever the order of the lines."""
    ordered = sorted(together, key=lambda value: (value != 0, -value))
    start = 0
    for value in ordered:
        end = start + together[value]
        if value == ordered[-1]:
            yield "", start, "", value
        elif end > start:
            yield "", start, end, value
        start = end


def _over(cost: object, quantity: object) -> Decimal | None:
    """Return cost (a numerator) over quantity, at ten places."""
    if cost is None or not quantity:
        return None
    digits = Decimal(int(str(cost)) // DIGIT).scaleb(-PRICE_PLACES)
    return printed(digits / Decimal(str(quantity)))


def _shown(price: Decimal | None) -> str | None:
    return None if price is None else f"{price.normalize():f}"
