"""Money follows the bytes: each line's cost over its parts, each pool's cost over its cells.

Enters: `billed`, `line_parts`, `line_residuals`, `cell_parts`. Leaves: `line_shares (line, pool,
reason, bytes, cost)` and `cell_shares (cell, pool, bytes, cost)`, costs in printed digits. Every
line is the sum of its shares, and every pool costs its lines what it costs its cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcost.bill.rounding import DIGIT
from flowcost.bill.shares import split_sql

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LINE_SHARES = f"""
CREATE OR REPLACE TEMP TABLE line_shares AS
WITH parts AS (
    SELECT line, pool, '' AS reason, bytes FROM line_parts
    UNION ALL SELECT line, NULL, reason, bytes FROM line_residuals
),
numbered AS (SELECT row_number() OVER (ORDER BY line, pool, reason) AS row, * FROM parts),
sums AS (SELECT line, sum(bytes) AS scale, count(*) AS rows FROM parts GROUP BY line),
costs AS (
    {
    split_sql(
        "SELECT line AS pool, row, abs(cost) // "
        f"{DIGIT} AS total, n.bytes AS weight, scale, rows"
        " FROM numbered n JOIN sums USING (line) JOIN billed USING (line)"
    )
}
)
SELECT n.line, n.pool, n.reason, n.bytes, c.part * sign(b.cost) AS cost
FROM numbered n JOIN costs c USING (row) JOIN billed b ON b.line = n.line
"""

CELL_SHARES = f"""
CREATE OR REPLACE TEMP TABLE cell_shares AS
WITH paid AS (SELECT pool, sum(cost) AS cost FROM line_shares WHERE pool IS NOT NULL GROUP BY pool),
sums AS (SELECT pool, sum(weight) AS scale, count(*) AS rows FROM weights GROUP BY pool),
costs AS (
    {
    split_sql(
        "SELECT w.pool, w.cell AS row, abs(p.cost) AS total, w.weight, s.scale, s.rows"
        " FROM weights w JOIN sums s USING (pool) JOIN paid p USING (pool)"
    )
}
)
SELECT w.cell, w.pool, w.bytes, c.part * sign(p.cost) AS cost
FROM weights w JOIN costs c ON c.pool = w.pool AND c.row = w.cell JOIN paid p ON p.pool = w.pool
"""


def split_costs(con: DuckDBPyConnection) -> None:
    """Create `line_shares` and `cell_shares`."""
    con.execute(LINE_SHARES)
    con.execute(
        "CREATE OR REPLACE TEMP VIEW weights AS SELECT cell, pool, bytes, bytes AS weight"
        " FROM cell_parts UNION ALL SELECT cell, pool, 0, weight FROM fixed_weights"
    )
    con.execute(CELL_SHARES)
