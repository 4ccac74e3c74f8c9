"""Who was at an address then: each distinct (slot, address) gets its party.

Enters: slots, addresses and a `World`. Hosts are whole answers and win over ranges. What clusters
or VPCs share is corrected by `parting`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from msgspec import Struct

from flowcost.arrays import counted, flat
from flowcost.pipeline.codes import Distinct, distinct
from flowcost.pipeline.gather import Gathered
from flowcost.pipeline.parties import aligned, moments
from flowcost.pipeline.parting import identify
from flowcost.pipeline.world import World, create

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Rows of `ranges` with one first have one last.
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
WHERE a.number > 0
"""
RESOLVE = """
CREATE OR REPLACE TEMP TABLE ends AS
SELECT e.end_no, e.slot, e.address, coalesce(h.party, r.party, 0) AS party
FROM seen e
JOIN slots s USING (slot)
JOIN located l USING (address)
LEFT JOIN hosts h
    ON h.address = l.bytes AND s.moment >= h.valid_from AND s.moment < h.valid_to
LEFT JOIN ranges r
    ON r.first = l.block AND s.moment >= r.valid_from AND s.moment < r.valid_to
"""


class Ends(Struct, frozen=True):
    """Distinct ends: which one each asked (slot, address) is, and the party there.

    `located` has scope, family, stretch and bare by the address's number; `bare` is the number, but
    one for all that sensors of one VPC see of the address.
    """

    number: Any
    party: Any
    located: pa.Table


def resolve(con: DuckDBPyConnection, world: World, given: Gathered, asked: pa.Table) -> Ends:
    """Return who was at each (slot, address) of `asked`."""
    create(con, "addresses", {
        "number": counted(len(given.addresses)), "address": given.addresses,
    })  # fmt: skip
    create(con, "slots", {
        "slot": counted(len(given.slots)), "moment": moments(given.slots),
    })  # fmt: skip
    con.execute(LOCATE)
    size = len(given.addresses)
    seen: Distinct = distinct(
        [(asked["slot"], len(given.slots)), (asked["address"], size)], len(asked)
    )
    create(con, "seen", {
        "end_no": counted(seen.size),
        **{name: flat(asked[name]).take(seen.firsts) for name in ("slot", "address")},
    })  # fmt: skip
    con.execute(RESOLVE)
    identify(con, world)
    party = aligned(con, "SELECT party FROM ends ORDER BY end_no", seen.size)["party"]
    located = aligned(
        con,
        "SELECT scope, family, stretch, bare FROM located ORDER BY address",
        max(size - 1, 0),
    )
    return Ends(seen.numbers, flat(party), _with_nobody(located))


def _with_nobody(located: pa.Table) -> pa.Table:
    nobody = pa.table({n: pa.array([0], located[n].type) for n in located.column_names})
    return pa.concat_tables([nobody, located]).combine_chunks()
