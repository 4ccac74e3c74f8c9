"""What reconciling found, as tables: per meter, per day, residuals, ledger without bill.

Enters: the tables that `reconcile` left. Leaves: columns and rows of exact values, for any
format. Costs are billed amounts before credits; what is set apart is a table of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from flowcost.bill.residuals import CELL_REASONS, LINE_REASONS
from flowcost.bill.rounding import DIGIT
from flowcost.errors import UsageError
from flowcost.ledger.query import Table
from flowcost.schema import Column

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# key -> (type, sentence); both sides of a comparison have them.
KEYS = {
    "account": ("text", "account that used"),
    "month": ("day", "first day of the UTC month"),
    "day": ("day", "UTC day"),
    "hour": ("instant", "UTC hour"),
    "usage_type": ("text", "usage type"),
    "operation": ("text", "operation"),
    "resource": ("text", "resource, without account and region"),
}
_MEASURES = (
    Column("lines", "int", "usage lines of the bill"),
    Column("billed_bytes", "bytes", "metered by the provider"),
    Column("ledger_bytes", "bytes", "booked from what sensors saw"),
    Column("difference", "bytes", "ledger less bill"),
    Column("agreement", "text", "how far the two sums agree"),
    Column("billed_cost", "money", "before credits"),
    Column("attributed_cost", "money", "with an owner"),
    Column("residual_cost", "money", "without: see the residuals"),
)


class Summary(Struct, frozen=True, kw_only=True):
    """A reconciliation in four sums; costs are numerators over money.ONE."""

    lines: int
    billed_bytes: int
    met_bytes: int
    unbilled_bytes: int
    billed_cost: int
    attributed_cost: int
    residual_cost: int


def compared(con: DuckDBPyConnection, by: Sequence[str] = ("usage_type", "operation")) -> Table:
    """Return billed against booked, one row per distinct value of the keys `by`.

    Raises:
        UsageError: an unknown key.
    """
    unknown = [name for name in by if name not in KEYS]
    if unknown or not by:
        raise UsageError(
            f"cannot group a bill by {', '.join(unknown) or 'nothing'}",
            hint=f"keys are {', '.join(KEYS)}",
        )
    keys = ", ".join(by)
    rows = con.execute(
        f"""
        WITH shared AS (
            SELECT line, sum(cost) FILTER (pool IS NOT NULL) AS attributed,
                   sum(cost) FILTER (pool IS NULL) AS residual
            FROM line_shares GROUP BY line
        ),
        bill AS (
            SELECT {keys}, count(*) AS lines, sum(bytes) AS bytes, sum(cost) AS cost,
                   sum(attributed) AS attributed, sum(residual) AS residual
            FROM billed LEFT JOIN shared USING (line) GROUP BY ALL
        ),
        booked AS (SELECT {keys}, sum(bytes) AS bytes FROM ledger_cells GROUP BY ALL)
        SELECT {keys}, coalesce(bill.lines, 0), coalesce(bill.bytes, 0), coalesce(booked.bytes, 0),
               coalesce(bill.cost, 0), coalesce(attributed, 0), coalesce(residual, 0)
        FROM bill FULL JOIN booked USING ({keys})
        ORDER BY abs(coalesce(bill.cost, 0)) DESC, {keys}
        """
    ).fetchall()
    width = len(by)
    shown = []
    for row in rows:
        lines, billed, booked, cost, attributed, residual = (int(value) for value in row[width:])
        shown.append(
            (
                *row[:width],
                lines,
                billed,
                booked,
                booked - billed,
                agreement(booked, billed),
                cost,
                attributed * DIGIT,
                residual * DIGIT,
            )
        )
    return Table((*(Column(name, *KEYS[name]) for name in by), *_MEASURES), tuple(shown))


def agreement(booked: int, billed: int) -> str:
    """Return how far two sums agree: `100 %` if equal, else in thousandths of a percent.

    A sum that would round to 100 % without being equal shows `99.999 %`.
    """
    larger = max(booked, billed)
    if larger == 0:
        return "n/a"
    smaller = min(booked, billed)
    thousandths = min((smaller * 100_000) // larger, 99_999 if smaller < larger else 100_000)
    whole, rest = divmod(thousandths, 1000)
    return f"{whole} %" if rest == 0 else f"{whole}.{rest:03d} %"


def residuals(con: DuckDBPyConnection, by: Sequence[str] = ()) -> Table:
    """Return what has no owner and why, dearest first, each with the next step.

    Raises:
        UsageError: an unknown key.
    """
    unknown = [name for name in by if name not in KEYS]
    if unknown:
        raise UsageError(f"unknown key {', '.join(unknown)}", hint=f"keys are {', '.join(KEYS)}")
    keys = "".join(f", {name}" for name in by)
    rows = con.execute(
        f"SELECT reason{keys}, count(DISTINCT line), sum(s.bytes), sum(s.cost) FROM line_shares s"
        " JOIN billed USING (line) WHERE reason <> '' GROUP BY ALL"
        f" ORDER BY abs(sum(s.cost)) DESC, sum(s.bytes) DESC, reason{keys}"
    ).fetchall()
    return Table(
        (
            Column("reason", "text", "why it has no owner"),
            *(Column(name, *KEYS[name]) for name in by),
            Column("lines", "int", "lines it is a part of"),
            Column("bytes", "bytes", "metered bytes without owner"),
            Column("cost", "money", "their cost"),
            Column("next_step", "text", "what to do about it"),
        ),
        tuple(
            (*row[:-2], int(row[-2]), int(row[-1]) * DIGIT, LINE_REASONS[row[0]]) for row in rows
        ),
    )


def unbilled(con: DuckDBPyConnection) -> Table:
    """Return what the ledger has and the bill has not, and why."""
    rows = con.execute(
        "SELECT u.reason, usage_type, count(*) AS cells, sum(u.bytes) AS bytes,"
        " sum(CAST(u.bytes AS HUGEINT) * (CAST(list_cost AS HUGEINT) // c.bytes)) AS cost"
        " FROM unbilled u JOIN ledger_cells c USING (cell)"
        " GROUP BY u.reason, usage_type ORDER BY bytes DESC, reason, usage_type"
    ).fetchall()
    return Table(
        (
            Column("reason", "text", "why no line met it"),
            Column("usage_type", "text", "usage type"),
            Column("cells", "int", "cells of account, hour, resource and operation"),
            Column("bytes", "bytes", "booked bytes that no line met"),
            Column("list_cost", "money", "what they would cost at list price"),
            Column("next_step", "text", "what to do about it"),
        ),
        tuple((*row[:3], int(row[3]), int(row[4]), CELL_REASONS[row[0]]) for row in rows),
    )


def apart(con: DuckDBPyConnection) -> Table:
    """Return what is on network lines besides usage: credits, refunds, discounts, fees."""
    rows = con.execute(
        "SELECT line_type, usage_type, count(*), sum(cost) FROM bill_lines"
        " WHERE line_type <> 'usage' GROUP BY ALL ORDER BY abs(sum(cost)) DESC, 1, 2"
    ).fetchall()
    return Table(
        (
            Column("line_type", "text", "kind of line"),
            Column("usage_type", "text", "usage type"),
            Column("lines", "int", "lines"),
            Column("cost", "money", "sum of the lines"),
        ),
        tuple((*row[:3], int(row[3])) for row in rows),
    )


def summary(con: DuckDBPyConnection) -> Summary:
    """Return the reconciliation in a few sums."""
    [row] = con.execute(
        "SELECT (SELECT count(*) FROM billed), (SELECT coalesce(sum(bytes), 0) FROM billed),"
        " (SELECT coalesce(sum(bytes), 0) FROM line_shares WHERE pool IS NOT NULL),"
        " (SELECT coalesce(sum(bytes), 0) FROM unbilled),"
        " (SELECT coalesce(sum(cost), 0) FROM billed),"
        " (SELECT coalesce(sum(cost), 0) FROM line_shares WHERE pool IS NOT NULL),"
        " (SELECT coalesce(sum(cost), 0) FROM line_shares WHERE pool IS NULL)"
    ).fetchall()
    lines, billed, met, beyond, cost, attributed, residual = map(int, row)
    return Summary(
        lines=lines,
        billed_bytes=billed,
        met_bytes=met,
        unbilled_bytes=beyond,
        billed_cost=cost,
        attributed_cost=attributed * DIGIT,
        residual_cost=residual * DIGIT,
    )
