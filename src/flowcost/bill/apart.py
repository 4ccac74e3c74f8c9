"""Cells whose two sides differ: the few that have to be looked at.

Enters: `bill_rows`, `bill_words`, `bill_sums`, `charge_rows`. Leaves: `cells_apart (cell, billed,
booked)`, the cells that were not billed and booked alike; the view `cells`, all of them; and
`booked_points`, the ledger's bytes per point. Most cells are alike, so they are only compared and
never written down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcost.bill.hours import hour_of_sql, point_of_sql

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# A closed cell was booked with all that was billed, or with more.
CLOSED = "billed > 0 AND booked >= billed"

# A cell with one row needs no sum, and on most bills each cell has one. Where a point has a cell
# with more (a tier that flips, two pods of one node) the rows of that point are added up. Hours are
# counted by one bit each: exact, and far cheaper than a sum per cell.
BOOKED_POINTS = f"""
CREATE OR REPLACE TEMP TABLE booked_points AS
SELECT {point_of_sql("cell")} AS point, CAST(sum(bytes) AS HUGEINT) AS bytes,
       count(*) > bit_count(bitstring_agg({hour_of_sql("cell")}, {{first}}, {{last}})) AS shared
FROM charge_rows GROUP BY ALL
"""
SHARED_WORDS = """
CREATE OR REPLACE TEMP TABLE shared_words AS
SELECT word FROM bill_words JOIN (
    SELECT point FROM bill_words w JOIN bill_sums s USING (word) WHERE w.exact
    GROUP BY point HAVING count(*) > 1 OR bool_or(s.timed > s.hours)
) USING (point)
"""
APART = """
CREATE OR REPLACE TEMP TABLE cells_apart AS
SELECT * FROM (
    SELECT cell, coalesce(b.bytes, 0) AS billed, coalesce(c.bytes, 0) AS booked
    FROM billed_cells b FULL JOIN booked_cells c USING (cell)
)
WHERE billed <> booked;

CREATE OR REPLACE TEMP VIEW cells AS
SELECT * FROM cells_apart
UNION ALL
SELECT cell, bytes, bytes FROM billed_cells ANTI JOIN cells_apart USING (cell);

DROP VIEW booked_cells
"""


def gather(con: DuckDBPyConnection) -> None:
    """Create `cells_apart`, `cells` and `booked_points`."""
    hour = hour_of_sql("cell")
    [(first, last)] = con.execute(
        f"SELECT coalesce(min({hour}), 0), coalesce(max({hour}), 0) FROM charge_rows"
    ).fetchall()
    con.execute(BOOKED_POINTS.format(first=first, last=last))
    con.execute(SHARED_WORDS)
    _add_up(con, "billed_cells", "bill_rows", "word IN (FROM shared_words)")
    point = point_of_sql("cell")
    shared = "(SELECT point FROM booked_points WHERE shared)"
    _add_up(con, "booked_cells", "charge_rows", f"{point} IN {shared}")
    con.execute(APART)


def _add_up(con: DuckDBPyConnection, view: str, rows: str, shared: str) -> None:
    """Create a view of a side's cells, each of them once; `shared` is true where rows add up."""
    [(any_shared,)] = con.execute(
        f"SELECT EXISTS (SELECT 1 FROM {rows} WHERE cell IS NOT NULL AND {shared})"
    ).fetchall()
    single = f"SELECT cell, bytes FROM {rows} WHERE cell IS NOT NULL"
    if any_shared:
        single += (
            f" AND NOT ({shared}) UNION ALL SELECT cell, CAST(sum(bytes) AS BIGINT)"
            f" FROM {rows} WHERE cell IS NOT NULL AND {shared} GROUP BY cell"
        )
    con.execute(f"CREATE OR REPLACE TEMP VIEW {view} AS {single}")
