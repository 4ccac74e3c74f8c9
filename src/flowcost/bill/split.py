"""Money follows the bytes: each line's cost over its parts, each pool's cost over its cells.

Enters: what meeting left open, `line_residuals`, `cells`. Leaves: the views `line_shares (line,
pool, reason, bytes, cost)` and `cell_shares (cell, pool, bytes, cost)`, costs in printed digits.
Every line is the sum of its shares, and every pool costs its lines what it costs its cells. A line
of a closed cell is one share, its own, and of a short one two; only the others are split. Views:
`rest_shares` and `rest_sums` are the shares without an owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcost.bill.apart import CLOSED
from flowcost.bill.shares import split_sql
from flowcost.bill.short import REASON

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LINE_SHARES = f"""
CREATE OR REPLACE TEMP TABLE open_shares AS
WITH parts AS (
    SELECT line, pool, '' AS reason, bytes FROM open_line_parts
    UNION ALL SELECT line, NULL, reason, bytes FROM line_residuals
),
numbered AS (SELECT row_number() OVER (ORDER BY line, pool, reason) AS row, * FROM parts),
sums AS (SELECT line, sum(bytes) AS scale, count(*) AS rows FROM parts GROUP BY line),
costs AS (
    {
    split_sql(
        "SELECT line AS pool, row, abs(cost) AS total, n.bytes AS weight, scale, rows"
        " FROM numbered n JOIN sums USING (line) JOIN bill_rows USING (line)"
    )
}
)
SELECT n.line, n.pool, n.reason, n.bytes, c.part * sign(b.cost) AS cost
FROM numbered n JOIN costs c USING (row) JOIN bill_rows b ON b.line = n.line
"""

CELL_SHARES = f"""
CREATE OR REPLACE TEMP TABLE open_cell_shares AS
WITH paid AS (SELECT pool, sum(cost) AS cost FROM open_shares WHERE pool IS NOT NULL GROUP BY pool),
taking AS (
    SELECT cell, pool, bytes, bytes AS weight FROM open_cell_parts
    UNION ALL SELECT cell, pool, 0, weight FROM fixed_weights
),
sums AS (SELECT pool, sum(weight) AS scale, count(*) AS rows FROM taking GROUP BY pool),
costs AS (
    {
    split_sql(
        "SELECT w.pool, w.cell AS row, abs(p.cost) AS total, w.weight, s.scale, s.rows"
        " FROM taking w JOIN sums s USING (pool) JOIN paid p USING (pool)"
    )
}
)
SELECT w.cell, w.pool, w.bytes, c.part * sign(p.cost) AS cost
FROM taking w JOIN costs c ON c.pool = w.pool AND c.row = w.cell JOIN paid p ON p.pool = w.pool
"""

VIEWS = f"""
CREATE OR REPLACE TEMP VIEW line_shares AS
SELECT * FROM open_shares
UNION ALL
SELECT line, cell, '', bytes, CAST(r.cost AS HUGEINT)
FROM bill_rows r JOIN cells c USING (cell) WHERE {CLOSED}
UNION ALL SELECT line, cell, '', met, paid FROM short_lines
UNION ALL SELECT line, NULL, '{REASON}', rest, unpaid FROM short_lines;
CREATE OR REPLACE TEMP VIEW rest_shares AS
SELECT line, reason, bytes, cost FROM open_shares WHERE pool IS NULL
UNION ALL SELECT line, '{REASON}', rest, unpaid FROM short_lines;
CREATE OR REPLACE TEMP VIEW cell_shares AS
SELECT * FROM open_cell_shares
UNION ALL
SELECT cell, cell, sum(bytes), sum(cost)
FROM bill_rows SEMI JOIN (SELECT cell FROM cells WHERE {CLOSED}) USING (cell) GROUP BY cell
UNION ALL SELECT cell, cell, met, paid FROM short_lines;
CREATE OR REPLACE TEMP VIEW weights AS
SELECT cell, pool, bytes, bytes AS weight FROM cell_parts
UNION ALL SELECT cell, pool, 0, weight FROM fixed_weights
"""


# What has no owner, per set of words: what most questions ask.
SUMS = f"""
CREATE OR REPLACE TEMP TABLE rest_sums AS
SELECT word, reason, count(DISTINCT line) AS lines, sum(s.bytes) AS bytes, sum(s.cost) AS cost
FROM open_shares s JOIN bill_rows USING (line) WHERE pool IS NULL GROUP BY ALL
UNION ALL
SELECT word, '{REASON}', count(*), sum(rest), sum(unpaid) FROM short_lines GROUP BY word
"""


def split_costs(con: DuckDBPyConnection) -> None:
    """Create `line_shares` and `cell_shares`, and `weights`, which say who took part in a pool."""
    con.execute(LINE_SHARES)
    con.execute(CELL_SHARES)
    con.execute(VIEWS)
    con.execute(SUMS)
