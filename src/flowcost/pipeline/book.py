"""Which observation counts (laws 3 and 4): one byte, one meter, one observation.

Per end and hour the sensor with the finest identity is booked: node agent, then interface flow
log, then exporter. A gateway's own log is booked for a client unless the client's booked sensor
already saw the flow leave through that gateway; where the client has a sensor, the gateway's row
adds the gateway's meters and not the bytes again. A transit gateway on the way to a NAT gateway
sees the client's bytes too, and on the way back as if the far end were the sender: where a sensor
of the client or the NAT gateway's log has them, it adds its own meters only. The rest is a
cross-check: kept apart, counted, never summed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcost.address import Scope
from flowcost.pipeline.world import SCOPES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SENSE = """
CREATE OR REPLACE TEMP TABLE sensors AS
SELECT station, min(rank) AS finest FROM nears WHERE NOT at_gateway GROUP BY ALL;
CREATE OR REPLACE TEMP TABLE nears AS
SELECT n.*, s.finest IS NOT NULL AS sensor, NOT n.at_gateway AND n.rank = s.finest AS finest
FROM nears n LEFT JOIN sensors s USING (station);
CREATE OR REPLACE TEMP TABLE fars AS
SELECT f.*, s.finest IS NOT NULL AS sensor FROM fars f LEFT JOIN sensors s USING (station)
"""
LEAVE = """
CREATE OR REPLACE TEMP TABLE leaving AS
SELECT DISTINCT n.station, o.via FROM observations o JOIN nears n USING (near)
WHERE n.finest AND o.via > 0 AND o.via IN (SELECT via FROM observations WHERE at_gateway)
"""
EXPLAIN = """
CREATE OR REPLACE TEMP TABLE explained AS
SELECT DISTINCT n.station, f.bare
FROM observations o JOIN nears n USING (near) JOIN fars f USING (far)
WHERE n.finest AND o.led AND f.bare IN (
    SELECT bare FROM fars WHERE far IN (SELECT far FROM observations WHERE at_gateway)
)
"""
# Bytes that a transit gateway's own log holds, by the end behind a gateway and its direction.
TRANSIT = """
CREATE OR REPLACE TEMP TABLE transited AS
SELECT DISTINCT station, 'transmit' AS direction FROM nears WHERE observer_type = 'tgw_attachment'
UNION ALL
SELECT DISTINCT f.station, 'receive'
FROM observations o JOIN nears n USING (near) JOIN fars f USING (far)
WHERE n.observer_type = 'tgw_attachment'
"""
# What NAT gateways' logs hold of clients whose packets a transit gateway logged too.
NATTED = """
CREATE OR REPLACE TEMP TABLE natted AS
SELECT DISTINCT n.station, n.direction, f.address
FROM observations o JOIN nears n USING (near) JOIN fars f USING (far)
WHERE n.observer_type = 'gateway' AND EXISTS (FROM transited)
"""
BOOK = """
CREATE OR REPLACE TEMP TABLE booked AS
SELECT o.*, n.finest AS counts, FALSE AS explained, FALSE AS transit_seen,
       FALSE AS carried_elsewhere
FROM observations o JOIN nears n USING (near) WHERE NOT o.at_gateway
"""
BOOK_GATEWAYS = f"""
INSERT INTO booked
SELECT o.*, v.via IS NULL AS counts, x.station IS NOT NULL AS explained,
       t.station IS NOT NULL AS transit_seen,
       n.observer_type = 'tgw_attachment' AND (
           s.station IS NOT NULL OR r.station IS NOT NULL
           OR (n.scope = {SCOPES.index(Scope.PUBLIC)} AND f.sensor)
       ) AS carried_elsewhere
FROM observations o
JOIN nears n USING (near)
JOIN fars f USING (far)
LEFT JOIN leaving v ON v.station = n.station AND v.via = o.via
LEFT JOIN explained x ON x.station = n.station AND x.bare = f.bare
LEFT JOIN transited t ON n.observer_type = 'gateway' AND t.station = n.station
    AND t.direction = n.direction
LEFT JOIN natted s ON s.direction = 'transmit' AND s.station = n.station
    AND s.address = f.address
LEFT JOIN natted r ON r.direction = 'receive' AND r.station = f.station
    AND r.address = n.address
WHERE o.at_gateway
"""


def book(con: DuckDBPyConnection) -> None:
    """Create the table `booked`: observations with what other sensors know of their ends.

    `counts`: is booked; `explained`: on a gateway's row, the client's sensor knows its way to the
    far end; `transit_seen`: on a gateway's row, a transit gateway's own log holds the way to the
    client; `carried_elsewhere`: on a transit gateway's row, the bytes are there already, at the
    client's sensor or in the log of its NAT gateway, and only the meters are new. `nears` and
    `fars` get `sensor`: that end has one in the hour.
    """
    con.execute(SENSE)
    con.execute(BOOK)
    if con.execute("SELECT count(*) FROM nears WHERE at_gateway").fetchall()[0][0]:
        for query in (LEAVE, EXPLAIN, TRANSIT, NATTED, BOOK_GATEWAYS):
            con.execute(query)


def cross_checked(con: DuckDBPyConnection) -> list[tuple[str, int]]:
    """Return (observer type, bytes) of the observations that were not booked."""
    found = con.execute(
        "SELECT n.observer_type, sum(b.bytes)::HUGEINT FROM booked b JOIN nears n USING (near)"
        " WHERE NOT b.counts GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return [(kind, int(total)) for kind, total in found]
