"""Who was at each end: gathered flows get their identities.

Enters: what `gather` leaves, and a `World`. Leaves, beside `gathered`:

- `located`: each distinct address with its scope, family, stretch between route bounds, and
  `bare`: its number, but one for all that sensors of one VPC see of it;
- `ends`: (slot, address) with the party there then;
- `nears`: each distinct (slot, local address, context) with all that is known of the local end;
- `fars`: each distinct (slot, remote address, naming) likewise;
- `met`: gathered rows as (near, far, bytes, packets).

What a verdict can depend on at one end is packed into `traits`, and equal ones share a `class`.
Everything is looked up once per distinct end, never per row. An end whose identity is not known
is its address: `party` is minus the address's number then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from flowcost.model import Identity
from flowcost.pipeline.parting import identify
from flowcost.pipeline.world import World, create

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Hosts are whole answers and win over ranges; rows of `ranges` with one first have one last.
LOCATE = """
CREATE OR REPLACE TEMP TABLE located AS
WITH blocks AS (SELECT DISTINCT first, last FROM ranges)
SELECT a.number AS address, a.number AS bare, a.address AS bytes, s.scope, t.stretch,
       CASE WHEN b.last >= a.address THEN b.first END AS block,
       CASE WHEN hex(a.address[:12]) = '00000000000000000000FFFF' THEN 4 ELSE 6 END AS family
FROM addresses a
ASOF JOIN scopes s ON a.address >= s.first
ASOF JOIN route_bounds t ON a.address >= t.first
ASOF LEFT JOIN blocks b ON a.address >= b.first
"""
RESOLVE = """
CREATE OR REPLACE TEMP TABLE ends AS
WITH seen AS (SELECT slot, local AS address FROM gathered UNION SELECT slot, remote FROM gathered)
SELECT e.slot, e.address, coalesce(h.party, r.party, 0) AS party
FROM seen e
JOIN slots s USING (slot)
JOIN located l USING (address)
LEFT JOIN hosts h
    ON h.address = l.bytes AND s.moment >= h.valid_from AND s.moment < h.valid_to
LEFT JOIN ranges r
    ON r.first = l.block AND s.moment >= r.valid_from AND s.moment < r.valid_to
"""

# A node agent knows the pod by its cgroup; the address may have belonged to another pod.
IDENTIFY = """
CREATE OR REPLACE TEMP TABLE local_ends AS
WITH uids AS (
    SELECT k8s_pod_uid AS uid, arg_min(party, identity_id) AS party
    FROM identities_known
    WHERE k8s_pod_uid <> '' AND k8s_pod_uid IN (
        SELECT local_uid FROM contexts WHERE observer_type = 'node_agent'
    )
    GROUP BY ALL
),
pods AS (
    SELECT c.context, c.local_uid, u.party FROM contexts c
    JOIN uids u ON c.observer_type = 'node_agent' AND u.uid = c.local_uid
),
seen AS (SELECT DISTINCT slot, local AS address, context FROM gathered)
SELECT row_number() OVER ()::INTEGER AS near, g.slot, g.address, g.context,
       CASE WHEN p.party IS NULL OR i.k8s_pod_uid = p.local_uid THEN e.party
            ELSE p.party END AS party
FROM seen g
JOIN ends e USING (slot, address)
JOIN identities_known i ON i.party = e.party
LEFT JOIN pods p ON p.context = g.context
"""

# The record's own words complete an identity where it is silent; they never override it.
HINTS = ("account", "region", "az_id", "vpc_id", "subnet_id")
LOCAL_HINTS = f"""
SELECT f.party, c.context, {", ".join(f"c.{name}" for name in HINTS)}
FROM (SELECT DISTINCT party, context FROM local_ends) f
JOIN contexts c USING (context)
JOIN identities_known i USING (party)
WHERE c.observer_type <> 'gateway' AND (
       (c.account <> '' AND i.cloud_account_id = '')
    OR (c.region <> '' AND i.cloud_region = '')
    OR (c.az_id <> '' AND i.cloud_availability_zone = '')
    OR (c.vpc_id <> '' AND i.cloud_vpc_id = '')
    OR (c.subnet_id <> '' AND i.cloud_subnet_id = ''))
"""
REMOTE_HINTS = """
SELECT f.party, c.context, c.dns_name
FROM (SELECT DISTINCT e.party, g.naming AS context FROM
      (SELECT DISTINCT slot, remote AS address, naming FROM gathered WHERE naming > 0) g
      JOIN ends e USING (slot, address)) f
