"""Who was at each end, and which way out: gathered flows become observations.

Enters: `gathered`, `contexts`, and a `World`. Leaves: a table `observations`, one row per
gathered row, with identity ids, address scopes, the Service that was dialed, and the gateway.
Distinct addresses are resolved, not rows; distinct (route table, address) pairs are routed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from flowcost.model import Identity
from flowcost.pipeline.world import World, create

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# One lookup per (address, moment): hosts are whole answers and win over ranges.
RESOLVE = """
CREATE OR REPLACE TEMP TABLE resolved AS
WITH ends AS (
    SELECT DISTINCT address, moment FROM (
        SELECT local_address AS address, moment FROM gathered
        UNION ALL
        SELECT remote_address, moment FROM gathered
    )
),
addresses AS (SELECT DISTINCT address FROM ends),
scoped AS (SELECT a.address, s.scope FROM addresses a ASOF JOIN scopes s ON a.address >= s.first),
blocks AS (SELECT DISTINCT first, last FROM ranges),
blocked AS (
    SELECT a.address, b.first FROM addresses a ASOF JOIN blocks b ON a.address >= b.first
    WHERE a.address <= b.last
)
SELECT e.address, e.moment, scoped.scope,
       coalesce(h.identity_id, r.identity_id, 0) AS identity_id
FROM ends e
JOIN scoped USING (address)
LEFT JOIN blocked USING (address)
LEFT JOIN hosts h
    ON h.address = e.address AND e.moment >= h.valid_from AND e.moment < h.valid_to
LEFT JOIN ranges r
    ON r.first = blocked.first AND e.moment >= r.valid_from AND e.moment < r.valid_to
"""

# A node agent knows the pod by its cgroup; the address may have belonged to another pod.
IDENTIFY = """
CREATE OR REPLACE TEMP TABLE identified AS
WITH uids AS (
    SELECT k8s_pod_uid AS uid, min(identity_id) AS identity_id
    FROM identities_known WHERE k8s_pod_uid <> '' GROUP BY ALL
),
pods AS (
    SELECT c.context, c.local_uid, u.identity_id FROM contexts c
    JOIN uids u ON c.observer_type = 'node_agent' AND u.uid = c.local_uid
)
SELECT g.*, l.scope AS local_scope, r.scope AS remote_scope, r.identity_id AS remote_base,
       CASE WHEN p.identity_id IS NULL OR i.k8s_pod_uid = p.local_uid THEN l.identity_id
            ELSE p.identity_id END AS local_base
FROM gathered g
JOIN resolved l ON l.address = g.local_address AND l.moment = g.moment
JOIN resolved r ON r.address = g.remote_address AND r.moment = g.moment
JOIN identities_known i ON i.identity_id = l.identity_id
LEFT JOIN pods p ON p.context = g.context
"""

# The record's own words complete an identity where it is silent; they never override it.
HINTS = ("account", "region", "az_id", "vpc_id", "subnet_id")
LOCAL_HINTS = f"""
SELECT f.local_base, c.context, {", ".join(f"c.{name}" for name in HINTS)}
FROM (SELECT DISTINCT local_base, context FROM identified) f
JOIN contexts c USING (context)
JOIN identities_known i ON i.identity_id = f.local_base
WHERE c.observer_type <> 'gateway' AND (
       (c.account <> '' AND i.cloud_account_id = '')
    OR (c.region <> '' AND i.cloud_region = '')
    OR (c.az_id <> '' AND i.cloud_availability_zone = '')
    OR (c.vpc_id <> '' AND i.cloud_vpc_id = '')
    OR (c.subnet_id <> '' AND i.cloud_subnet_id = ''))
ORDER BY ALL
"""
REMOTE_HINTS = """
SELECT f.remote_base, c.context, c.dns_name
FROM (SELECT DISTINCT remote_base, context FROM identified) f
JOIN contexts c USING (context)
JOIN identities_known i ON i.identity_id = f.remote_base
WHERE c.dns_name <> '' AND i.dns_name = '' AND i.k8s_pod_name = ''
ORDER BY ALL
"""
PLACE = """
CREATE OR REPLACE TEMP TABLE placed AS
SELECT f.* EXCLUDE (local_base, remote_base),
       coalesce(l.identity_id, f.local_base) AS local_id,
       coalesce(r.identity_id, f.remote_base) AS remote_id
FROM identified f
LEFT JOIN local_hints l ON l.base = f.local_base AND l.context = f.context
LEFT JOIN remote_hints r ON r.base = f.remote_base AND r.context = f.context
"""

# The route that holds: longest prefix has won, so one block per (route table, address).
ROUTE = """
CREATE OR REPLACE TEMP TABLE routed AS
WITH asked AS (
    SELECT DISTINCT i.scope_no, p.remote_address AS address
    FROM placed p JOIN identities_known i ON i.identity_id = p.local_id WHERE i.scope_no > 0
),
blocks AS (SELECT DISTINCT scope_no, first, last FROM routes),
found AS (
    SELECT a.scope_no, a.address, b.first FROM asked a
    ASOF JOIN blocks b ON a.scope_no = b.scope_no AND a.address >= b.first
    WHERE a.address <= b.last
)
SELECT f.scope_no, f.address, r.kind, r.gateway_id, r.valid_from, r.valid_to
FROM found f JOIN routes r ON r.scope_no = f.scope_no AND r.first = f.first
"""

# The backend's node never sees what was dialed. Where all that one end sent to another in an hour
# was dialed through one Service, the answers belong to that Service too.
ANSWER = """
CREATE OR REPLACE TEMP TABLE answered AS
WITH asked AS (
    SELECT c.tenant, date_trunc('hour', g.moment) AS hour, g.local_address, g.remote_address,
           s.name
    FROM gathered g
    JOIN contexts c USING (context)
    LEFT JOIN services s ON s.address = c.dialed_address
        AND g.moment >= s.valid_from AND g.moment < s.valid_to
    WHERE c.initiator = 'local' AND EXISTS (FROM contexts WHERE dialed_address IS NOT NULL)
)
SELECT tenant, hour, remote_address AS local_address, local_address AS remote_address,
       min(name) AS name
