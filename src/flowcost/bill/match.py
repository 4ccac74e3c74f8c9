"""Bill lines meet ledger cells, finest grain first, to the byte.

Enters: `bill_rows`, `bill_words`, `points`, `cells_apart`. Leaves: for what the cells did not
close, `open_parts` (how many bytes of a line were met in which pool) and `open_cell_parts` (the
same of a cell), `open_lines` and `open_cells` with the `rest` that was not met; the views `pools`,
`line_parts` and `cell_parts` say it of all. A pool is what is met together: all lines and all cells
with the same keys. A closed or short cell is a pool of its own, by its own number; others are below
zero. A pool meets the smaller of the two sums; each side is split by largest remainder, so nothing
is met twice and nothing is lost.

What a side does not say cannot be a key: a line without a resource id meets the cells of its
account and hour, a daily line those of its day. Two different resources never meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowcost.bill.apart import CLOSED
from flowcost.bill.cells import CELL
from flowcost.bill.hours import hour_sql, point_of_sql
from flowcost.bill.shares import split_sql

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

GRAINS = ("hour", "day", "month")

EXACT = "resource and hour"  # the level of a closed cell

BILLED = f"""
CREATE OR REPLACE TEMP VIEW billed AS
SELECT line, grain, p.account, {hour_sql("r.hour")} AS hour,
       CAST({hour_sql("r.hour")} AS DATE) AS day,
       CAST(date_trunc('month', {hour_sql("r.hour")}) AS DATE) AS month,
       p.resource, p.usage_type, p.operation, bytes, counts, meter, cost, cell
FROM bill_rows r JOIN bill_words w USING (word) JOIN points p USING (point)
WHERE line_type = 'usage'
"""
OPEN = f"""
CREATE OR REPLACE TEMP TABLE open_rows AS
SELECT line FROM bill_rows WHERE cell IS NULL AND bytes > 0
UNION ALL
SELECT line FROM bill_rows SEMI JOIN (
    SELECT cell FROM cells_apart WHERE billed > booked AND booked = 0
    UNION ALL
    SELECT cell FROM cells_apart ANTI JOIN short_lines USING (cell)
    WHERE billed > booked AND booked > 0
) USING (cell);

CREATE OR REPLACE TEMP TABLE open_lines AS
SELECT b.* EXCLUDE (cell), bytes AS rest FROM billed b SEMI JOIN open_rows USING (line);

CREATE OR REPLACE TEMP TABLE open_cells AS
SELECT {CELL}, booked AS bytes, booked - CASE WHEN {CLOSED} THEN billed ELSE 0 END AS rest
FROM (
    SELECT * FROM cells_apart WHERE booked > billed
    UNION ALL
    SELECT * FROM cells_apart ANTI JOIN short_lines USING (cell)
    WHERE booked BETWEEN 1 AND billed - 1
)
JOIN points ON point = {point_of_sql("cell")};

CREATE OR REPLACE TEMP TABLE open_pools (pool BIGINT, level VARCHAR);
CREATE OR REPLACE TEMP TABLE open_line_parts (line BIGINT, pool BIGINT, bytes BIGINT);
CREATE OR REPLACE TEMP TABLE open_cell_parts (cell BIGINT, pool BIGINT, bytes BIGINT);
CREATE OR REPLACE TEMP VIEW pools AS
SELECT * FROM open_pools
UNION ALL SELECT cell, '{EXACT}' FROM cells WHERE {CLOSED}
UNION ALL SELECT cell, '{EXACT}' FROM short_lines;
CREATE OR REPLACE TEMP VIEW line_parts AS
SELECT * FROM open_line_parts
UNION ALL SELECT line, cell, bytes FROM bill_rows JOIN cells USING (cell) WHERE {CLOSED}
UNION ALL SELECT line, cell, met FROM short_lines;
CREATE OR REPLACE TEMP VIEW cell_parts AS
SELECT * FROM open_cell_parts
UNION ALL SELECT cell, cell, billed FROM cells WHERE {CLOSED}
UNION ALL SELECT cell, cell, met FROM short_lines
"""


@dataclass(frozen=True)
class Pass:
    """One round of meeting: which lines, which cells, by which keys."""

    level: str
    keys: tuple[str, ...]
    lines: str
    cells: str


def meet(con: DuckDBPyConnection) -> None:
    """Create `open_lines`, `open_cells` and what says how they met."""
    con.execute(BILLED)
    con.execute(OPEN)
    for one in passes(con):
        _meet(con, one)


def passes(con: DuckDBPyConnection) -> Iterator[Pass]:
    """Yield the rounds that these lines and cells need, most keys and finest grain first."""
    lines = con.execute(
        "SELECT DISTINCT grain, account <> '', resource <> '', operation <> '' FROM open_lines"
    ).fetchall()
    cells = con.execute(
        "SELECT DISTINCT resource <> '', operation <> '' FROM open_cells"
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
        SELECT -row_number() OVER (ORDER BY {keys}) - (SELECT count(*) FROM open_pools) AS pool, *,
               least(line_bytes, cell_bytes) AS met
        FROM (SELECT {keys}, sum(rest) AS line_bytes, count(*) AS line_rows
              FROM open_lines WHERE {one.lines} GROUP BY ALL)
        JOIN (SELECT {keys}, sum(rest) AS cell_bytes, count(*) AS cell_rows
              FROM open_cells WHERE {one.cells} GROUP BY ALL)
        USING ({keys})
        """
    )
    con.execute(f"INSERT INTO open_pools SELECT pool, '{one.level}' FROM meeting")
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
        con.execute(f"INSERT INTO open_{side}_parts SELECT * FROM met_now")
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT o.* REPLACE"
            f" (o.rest - coalesce(m.bytes, 0) AS rest) FROM {table} o LEFT JOIN met_now m"
            f" USING ({side}) WHERE o.rest > coalesce(m.bytes, 0)"
        )
    con.execute("DROP TABLE meeting; DROP TABLE met_now")
