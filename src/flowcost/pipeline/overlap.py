"""One interface, one flow log (law 4): overlapping logs are booked once.

Flow logs of a VPC, of a subnet and of an interface may all cover one interface. Per interface and
hour the one with most bytes is booked, then the one with the smaller id; the rest is a
cross-check. Only named flow logs can overlap: files without the provider's name say nothing of
the log they came from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CHOSEN = """
CREATE OR REPLACE TEMP TABLE surplus AS
WITH covered AS (
    SELECT observer, date_trunc('hour', window_start) AS hour, source,
           sum(bytes)::HUGEINT AS bytes
    FROM logged WHERE source LIKE 'fl-%' AND observer <> '' GROUP BY ALL
)
SELECT observer, hour, source, bytes FROM covered
QUALIFY row_number() OVER (PARTITION BY observer, hour ORDER BY bytes DESC, source) > 1
"""


def choose_logs(con: DuckDBPyConnection) -> int:
    """Create the view `flows`: `logged` with each interface's hour from one flow log.

    Returns the bytes of the flow logs that were not chosen.
    """
    con.execute(CHOSEN)
    surplus = con.execute("SELECT coalesce(sum(bytes), 0)::HUGEINT FROM surplus").fetchall()[0][0]
    where = (
        " l WHERE NOT EXISTS (SELECT 1 FROM surplus s WHERE s.observer = l.observer"
        " AND s.source = l.source AND s.hour = date_trunc('hour', l.window_start))"
        if surplus
        else ""
    )
    con.execute(f"CREATE OR REPLACE TEMP VIEW flows AS SELECT * FROM logged{where}")
    return int(surplus)