FROM asked GROUP BY ALL
HAVING count(*) = count(name) AND min(name) = max(name)
"""
OBSERVE = """
CREATE OR REPLACE TEMP TABLE observations AS
WITH ways AS (
    SELECT p.*, l.place AS local_place, e.place AS remote_place,
           l.end_no AS local_end, e.end_no AS remote_end, l.network AS local_network,
           c.tenant, c.observer_type, c.direction, c.traffic_path, c.next_hop_type,
           c.next_hop_az_id, c.observer_type IN ('gateway', 'tgw_attachment') AS at_gateway,
           CASE WHEN l.network > 0 AND e.network > 0
                THEN CASE WHEN l.network = e.network THEN 'same' ELSE 'other' END
                WHEN l.cluster_no > 0 AND l.cluster_no = e.cluster_no THEN 'same'
                ELSE 'unknown' END AS vpc,
           l.node > 0 AND l.node = e.node AS on_one_node,
           c.via <> '' AS seen,
           CASE WHEN c.via <> '' THEN c.via
                WHEN e.endpoint THEN e.cloud_resource_id
                ELSE coalesce(r.gateway_id, '') END AS via,
           coalesce(r.kind, 'unknown') AS routed,
           CASE WHEN e.endpoint THEN e.cloud_account_id ELSE '' END AS endpoint_account,
           CASE WHEN c.initiator = 'remote' THEN coalesce(a.name, '') ELSE '' END AS answers
    FROM placed p
    JOIN contexts c USING (context)
    JOIN identities_known l ON l.identity_id = p.local_id
    JOIN identities_known e ON e.identity_id = p.remote_id
    LEFT JOIN routed r ON r.scope_no = l.scope_no AND r.address = p.remote_address
        AND p.moment >= r.valid_from AND p.moment < r.valid_to AND c.via = ''
    LEFT JOIN answered a ON a.local_address = p.local_address
        AND a.remote_address = p.remote_address AND a.tenant = c.tenant
        AND a.hour = date_trunc('hour', p.moment)
)
SELECT w.* EXCLUDE (moment, seen, local_end, remote_end, local_network, endpoint_account),
       date_trunc('hour', w.moment) AS hour, w.moment::DATE AS day,
       CASE WHEN w.seen THEN coalesce(g.kind, '') ELSE '' END AS seen_at,
       coalesce(g.account, w.endpoint_account) AS gateway_account,
       coalesce(g.place, -1) AS gateway_place,
       CASE WHEN g.network > 0 AND w.local_network > 0 AND g.network <> w.local_network
            THEN 'other' ELSE 'same' END AS gateway_vpc,
       -- An end without node or resource is its address; numbers and hashes do not meet.
       CASE WHEN w.local_end > 0 THEN w.local_end::UBIGINT
            ELSE hash(w.local_address) | 4294967296 END AS local_key,
       CASE WHEN w.remote_end > 0 THEN w.remote_end::UBIGINT
            ELSE hash(w.remote_address) | 4294967296 END AS remote_key,
       CASE WHEN hex(w.remote_address[:12]) = '00000000000000000000FFFF' THEN 4 ELSE 6 END
           AS family
FROM ways w
LEFT JOIN gateways g ON g.gateway_id = w.via
    AND w.moment >= g.valid_from AND w.moment < g.valid_to
"""


def observe(con: DuckDBPyConnection, world: World) -> None:
    """Create the table `observations` from `gathered`."""
    con.execute(RESOLVE)
    con.execute(IDENTIFY)
    _hint(con, world, "local_hints", LOCAL_HINTS, _LOCAL_FIELDS)
    _hint(con, world, "remote_hints", REMOTE_HINTS, ("dns_name",))
    con.execute(PLACE)
    con.execute(ROUTE)
    con.execute(ANSWER)
    con.execute(OBSERVE)


_LOCAL_FIELDS = (
    "cloud_account_id",
    "cloud_region",
    "cloud_availability_zone",
    "cloud_vpc_id",
    "cloud_subnet_id",
)


def _hint(
    con: DuckDBPyConnection, world: World, name: str, query: str, fields: Sequence[str]
) -> None:
    """Create the table `name`: (base, context) -> the identity completed by the record."""
    rows = con.execute(query).fetchall()
    ids = world.add(_completed(world.identities[row[0]], fields, row[2:]) for row in rows)
    create(
        con,
        name,
        {
            "base": pa.array([row[0] for row in rows], pa.int64()),
            "context": pa.array([row[1] for row in rows], pa.uint64()),
            "identity_id": pa.array(ids, pa.int64()),
        },
    )


def _completed(identity: Identity, fields: Sequence[str], hints: Sequence[str]) -> Identity:
    filled = {
        field: getattr(identity, field) or hint for field, hint in zip(fields, hints, strict=True)
    }
    return msgspec.structs.replace(identity, **filled)
