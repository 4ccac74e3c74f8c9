"""The usual difference: a sensor saw a little less than the meter, in one cell after another.

Enters: `cells_apart`, `bill_rows`, `watched_words`. Leaves: `short_lines`, lines that are alone in
a cell which was booked with less. Their two parts, met and not, need no keys and no sort: of two
parts, the largest remainder is rounding half up. What could be named otherwise (two lines in a
cell, bytes without a path, an hour that only an inference has) is left to the rounds of `match`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcost.bill.hours import hour_of_sql, hour_sql, point_of_sql
from flowcost.bill.shares import first_of_two_sql

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

REASON = "sensor_difference"

# A cell without a resource or an operation may still meet the rest of a line, in a later round.
PLAIN = """
CREATE OR REPLACE TEMP TABLE plain_points AS
SELECT point FROM (
    SELECT point, any_value(w.account) AS account, any_value(w.resource) AS resource,
           any_value(w.metered_as) AS usage_type
    FROM bill_words w JOIN bill_sums s USING (word) WHERE w.exact GROUP BY point
    HAVING count(*) = 1 AND bool_and(s.timed = s.hours AND w.meter <> '')
)
WHERE account IN (SELECT account FROM watched_words)
    AND (account, resource) NOT IN (SELECT (account, resource) FROM watched_words WHERE pathless)
    AND (account, usage_type) NOT IN (
        SELECT (account, usage_type) FROM booked_sums WHERE resource = '' OR operation = ''
    )
"""
SHORT = f"""
CREATE OR REPLACE TEMP TABLE short_lines AS
SELECT line, word, cell, met, bytes - met AS rest, paid, cost - paid AS unpaid FROM (
    SELECT r.line, r.word, r.cell, r.bytes, r.cost, c.booked AS met,
           {first_of_two_sql("r.cost", "c.booked", "r.bytes")} AS paid
    FROM bill_rows r JOIN (
        SELECT cell, booked FROM cells_apart
        JOIN plain_points ON point = {point_of_sql("cell")}
        JOIN watched_hours ON hour = {hour_sql(hour_of_sql("cell"))}
        WHERE booked > 0 AND billed > booked
    ) c USING (cell)
)
"""


def gather(con: DuckDBPyConnection) -> None:
    """Create `short_lines`."""
    con.execute(PLAIN)
    con.execute(SHORT)
