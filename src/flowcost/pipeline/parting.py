"""One address in two address plans is two addresses.

Clusters and VPCs may share addresses (`resolve.plans`). Enters: what `gather` leaves. Where an
address that was met means another thing in the observer's plans than elsewhere, it gets a number
for them, so that the stages after this one keep its ends apart without knowing of plans. Leaves:

- `gathered` and `addresses` with those numbers;
- `parted`: such a number with the `cluster` and `vpc` plans that it is looked up in, "" where that
  plan does not have it, and `bare`: one number for all that a VPC's sensors see of the address,
  whether they know its clusters or not.

Costs nothing where no address is shared: then nothing is parted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcost.pipeline.world import World

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Where an observer stands: as the record says, else as the inventory says of what it names.
_VPC = """coalesce(nullif(c.vpc_id, ''),
        (SELECT vpc FROM homes WHERE name = c.subnet_id),
        (SELECT vpc FROM homes WHERE name = c.local_uid),
        (SELECT vpc FROM homes WHERE name = c.via), '')"""
FIND = f"""
CREATE OR REPLACE TEMP TABLE standing AS
WITH told AS (
    SELECT c.context, 'cluster/' || c.cluster AS cluster, 'vpc/' || {_VPC} AS vpc FROM contexts c
)
SELECT t.context, coalesce(c.plan, '') AS cluster, coalesce(v.plan, '') AS vpc
FROM told t LEFT JOIN plans c ON c.plan = t.cluster LEFT JOIN plans v ON v.plan = t.vpc
WHERE c.plan IS NOT NULL OR v.plan IS NOT NULL;

CREATE OR REPLACE TEMP TABLE met_in AS
SELECT number, context, cluster, vpc
FROM (SELECT DISTINCT unnest([local, remote]) AS number, context FROM gathered)
JOIN standing USING (context);

CREATE OR REPLACE TEMP TABLE holding AS
WITH asked AS (
    SELECT DISTINCT a.number, a.address, unnest([m.cluster, m.vpc]) AS plan
    FROM met_in m JOIN addresses a USING (number)
),
blocks AS (SELECT DISTINCT plan, first, last FROM plan_ranges)
SELECT a.number, a.plan FROM asked a
JOIN plan_hosts h ON h.plan = a.plan AND h.address = a.address
UNION
SELECT a.number, a.plan FROM asked a
JOIN blocks b ON b.plan = a.plan AND b.first <= a.address AND b.last >= a.address;

CREATE OR REPLACE TEMP TABLE met_in AS
SELECT m.number, m.context, coalesce(c.plan, '') AS cluster, coalesce(v.plan, '') AS vpc
FROM met_in m
LEFT JOIN holding c ON c.number = m.number AND c.plan = m.cluster
LEFT JOIN holding v ON v.number = m.number AND v.plan = m.vpc
WHERE c.plan IS NOT NULL OR v.plan IS NOT NULL;

CREATE OR REPLACE TEMP TABLE parted AS
WITH numbered AS (
    SELECT *, (SELECT max(number) FROM addresses) + row_number() OVER ()::INTEGER AS place
    FROM (SELECT DISTINCT number, cluster, vpc FROM met_in)
)
SELECT *, CASE WHEN vpc = '' THEN place
          ELSE min(place) OVER (PARTITION BY number, vpc) END AS bare
FROM numbered
"""
PART = """
CREATE OR REPLACE TEMP TABLE met_in AS
SELECT m.number, m.context, p.place
FROM met_in m JOIN parted p USING (number, cluster, vpc);

CREATE OR REPLACE TEMP TABLE gathered AS
SELECT g.* REPLACE (coalesce(l.place, g.local) AS local, coalesce(r.place, g.remote) AS remote)
FROM gathered g
LEFT JOIN met_in l ON l.context = g.context AND l.number = g.local
LEFT JOIN met_in r ON r.context = g.context AND r.number = g.remote;

INSERT INTO addresses BY NAME
SELECT a.address, p.place AS number FROM parted p JOIN addresses a USING (number)
"""
_THEN = "s.moment >= {0}.valid_from AND s.moment < {0}.valid_to"
IDENTIFY = f"""
UPDATE ends SET party = own.party FROM (
    SELECT e.slot, e.address, coalesce(ch.party, cr.party, vh.party, vr.party) AS party
    FROM ends e
    JOIN slots s USING (slot)
    JOIN parted p ON p.place = e.address
    JOIN located l USING (address)
    LEFT JOIN plan_hosts ch ON ch.plan = p.cluster AND ch.address = l.bytes
        AND {_THEN.format("ch")}
    LEFT JOIN plan_ranges cr ON cr.plan = p.cluster AND cr.first <= l.bytes AND cr.last >= l.bytes
        AND {_THEN.format("cr")}
    LEFT JOIN plan_hosts vh ON vh.plan = p.vpc AND vh.address = l.bytes AND {_THEN.format("vh")}
    LEFT JOIN plan_ranges vr ON vr.plan = p.vpc AND vr.first <= l.bytes AND vr.last >= l.bytes
        AND {_THEN.format("vr")}
) own
WHERE own.slot = ends.slot AND own.address = ends.address AND own.party IS NOT NULL;

UPDATE located SET bare = p.bare FROM parted p WHERE p.place = located.address
"""


def part(con: DuckDBPyConnection, world: World) -> None:
    """Give shared addresses a number per plan that they were met in."""
    if not world.shares_addresses:
        return
    for statement in FIND.split(";"):
        con.execute(statement)
    if con.execute("SELECT count(*) FROM parted").fetchall()[0][0]:
        for statement in PART.split(";"):
            con.execute(statement)


def identify(con: DuckDBPyConnection, world: World) -> None:
    """Correct `ends` and `located` where the observers' own plans know an address."""
    if world.shares_addresses:
        for statement in IDENTIFY.split(";"):
            con.execute(statement)
