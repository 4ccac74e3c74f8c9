"""What reconciling found, as tables: per meter, per day, residuals, ledger without bill.

Enters: the tables that `reconcile` left. Leaves: columns and rows of exact values, for any
format. Costs are billed amounts before credits; what is set apart is a table of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from flowcost.bill.cells import CHARGE_HASH
from flowcost.bill.hours import number_sql
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


_TIMES = frozenset({"month", "day", "hour"})
_TIMED = "(SELECT *, 1 AS lines FROM billed)"
# Rests with their keys: whole months per set of words, or line by line where the key is a time.
_RESTS = {
    False: "(SELECT p.*, s.* FROM rest_sums s JOIN bill_words w USING (word)"
    " JOIN points p USING (point))",
    True: "(SELECT b.* EXCLUDE (bytes, cost), s.*, 1 AS lines FROM rest_shares s"
    " JOIN billed b USING (line))",
}


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
    # Sums per point say all but when; only keys of time look at rows and cells.
    timed = _TIMES.intersection(by)
    sides = (_TIMED, "ledger_cells") if timed else ("billed_sums", "booked_sums")
    rows = con.execute(
        f"""
        WITH bill AS (
            SELECT {keys}, sum(lines) AS lines, sum(bytes) AS bytes, sum(cost) AS cost
            FROM {sides[0]} GROUP BY ALL
        ),
        rest AS (
            SELECT {keys}, sum(s.cost) AS cost
            FROM {_RESTS[bool(timed)]} s GROUP BY ALL
        ),
        booked AS (SELECT {keys}, sum(bytes) AS bytes FROM {sides[1]} GROUP BY ALL)
        SELECT {keys}, coalesce(bill.lines, 0), coalesce(bill.bytes, 0), coalesce(booked.bytes, 0),
               coalesce(bill.cost, 0), coalesce(rest.cost, 0)
        FROM bill FULL JOIN booked USING ({keys}) LEFT JOIN rest USING ({keys})
        ORDER BY abs(coalesce(bill.cost, 0)) DESC, {keys}
        """
    ).fetchall()
    width = len(by)
    shown = []
    for row in rows:
        lines, billed, booked, cost, residual = map(int, row[width:])
        shown.append(
            (
                *row[:width],
                lines,
                billed,
                booked,
                booked - billed,
                agreement(booked, billed),
                cost * DIGIT,
                (cost - residual) * DIGIT,
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
    rests = _RESTS[bool(_TIMES.intersection(by))]
    rows = con.execute(
        f"SELECT reason{keys}, sum(lines), sum(bytes), sum(cost) FROM {rests} GROUP BY ALL"
        f" ORDER BY abs(sum(cost)) DESC, sum(bytes) DESC, reason{keys}"
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
            (*row[:-3], int(row[-3]), int(row[-2]), int(row[-1]) * DIGIT, LINE_REASONS[row[0]])
            for row in rows
        ),
    )


def unbilled(con: DuckDBPyConnection) -> Table:
    """Return what the ledger has and the bill has not, and why."""
    rows = con.execute(
        f"""
        WITH listed AS (
            SELECT k.first_cell + {number_sql("c.hour")} AS cell,
                   CAST(sum(list_cost) AS HUGEINT) AS cost
            FROM charges c JOIN charge_keys k ON k.h = {CHARGE_HASH}
            WHERE k.first_cell + {number_sql("c.hour")} IN (SELECT cell FROM unbilled) GROUP BY ALL
        )
        SELECT u.reason, usage_type, count(*) AS cells, sum(u.bytes) AS bytes,
               sum(CAST(u.bytes AS HUGEINT) * (coalesce(listed.cost, 0) // l.bytes))
        FROM unbilled u JOIN ledger_cells l USING (cell) LEFT JOIN listed USING (cell)
        GROUP BY u.reason, usage_type ORDER BY bytes DESC, reason, usage_type
        """
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


def measured(con: DuckDBPyConnection) -> tuple[int, int]:
    """Return the metered bytes that the ledger booked, and their list cost over money.ONE."""
    [(size, cost)] = con.execute(
        "SELECT coalesce(sum(quantity), 0)::HUGEINT, coalesce(sum(list_cost), 0)::DECIMAL(38,0)"
        " FROM charges WHERE unit = 'bytes' AND usage_type <> ''"
    ).fetchall()
    return int(size), int(cost)


def apart(con: DuckDBPyConnection) -> Table:
    """Return what is on network lines besides usage: credits, refunds, discounts, fees."""
    rows = con.execute(
        "SELECT line_type, usage_type, sum(lines), sum(cost) FROM bill_sums JOIN bill_words"
        " USING (word) WHERE line_type <> 'usage' GROUP BY ALL ORDER BY abs(sum(cost)) DESC, 1, 2"
    ).fetchall()
    return Table(
        (
            Column("line_type", "text", "kind of line"),
            Column("usage_type", "text", "usage type"),
            Column("lines", "int", "lines"),
            Column("cost", "money", "sum of the lines"),
        ),
        tuple((*row[:2], int(row[2]), int(row[3]) * DIGIT) for row in rows),
    )


def summary(con: DuckDBPyConnection) -> Summary:
    """Return the reconciliation in a few sums."""
    [(lines, size, cost)] = con.execute(
        "SELECT coalesce(sum(lines), 0), coalesce(sum(bytes), 0), coalesce(sum(cost), 0)"
        " FROM billed_sums"
    ).fetchall()
    [(rest, residual, beyond)] = con.execute(
        "SELECT coalesce(sum(bytes), 0), coalesce(sum(cost), 0),"
        " (SELECT coalesce(sum(bytes), 0) FROM unbilled) FROM rest_sums"
    ).fetchall()
    return Summary(
        lines=int(lines),
        billed_bytes=int(size),
        met_bytes=int(size) - int(rest),
        unbilled_bytes=int(beyond),
        billed_cost=int(cost) * DIGIT,
        attributed_cost=(int(cost) - int(residual)) * DIGIT,
        residual_cost=int(residual) * DIGIT,
    )
