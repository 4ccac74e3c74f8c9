"""Who was at each end, and which way out: flows become observations.

Enters: a relation `flows` with the columns of `schema.FLOWS`, and a `World`. Leaves: a table
`observations`, one row per flow aggregate, with identity ids, address scopes, the Service that
was dialed, and the gateway. Distinct addresses are resolved, not rows.
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

# One lookup per (address, time): hosts are whole answers and win over ranges.
RESOLVE = """
CREATE OR REPLACE TEMP TABLE resolved AS
WITH ends AS (
    SELECT DISTINCT address, moment FROM (
        SELECT local_address AS address, window_start AS moment FROM flows
        UNION ALL
        SELECT remote_address, window_start FROM flows
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
)
SELECT f.*, date_trunc('hour', f.window_start) AS hour,
       CASE WHEN i.k8s_pod_uid = f.local_uid THEN l.identity_id
            ELSE coalesce(u.identity_id, l.identity_id) END AS local_base,
       l.scope AS local_scope,
       r.identity_id AS remote_id,
       r.scope AS remote_scope,
       coalesce(s.name, '') AS dialed_service
FROM flows f
JOIN resolved l ON l.address = f.local_address AND l.moment = f.window_start
JOIN resolved r ON r.address = f.remote_address AND r.moment = f.window_start
JOIN identities_known i ON i.identity_id = l.identity_id
LEFT JOIN uids u ON f.observer_type = 'node_agent' AND u.uid = f.local_uid
LEFT JOIN services s ON s.address = f.dialed_address
    AND f.window_start >= s.valid_from AND f.window_start < s.valid_to
"""

# The record's own words about the observed interface complete an identity; they never override.
HINTS = ("account", "region", "az_id", "vpc_id", "subnet_id")
HINTED = f"""
SELECT DISTINCT local_base, {", ".join(HINTS)}
FROM identified f JOIN identities_known i ON i.identity_id = f.local_base
WHERE f.observer_type <> 'gateway' AND (
       (f.account <> '' AND i.cloud_account_id = '')
    OR (f.region <> '' AND i.cloud_region = '')
    OR (f.az_id <> '' AND i.cloud_availability_zone = '')
    OR (f.vpc_id <> '' AND i.cloud_vpc_id = '')
    OR (f.subnet_id <> '' AND i.cloud_subnet_id = ''))
ORDER BY ALL
"""

# The route that holds: the subnet's table, else the VPC's main table; longest prefix has won.
ROUTE = """
CREATE OR REPLACE TEMP TABLE routed AS
WITH scopes_known AS (SELECT DISTINCT scope FROM routes),
wanted AS (
    SELECT DISTINCT
        CASE WHEN i.cloud_subnet_id IN (SELECT scope FROM scopes_known) THEN i.cloud_subnet_id
             ELSE i.cloud_vpc_id END AS scope,
        o.local_id, o.remote_address AS address, o.hour
    FROM placed o JOIN identities_known i ON i.identity_id = o.local_id
    WHERE o.via = ''
),
asked AS (SELECT DISTINCT scope, address FROM wanted WHERE scope IN (FROM scopes_known)),
blocks AS (SELECT DISTINCT scope, first, last FROM routes),
found AS (
    SELECT a.scope, a.address, b.first FROM asked a
    ASOF JOIN blocks b ON a.scope = b.scope AND a.address >= b.first
    WHERE a.address <= b.last
)
SELECT w.local_id, w.address, w.hour, r.kind, r.gateway_id
FROM wanted w
JOIN found USING (scope, address)
JOIN routes r ON r.scope = w.scope AND r.first = found.first
    AND w.hour >= r.valid_from AND w.hour < r.valid_to
"""

OBSERVE = """
CREATE OR REPLACE TEMP TABLE observations AS
SELECT p.* EXCLUDE (via),
       CASE WHEN p.via <> '' THEN p.via
            WHEN e.kind IN ('interface_endpoint', 'gwlb_endpoint') THEN e.cloud_resource_id
            ELSE coalesce(r.gateway_id, '') END AS via,
       CASE WHEN p.via <> '' THEN coalesce(seen.kind, '') ELSE '' END AS seen_at,
       coalesce(r.kind, 'unknown') AS routed,
       CASE WHEN p.via = '' AND e.kind IN ('interface_endpoint', 'gwlb_endpoint')
            THEN e.cloud_account_id ELSE coalesce(g.account, '') END AS gateway_account,
       coalesce(g.place, -1) AS gateway_place,
       l.place AS local_place,
       e.place AS remote_place,
       l.cloud_account_id AS local_account,
       e.cloud_account_id AS remote_account,
       l.cloud_resource_id AS local_resource,
       e.cloud_resource_id AS remote_resource,
       CASE WHEN l.end_key <> '' THEN l.end_key ELSE hex(p.local_address) END AS local_key,
       CASE WHEN e.end_key <> '' THEN e.end_key ELSE hex(p.remote_address) END AS remote_key,
       CASE WHEN g.vpc <> '' AND l.cloud_vpc_id <> '' AND g.vpc <> l.cloud_vpc_id
            THEN 'other' ELSE 'same' END AS gateway_vpc,
       CASE WHEN l.cloud_vpc_id <> '' AND e.cloud_vpc_id <> ''
            THEN CASE WHEN l.cloud_vpc_id = e.cloud_vpc_id THEN 'same' ELSE 'other' END
            WHEN l.k8s_cluster_name <> '' AND l.k8s_cluster_name = e.k8s_cluster_name THEN 'same'
            ELSE 'unknown' END AS vpc,
       l.k8s_node_name <> '' AND l.k8s_node_name = e.k8s_node_name
           AND l.k8s_cluster_name = e.k8s_cluster_name AS on_one_node,
       p.observer_type IN ('gateway', 'tgw_attachment') AS at_gateway,
       CASE WHEN hex(p.remote_address)[:24] = '00000000000000000000FFFF' THEN 4 ELSE 6 END
           AS family
FROM placed p
JOIN identities_known l ON l.identity_id = p.local_id
JOIN identities_known e ON e.identity_id = p.remote_id
LEFT JOIN routed r ON r.local_id = p.local_id AND r.address = p.remote_address
    AND r.hour = p.hour AND p.via = ''
LEFT JOIN gateways seen ON seen.gateway_id = p.via
    AND p.hour >= seen.valid_from AND p.hour < seen.valid_to
LEFT JOIN gateways g
    ON g.gateway_id = CASE WHEN p.via <> '' THEN p.via ELSE coalesce(r.gateway_id, '') END
    AND p.hour >= g.valid_from AND p.hour < g.valid_to
"""


def observe(con: DuckDBPyConnection, world: World) -> None:
    """Create the table `observations` from the relation `flows`."""
    con.execute(RESOLVE)
    con.execute(IDENTIFY)
    _place(con, world)
    con.execute(ROUTE)
    con.execute(OBSERVE)


def _place(con: DuckDBPyConnection, world: World) -> None:
    """Create `placed`: `identified` with `local_id`, completed by the record's own place."""
    hinted = con.execute(HINTED).fetchall()
    filled = world.add(_completed(world.identities[row[0]], row[1:]) for row in hinted)
    bases, *texts = zip(*hinted, strict=True) if hinted else ((),) * 6
    columns = {"local_base": pa.array(bases, pa.int64())}
    for name, values in zip(HINTS, texts, strict=True):
        columns[name] = pa.array(values, pa.string())
    create(con, "hints", {**columns, "local_id": pa.array(filled, pa.int64())})
    con.execute(
        "CREATE OR REPLACE TEMP TABLE placed AS"
        " SELECT f.* EXCLUDE (local_base), coalesce(h.local_id, f.local_base) AS local_id"
        " FROM identified f LEFT JOIN hints h"
        f" USING (local_base, {', '.join(HINTS)})"
    )


def _completed(identity: Identity, hints: Sequence[str]) -> Identity:
    fields = (
        "cloud_account_id",
        "cloud_region",
        "cloud_availability_zone",
        "cloud_vpc_id",
        "cloud_subnet_id",
    )
    filled = {
        field: getattr(identity, field) or hint for field, hint in zip(fields, hints, strict=True)
    }
    return msgspec.structs.replace(identity, **filled)