JOIN contexts c USING (context)
JOIN identities_known i USING (party)
WHERE c.dns_name <> '' AND i.dns_name = '' AND i.k8s_pod_name = ''
"""

# Stations are ends as sensors see them: a node's interface, a resource, else the bare address.
_STATION = """period * 8589934592 + 4294967296
           + CASE WHEN i.end_no > 0 THEN i.end_no ELSE -l.bare END AS station"""
NEARS = f"""
CREATE OR REPLACE TEMP TABLE nears AS
SELECT e.near, e.slot, e.address, e.context,
       CASE WHEN i.party > 0 THEN i.party ELSE -e.address END AS party,
       i.place, i.network, i.cluster_no, i.node, i.scope_no, l.scope,
       s.period, s.moment, s.day, s.{_STATION},
       c.manner, c.label, c.direction, c.observer_type, c.initiator, c.at_gateway, c.via_no AS via,
       ((s.day - DATE '1970-01-01')::BIGINT << 44) | (c.manner::BIGINT << 28)
           | (i.place::BIGINT << 8) | (l.scope << 5) | coalesce(g.kind + 1, 0) AS traits,
       c.next_hop_type <> '' OR c.traffic_path NOT IN (0, 1) AS led,
       CASE c.observer_type WHEN 'node_agent' THEN 0 WHEN 'interface' THEN 1 ELSE 2 END AS rank
FROM local_ends e
JOIN slots s USING (slot)
JOIN located l USING (address)
JOIN contexts c USING (context)
LEFT JOIN local_hints h ON h.base = e.party AND h.context = e.context
JOIN identities_known i ON i.party = coalesce(h.party, e.party)
LEFT JOIN gateways g ON g.via = c.via_no AND c.via_no > 0
    AND s.moment >= g.valid_from AND s.moment < g.valid_to
"""
FARS = f"""
CREATE OR REPLACE TEMP TABLE fars AS
WITH seen AS (SELECT DISTINCT slot, remote AS address, naming FROM gathered)
SELECT row_number() OVER ()::INTEGER AS far, e.slot, e.address, e.naming,
       CASE WHEN i.party > 0 THEN i.party ELSE -e.address END AS party,
       i.place, i.network, i.cluster_no, i.node, l.bare, l.scope, l.family, l.stretch, i.via,
       CASE WHEN i.via > 0 THEN i.account ELSE 0 END AS via_account,
       (i.place::BIGINT << 8) | (l.scope << 5) | l.family AS traits,
       i.cloud_account_id <> '' AS owned, s.{_STATION}
FROM seen e
JOIN slots s USING (slot)
JOIN located l USING (address)
JOIN ends b USING (slot, address)
LEFT JOIN remote_hints h ON h.base = b.party AND h.context = e.naming
JOIN identities_known i ON i.party = coalesce(h.party, b.party)
"""
CLASSIFY = """
CREATE OR REPLACE TEMP TABLE {ends}_classes AS
SELECT traits, row_number() OVER (ORDER BY traits)::INTEGER - 1 AS class
FROM (SELECT DISTINCT traits FROM {ends});
CREATE OR REPLACE TEMP TABLE {ends} AS
SELECT e.* EXCLUDE (traits), c.class FROM {ends} e JOIN {ends}_classes c USING (traits)
"""
MEET = """
CREATE OR REPLACE TEMP TABLE met AS
SELECT n.near, f.far, g.bytes, g.packets
FROM gathered g
JOIN nears n ON n.slot = g.slot AND n.address = g.local AND n.context = g.context
JOIN fars f ON f.slot = g.slot AND f.address = g.remote AND f.naming = g.naming
"""


def observe(con: DuckDBPyConnection, world: World) -> None:
    """Create the tables named above."""
    con.execute(LOCATE)
    con.execute(RESOLVE)
    identify(con, world)
    con.execute(IDENTIFY)
    _hint(con, world, "local_hints", LOCAL_HINTS, _LOCAL_FIELDS)
    _hint(con, world, "remote_hints", REMOTE_HINTS, ("dns_name",))
    _number_gateways(con, world)
    con.execute(NEARS)
    con.execute(FARS)
    for ends in ("nears", "fars"):
        con.execute(CLASSIFY.format(ends=ends))
    con.execute(MEET)


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
    """Create the table `name`: (base, context) -> the party completed by the record."""
    rows = con.execute(query).fetchall()
    found = zip(world.identities([row[0] for row in rows]), rows, strict=True)
    parties = world.add(_completed(identity, fields, row[2:]) for identity, row in found)
    create(
        con,
        name,
        {
            "base": pa.array([row[0] for row in rows], pa.int32()),
            "context": pa.array([row[1] for row in rows], pa.int32()),
            "party": pa.array(parties, pa.int32()),
        },
    )


def _completed(identity: Identity, fields: Sequence[str], hints: Sequence[str]) -> Identity:
    filled = {
        field: getattr(identity, field) or hint for field, hint in zip(fields, hints, strict=True)
    }
    return msgspec.structs.replace(identity, **filled)


def _number_gateways(con: DuckDBPyConnection, world: World) -> None:
    """Add `via_no`, the number of the gateway that a context's flows were seen at."""
    names = [name for (name,) in con.execute("SELECT DISTINCT via FROM contexts").fetchall()]
    create(
        con,
        "vias",
        {
            "via": pa.array(names, pa.string()),
            "via_no": pa.array([world.vias.of(name) for name in names], pa.int32()),
        },
    )
    con.execute(
        "CREATE OR REPLACE TEMP TABLE contexts AS SELECT * FROM contexts JOIN vias USING (via)"
    )
