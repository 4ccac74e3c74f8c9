"""Many flows, few conversations: the first stage sums before anything is looked up.

Enters: a relation `flows` with the columns of `schema.FLOWS`, each flow within one UTC hour.
Leaves: `gathered` (moment, both addresses, context, bytes, packets) and `contexts`, the rest of a
flow's columns once per distinct combination. A moment is the hour, except where an identity
changes inside that hour: there it is the flow's own start, so that a reused address resolves
exactly.

Contexts are grouped by a 64-bit hash of their columns, which is faster than sixteen text keys; a
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

# Addresses and hours in which an identity changes; empty in most runs.
CHANGES = """
CREATE OR REPLACE TEMP TABLE changing AS
SELECT DISTINCT address FROM hosts
WHERE valid_from <> date_trunc('hour', valid_from) OR valid_to <> date_trunc('hour', valid_to);
CREATE OR REPLACE TEMP TABLE changing_hours AS
SELECT DISTINCT date_trunc('hour', edge) AS hour FROM (
    SELECT unnest([valid_from, valid_to]) AS edge FROM ranges
    UNION ALL SELECT unnest([valid_from, valid_to]) FROM services
) WHERE edge <> date_trunc('hour', edge)
"""
_HOUR = "date_trunc('hour', window_start)"
_MOMENT = f"""CASE WHEN local_address IN (FROM changing) OR remote_address IN (FROM changing)
    OR {_HOUR} IN (FROM changing_hours) THEN window_start ELSE {_HOUR} END"""


def gather(con: DuckDBPyConnection) -> None:
    """Create `gathered` and `contexts`.

    Raises:
        FlowcostError: two contexts share a hash (one chance in 2**64 per pair).
    """
    for statement in CHANGES.split(";"):
        con.execute(statement)
    quiet = con.execute(
        "SELECT count(*) = 0 FROM (SELECT 1 FROM changing UNION ALL SELECT 1 FROM changing_hours)"
    ).fetchall()[0][0]
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE gathered AS"
        f" SELECT {_HOUR if quiet else _MOMENT} AS moment, local_address, remote_address,"
        f" hash({_NAMES}) AS context, sum(bytes)::BIGINT AS bytes, sum(packets)::BIGINT AS packets"
        " FROM flows GROUP BY ALL"
    )
    chosen = ", ".join(f"any_value({name}) AS {name}" for name in CONTEXT)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE contexts AS SELECT hash({_NAMES}) AS context, {chosen},"
        f" min(hash('check', {_NAMES})) <> max(hash('check', {_NAMES})) AS collided"
        " FROM flows GROUP BY 1"
    )
    if con.execute("SELECT count(*) FROM contexts WHERE collided").fetchall()[0][0]:
        raise FlowcostError(
            "two different kinds of flow share a hash", hint="run the hours one by one"
        )
