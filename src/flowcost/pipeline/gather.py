"""Many flows, few conversations: the first stage sums before anything is looked up.

Enters: a relation `flows` with the columns of `schema.FLOWS`, each flow within one UTC hour.
Leaves, all referring to each other by small numbers so that the stages after this one join and
group integers:

- `gathered` (slot, local, remote, context, bytes, packets; `naming` is the context where that
  names the remote end, else 0);
- `slots`: tenant and moment. A moment is the hour, except where an identity changes inside that
  hour: there it is the flow's own start, so that a reused address resolves exactly;
- `periods`: tenant and hour;
- `addresses`: the 16 bytes by number;
- `contexts`: the rest of a flow's columns, once per distinct combination.

Contexts are grouped by a 64-bit hash of their columns, which is faster than eighteen text keys; a
second, independent hash proves that no two contexts share one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcost.errors import FlowcostError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CONTEXT = (
    "tenant",
    "cluster",
    "observer_type",
    "account",
    "region",
    "az_id",
    "vpc_id",
    "subnet_id",
    "direction",
    "dialed_address",
    "initiator",
    "via",
    "local_uid",
    "dns_name",
    "traffic_path",
    "next_hop_type",
    "next_hop_az_id",
    "source",
)
_NAMES = ", ".join(CONTEXT)

_HOUR = "date_trunc('hour', window_start)"
_MOMENT = f"""CASE WHEN local_address IN (FROM changing) OR remote_address IN (FROM changing)
    OR {_HOUR} IN (FROM changing_hours) THEN window_start ELSE {_HOUR} END"""


# What a verdict can depend on in a context, and what a charge says of it: far fewer than contexts.
_MANNER = "direction, at_gateway, traffic_path, next_hop_type, next_hop_az_id"
_LABEL = "tenant, cluster, initiator, dialed_address, observer_type, source"
NUMBER = f"""
CREATE OR REPLACE TEMP TABLE contexts AS
SELECT *, row_number() OVER ()::INTEGER AS context,
       dense_rank() OVER (ORDER BY {_MANNER})::INTEGER AS manner,
       dense_rank() OVER (ORDER BY {_LABEL})::INTEGER AS label,
       dense_rank() OVER (ORDER BY tenant)::INTEGER AS tenant_no
FROM (SELECT *, observer_type IN ('gateway', 'tgw_attachment') AS at_gateway FROM hashed_contexts);
CREATE OR REPLACE TEMP TABLE addresses AS
SELECT address, row_number() OVER ()::INTEGER AS number FROM (
    SELECT local_address AS address FROM hashed UNION SELECT remote_address FROM hashed
);
CREATE OR REPLACE TEMP TABLE slots AS
SELECT *, row_number() OVER ()::INTEGER AS slot, moment::DATE AS day,
       dense_rank() OVER (ORDER BY tenant_no, hour)::INTEGER AS period
FROM (
    SELECT DISTINCT c.tenant_no, h.moment, date_trunc('hour', h.moment) AS hour
    FROM (SELECT DISTINCT moment, context FROM hashed) h JOIN contexts c ON c.hash = h.context
);
CREATE OR REPLACE TEMP TABLE periods AS
SELECT DISTINCT s.period, s.hour, c.tenant FROM slots s JOIN contexts c USING (tenant_no);
CREATE OR REPLACE TEMP TABLE gathered AS
SELECT s.slot, l.number AS local, r.number AS remote, c.context,
       CASE WHEN c.dns_name <> '' THEN c.context ELSE 0 END AS naming, h.bytes, h.packets
FROM hashed h
JOIN contexts c ON c.hash = h.context
JOIN slots s ON s.moment = h.moment AND s.tenant_no = c.tenant_no
JOIN addresses l ON l.address = h.local_address
JOIN addresses r ON r.address = h.remote_address;
DROP TABLE hashed
"""


def gather(con: DuckDBPyConnection) -> None:
    """Create the tables named above.

    Raises:
        FlowcostError: two contexts share a hash (one chance in 2**64 per pair).
    """
    quiet = con.execute(
        "SELECT count(*) = 0 FROM (SELECT 1 FROM changing UNION ALL SELECT 1 FROM changing_hours)"
    ).fetchall()[0][0]
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE hashed AS"
        f" SELECT {_HOUR if quiet else _MOMENT} AS moment, local_address, remote_address,"
        f" hash({_NAMES}) AS context, sum(bytes)::BIGINT AS bytes, sum(packets)::BIGINT AS packets"
        " FROM flows GROUP BY ALL"
    )
    chosen = ", ".join(f"any_value({name}) AS {name}" for name in CONTEXT)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE hashed_contexts AS SELECT hash({_NAMES}) AS hash, {chosen},"
        f" min(hash('check', {_NAMES})) <> max(hash('check', {_NAMES})) AS collided"
        " FROM flows GROUP BY 1"
    )
    if con.execute("SELECT count(*) FROM hashed_contexts WHERE collided").fetchall()[0][0]:
        raise FlowcostError(
            "two different kinds of flow share a hash", hint="run the hours one by one"
        )
    for statement in NUMBER.split(";"):
        con.execute(statement)
