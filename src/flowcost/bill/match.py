"""Bill lines meet ledger cells, finest grain first, to the byte.

Enters: `bill_lines`, `ledger_cells`. Leaves: `line_parts` (how many bytes of a line were met in
which pool) and `cell_parts` (the same of a cell), `open_lines` and `open_cells` with the `rest`
that was not. A pool is what is met
together: all lines and all cells with the same keys. It meets the smaller of the two sums; each
side is split by largest remainder, so nothing is met twice and nothing is lost.

What a side does not say cannot be a key: a line without a resource id meets the cells of its
account and hour, a daily line those of its day. Two different resources never meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowcost.bill.cells import resource_sql
from flowcost.bill.shares import split_sql

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

GRAINS = ("hour", "day", "month")

BILLED = f"""
CREATE OR REPLACE TEMP TABLE billed AS
SELECT line, grain, account, date_trunc('hour', period_start) AS hour,
       CAST(period_start AS DATE) AS day, CAST(date_trunc('month', period_start) AS DATE) AS month,
       {resource_sql("resource_id")} AS resource, metered_as AS usage_type, operation,
       coalesce(bytes, 0) AS bytes, coalesce(bytes, 0) AS rest, counts, meter,
       CAST(cost AS HUGEINT) AS cost
FROM bill_lines WHERE line_type = 'usage'
"""


@dataclass(frozen=True)
class Pass:
    """One round of meeting: which lines, which cells, by which keys."""

    level: str
    keys: tuple[str, ...]
    lines: str
    cells: str


def meet(con: DuckDBPyConnection) -> None:
    """Create `billed`, `pools`, `line_parts` and `cell_parts`."""
    con.execute(BILLED)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE pools (pool BIGINT, level VARCHAR);"
        "CREATE OR REPLACE TEMP TABLE line_parts (line BIGINT, pool BIGINT, bytes BIGINT);"
        "CREATE OR REPLACE TEMP TABLE cell_parts (cell BIGINT, pool BIGINT, bytes BIGINT);"
        "CREATE OR REPLACE TEMP TABLE open_lines AS SELECT * FROM billed WHERE rest > 0;"
        "CREATE OR REPLACE TEMP TABLE open_cells AS SELECT * FROM ledger_cells"
    )
    for one in passes(con):
        _meet(con, one)


def passes(con: DuckDBPyConnection) -> Iterator[Pass]:
    """Yield the rounds that these lines and cells need, most keys and finest grain first."""
    lines = con.execute(
        "SELECT DISTINCT grain, account <> '', resource <> '', operation <> '' FROM billed"
        " WHERE bytes > 0"
    ).fetchall()
    cells = con.execute(
        "SELECT DISTINCT resource <> '', operation <> '' FROM ledger_cells"
    ).fetchall()
    found = [_pass(line, cell) for line in lines for cell in cells]
    order = {grain: index for index, grain in enumerate(GRAINS)}
    yield from sorted(
        found, key=lambda one: (-len(one.keys), order[one.level.split()[-1]], one.lines, one.cells)
    )


def _pass(line: tuple[str, bool, bool, bool], cell: tuple[bool, bool]) -> Pass:
    grain, account, resource, operation = line
    keys = ["account"] if account else []
    keys += [grain, "usage_type"]
    keys += ["resource"] if resource and cell[0] else []
    keys += ["operation"] if operation and cell[1] else []
    who = "resource" if "resource" in keys else "account" if account else "payer"
    said = {"account": account, "resource": resource, "operation": operation}
    return Pass(
        level=f"{who} and {grain}",
        keys=tuple(keys),
        lines=" AND ".join(
            [f"grain = '{grain}'", *(f"{name} {_said(is_said)}" for name, is_said in said.items())]
        ),
        cells=f"resource {_said(cell[0])} AND operation {_said(cell[1])}",
    )


def _said(is_said: bool) -> str:  # noqa: FBT001 - a predicate's value
    return "<> ''" if is_said else "= ''"


def _meet(con: DuckDBPyConnection, one: Pass) -> None:
    keys = ", ".join(one.keys)
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE meeting AS
        SELECT row_number() OVER () + (SELECT count(*) FROM pools) AS pool, *,
               least(line_bytes, cell_bytes) AS met
        FROM (SELECT {keys}, sum(rest) AS line_bytes, count(*) AS line_rows
              FROM open_lines WHERE {one.lines} GROUP BY ALL)
        JOIN (SELECT {keys}, sum(rest) AS cell_bytes, count(*) AS cell_rows
              FROM open_cells WHERE {one.cells} GROUP BY ALL)
        USING ({keys})
        """
    )
    con.execute(f"INSERT INTO pools SELECT pool, '{one.level}' FROM meeting")
    for side, table, where in (
        ("line", "open_lines", one.lines),
        ("cell", "open_cells", one.cells),
    ):
        source = f"""
            SELECT pool, {side} AS row, met AS total, rest AS weight,
                   {side}_bytes AS scale, {side}_rows AS rows
            FROM {table} JOIN meeting USING ({keys}) WHERE {where}
        """
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE met_now AS SELECT row AS {side}, pool,"
            f" CAST(part AS BIGINT) AS bytes FROM ({split_sql(source)}) WHERE part > 0"
        )
        con.execute(f"INSERT INTO {side}_parts SELECT * FROM met_now")
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT o.* REPLACE"
            f" (o.rest - coalesce(m.bytes, 0) AS rest) FROM {table} o LEFT JOIN met_now m"
            f" USING ({side}) WHERE o.rest > coalesce(m.bytes, 0)"
        )
    con.execute("DROP TABLE meeting; DROP TABLE met_now")
