"""One address in two address plans is two addresses.

Clusters and VPCs may share addresses (`resolve.plans`). Enters: what `gather` leaves. Where an
address that was met means another thing in the observer's plans than elsewhere, it gets a number
for them, so that the stages after this one keep its ends apart without knowing of plans. Leaves:

- the rows and addresses with those numbers;
- the table `parted`: such a number with the `cluster` and `vpc` plans that it is looked up in, ""
  where that plan does not have it, and `bare`: one number for all that a VPC's sensors see of the
  address, whether they know its clusters or not.

Costs nothing where no address is shared: then nothing is parted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from flowcost.arrays import counted, flat
from flowcost.pipeline.codes import distinct, packed
from flowcost.pipeline.gather import Gathered
from flowcost.pipeline.world import World, create

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
FROM met_pairs JOIN standing USING (context);

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
SELECT m.number, m.context, p.place FROM met_in m JOIN parted p USING (number, cluster, vpc)
"""
ADDED = """
SELECT a.address FROM parted p JOIN addresses a USING (number) ORDER BY p.place
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


def part(
    con: DuckDBPyConnection, world: World, given: Gathered, rows: pa.Table
) -> tuple[pa.Table, Gathered]:
    """Give shared addresses a number per plan that they were met in."""
    if not world.shares_addresses:
        return rows, given
    context = flat(rows["context"])
    ends = {end: flat(rows[end]) for end in ("local", "remote")}
    sizes = len(given.addresses), len(given.contexts)
    number = pa.concat_arrays(list(ends.values()))
    contexts = pa.concat_arrays([context, context])
    pairs = distinct([(number, sizes[0]), (contexts, sizes[1])], len(number))
    create(con, "met_pairs", {
        "number": number.take(pairs.firsts), "context": contexts.take(pairs.firsts),
    })  # fmt: skip
    create(con, "addresses", {
        "number": counted(sizes[0]), "address": given.addresses,
    })  # fmt: skip
    numbered = given.contexts.append_column("context", counted(sizes[1]))
    create(con, "contexts", numbered)
    for statement in FIND.split(";"):
        con.execute(statement)
    added = flat(con.sql(ADDED).to_arrow_table()["address"]).cast(pa.binary())
    if not len(added):
        return rows, given
    known = con.sql(PART).to_arrow_table().combine_chunks()
    keys = packed(
        [(flat(known["number"]), sizes[0]), (flat(known["context"]), sizes[1])], len(known)
    )[0]
    places = flat(known["place"]).cast(pa.int32())
    for end, column in ends.items():
        asked = packed([(column, sizes[0]), (context, sizes[1])], len(column))[0]
        found = places.take(pc.index_in(asked, value_set=keys))
        place = rows.column_names.index(end)
        rows = rows.set_column(place, end, pc.coalesce(found, column))
    return rows, replace(given, addresses=pa.concat_arrays([given.addresses, added]))


def identify(con: DuckDBPyConnection, world: World) -> None:
    """Correct `ends` and `located` where the observers' own plans know an address."""
    if world.shares_addresses:
        for statement in IDENTIFY.split(";"):
            con.execute(statement)
