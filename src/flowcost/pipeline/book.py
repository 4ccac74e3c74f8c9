"""Which observation counts (laws 3 and 4): one byte, one meter, one observation.

Per end and hour the sensor with the finest identity is booked: node agent, then interface flow
log, then exporter. A gateway's own log is booked for a client unless the client's booked sensor
already saw the flow leave through that gateway; where the client has a sensor, the gateway's row
adds the gateway's meters and not the bytes again. The rest is a cross-check: kept apart, counted,
never summed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

RANK = """CASE observer_type WHEN 'node_agent' THEN 0 WHEN 'interface' THEN 1 ELSE 2 END"""

SENSORS = f"""
CREATE OR REPLACE TEMP TABLE sensors AS
SELECT tenant, local_key, hour, min({RANK}) AS finest
FROM observations WHERE NOT at_gateway GROUP BY ALL
"""
LEAVING = f"""
CREATE OR REPLACE TEMP TABLE leaving AS
SELECT DISTINCT o.tenant, o.local_key, o.hour, o.via
FROM observations o JOIN sensors s USING (tenant, local_key, hour)
WHERE NOT o.at_gateway AND o.via <> '' AND {RANK} = s.finest
    AND o.via IN (SELECT via FROM observations WHERE at_gateway)
"""
EXPLAINED = f"""
CREATE OR REPLACE TEMP TABLE explained AS
SELECT DISTINCT o.tenant, o.local_key, o.hour, o.remote_address
FROM observations o JOIN sensors s USING (tenant, local_key, hour)
WHERE NOT o.at_gateway AND {RANK} = s.finest
    AND (o.via <> '' OR o.routed NOT IN ('unknown', 'none')
         OR o.next_hop_type <> '' OR o.traffic_path NOT IN (0, 1))
    AND o.remote_address IN (SELECT remote_address FROM observations WHERE at_gateway)
"""
# Bytes that a transit gateway's own log holds, by the end behind a gateway and its direction.
TRANSITED = """
CREATE OR REPLACE TEMP TABLE transited AS
SELECT DISTINCT tenant, hour, key, direction FROM (
    SELECT tenant, hour, local_key AS key, 'transmit' AS direction FROM observations
    WHERE observer_type = 'tgw_attachment'
    UNION ALL
    SELECT tenant, hour, remote_key, 'receive' FROM observations
    WHERE observer_type = 'tgw_attachment'
)
"""
BOOK = f"""
CREATE OR REPLACE TEMP TABLE booked AS
SELECT o.* EXCLUDE (local_key, remote_key),
       CASE WHEN o.at_gateway THEN v.via IS NULL ELSE {RANK} = s.finest END AS counts,
       s.finest IS NOT NULL AS local_sensor,
       x.local_key IS NOT NULL AS local_explained,
       far.finest IS NOT NULL AS remote_sensor,
       t.key IS NOT NULL AS transit_seen
FROM observations o
LEFT JOIN sensors s ON s.tenant = o.tenant AND s.local_key = o.local_key AND s.hour = o.hour
LEFT JOIN sensors far
    ON far.tenant = o.tenant AND far.local_key = o.remote_key AND far.hour = o.hour
LEFT JOIN leaving v ON o.at_gateway AND v.tenant = o.tenant AND v.local_key = o.local_key
    AND v.hour = o.hour AND v.via = o.via
LEFT JOIN explained x ON o.at_gateway AND x.tenant = o.tenant AND x.local_key = o.local_key
    AND x.hour = o.hour AND x.remote_address = o.remote_address
LEFT JOIN transited t ON o.observer_type = 'gateway' AND t.tenant = o.tenant AND t.hour = o.hour
    AND t.key = o.local_key AND t.direction = o.direction
"""


def book(con: DuckDBPyConnection) -> None:
    """Create the table `booked`: observations with what other sensors know of their ends.

    `counts`: is booked; `local_sensor`, `remote_sensor`: that end has a sensor in the hour;
    `local_explained`: on a gateway's row, the client's sensor knows its way to the far end;
    `transit_seen`: on a gateway's row, a transit gateway's own log holds the way to the client.
    """
    con.execute(SENSORS)
    con.execute(LEAVING)
    con.execute(EXPLAINED)
    con.execute(TRANSITED)
    con.execute(BOOK)


def cross_checked(con: DuckDBPyConnection) -> list[tuple[str, int]]:
    """Return (observer type, bytes) of the observations that were not booked."""
    found = con.execute(
        "SELECT observer_type, sum(bytes)::HUGEINT FROM booked WHERE NOT counts"
        " GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return [(kind, int(total)) for kind, total in found]
