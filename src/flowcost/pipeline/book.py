"""Which observation counts (laws 3 and 4): one byte, one meter, one observation.

Per end and hour the sensor with the finest identity is booked: node agent, then interface flow
log, then exporter. A gateway's own log is booked for a client unless the client's booked sensor
already saw the flow leave through that gateway. The rest is a cross-check: kept apart, counted,
never summed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

BOOK = """
CREATE OR REPLACE TEMP TABLE booked AS
WITH ranked AS (
    SELECT *, CASE observer_type WHEN 'node_agent' THEN 0 WHEN 'interface' THEN 1 ELSE 2 END
        AS sensor_rank
    FROM observations
),
finest AS (
    SELECT tenant, local_key, hour, min(sensor_rank) AS sensor_rank
    FROM ranked WHERE NOT at_gateway GROUP BY ALL
),
seen_leaving AS (
    SELECT DISTINCT r.tenant, r.local_key, r.hour, r.via
    FROM ranked r JOIN finest USING (tenant, local_key, hour, sensor_rank)
    WHERE NOT r.at_gateway AND r.via <> ''
)
SELECT o.*, o.hour::DATE AS day,
       CASE WHEN o.at_gateway THEN s.via IS NULL ELSE o.sensor_rank = f.sensor_rank END AS counts,
       f.local_key IS NOT NULL AS local_sensor,
       far.local_key IS NOT NULL AS remote_sensor
FROM ranked o
LEFT JOIN finest f ON f.tenant = o.tenant AND f.local_key = o.local_key AND f.hour = o.hour
LEFT JOIN finest far
    ON far.tenant = o.tenant AND far.local_key = o.remote_key AND far.hour = o.hour
LEFT JOIN seen_leaving s ON s.tenant = o.tenant AND s.local_key = o.local_key
    AND s.hour = o.hour AND s.via = o.via
"""


def book(con: DuckDBPyConnection) -> None:
    """Create the table `booked`: observations with `counts`, `local_sensor`, `remote_sensor`."""
    con.execute(BOOK)


def cross_checked(con: DuckDBPyConnection) -> list[tuple[str, int]]:
    """Return (observer type, bytes) of the observations that were not booked."""
    found = con.execute(
        "SELECT observer_type, sum(bytes)::HUGEINT FROM booked WHERE NOT counts"
        " GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return [(kind, int(total)) for kind, total in found]
