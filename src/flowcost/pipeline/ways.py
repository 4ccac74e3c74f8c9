"""Which way out: what two ends are to each other, and through which gateway they meet.

Enters: what `observe` leaves. Leaves the rows with the gateway (`via`, `account`), the Service that
was dialed (`answers`), whether the sensor knows the way (`led`), and `combination`: the number of
everything a verdict can depend on, of which `combinations` has each once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from flowcost.arrays import counted, flat, sized
from flowcost.model import GatewayKind
from flowcost.pipeline.codes import distinct, packed, same, slices, united
from flowcost.pipeline.gather import Slot
from flowcost.pipeline.observe import Met
from flowcost.pipeline.parties import aligned, gateways, gateways_at, moments
from flowcost.pipeline.world import GATEWAY_KINDS, create

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# The route that holds: longest prefix has won, so one block per (route table, stretch).
ROUTE = """
WITH asked AS (SELECT DISTINCT scope_no, stretch FROM routes_asked),
starts AS (SELECT a.*, t.first AS start FROM asked a JOIN route_bounds t USING (stretch)),
blocks AS (SELECT DISTINCT scope_no, first, last FROM routes),
found AS (
    SELECT s.scope_no, s.stretch, b.first FROM starts s
    ASOF JOIN blocks b ON s.scope_no = b.scope_no AND s.start >= b.first
    WHERE s.start <= b.last
),
routed AS (
    SELECT f.scope_no, f.stretch, r.kind, r.via, r.valid_from, r.valid_to
    FROM found f JOIN routes r ON r.scope_no = f.scope_no AND r.first = f.first
)
SELECT coalesce(r.kind, {unknown})::INTEGER AS kind, coalesce(r.via, 0)::INTEGER AS via
FROM routes_asked a
LEFT JOIN routed r ON r.scope_no = a.scope_no AND r.stretch = a.stretch
    AND a.moment >= r.valid_from AND a.moment < r.valid_to
ORDER BY a.asked
"""

# The backend's node never sees what was dialed. Where all that one end sent to another in an hour
# was dialed through one Service, the answers belong to that Service too.
DIALED = """
WITH named AS (
    SELECT d.asked, coalesce(o.name, s.name, 0) AS name
    FROM dialed d
    LEFT JOIN services o ON o.cluster <> '' AND o.cluster = d.cluster AND o.address = d.address
        AND d.moment >= o.valid_from AND d.moment < o.valid_to
    LEFT JOIN services s ON s.cluster = '' AND s.address = d.address
        AND d.moment >= s.valid_from AND d.moment < s.valid_to
)
SELECT (CASE WHEN min(name) = max(name) THEN min(name) ELSE 0 END)::INTEGER AS name
FROM named GROUP BY asked ORDER BY asked
"""
ANSWERED = "SELECT key, min(name) AS name FROM said GROUP BY key HAVING min(name) = max(name)"

UNKNOWN = GATEWAY_KINDS.index(GatewayKind.UNKNOWN)
_NO_WAY = pa.array([UNKNOWN, GATEWAY_KINDS.index(GatewayKind.NONE)], pa.int32())
SAME, OTHER, UNSAID = range(3)  # how two VPCs relate; positions in `decide.VPC`


class Between(Struct, frozen=True):
    """What a verdict can depend on: classes of both ends and what lies between them.

    `vpc` is one of `SAME`, `OTHER` and `UNSAID`; `gateway` is one more than its place, 0 if none is
    known.
    """

    near: int
    far: int
    vpc: int
    on_one_node: bool
    routed: int
    elsewhere: bool
    gateway: int


class Ways(Struct, frozen=True):
    """What rows refer to: `combinations`, the columns of `Between`, and gateways by number."""

    combinations: pa.Table
    gateways: pa.Table


def find_ways(con: DuckDBPyConnection, met: Met, rows: pa.Table) -> tuple[pa.Table, Ways]:
    """Return the way of each row."""
    known = gateways(con)
    rows = rows.append_column("answers", _answers(con, met, flat(rows["near"]), flat(rows["far"])))
    parts = [_found(con, met, known, part) for part in slices(rows)]
    if not parts:
        parts = [_found(con, met, known, rows)]
    found, combinations = united(parts, "combination")
    return found, Ways(combinations, known)


def _found(
    con: DuckDBPyConnection, met: Met, known: pa.Table, rows: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Return rows with their ways, and the combinations."""
    near, far = flat(rows["near"]), flat(rows["far"])
    count = len(near)

    def of_near(name: str) -> Any:  # noqa: ANN401 - Arrow
        return flat(met.nears[name]).take(near)

    def of_far(name: str) -> Any:  # noqa: ANN401 - Arrow
        return flat(met.fars[name]).take(far)

    network, slot = of_near("network"), of_near("slot")
    vpc = _relation(network, of_far("network"), of_near("cluster_no"), of_far("cluster_no"))
    node = of_near("node")
    on_one_node = pc.and_(pc.greater(node, 0), pc.equal(node, of_far("node")))
    # A gateway's own rows need no route.
    scope = pc.if_else(pc.equal(of_near("via_no"), 0), of_near("scope_no"), 0)
    routed, through = _routes(con, met.given.slots, scope, slot, of_far("stretch"))
    via = through
    for end in (of_far("via"), of_near("via_no")):
        via = pc.if_else(pc.greater(end, 0), end, via)
    gateway = gateways_at(con, via, slot, met.given.slots)
    its = {name: flat(known[name]).take(gateway) for name in ("account", "network", "place")}
    # A flow to an endpoint that no gateway is known of is charged to the endpoint's account.
    payer = pc.if_else(pc.greater(of_far("via"), 0), of_far("account"), 0)
    elsewhere = pc.and_(
        pc.and_(pc.greater(its["network"], 0), pc.greater(network, 0)),
        pc.not_equal(its["network"], network),
    )
    led = pc.or_(
        pc.or_(of_near("led"), pc.greater(via, 0)),
        pc.invert(pc.is_in(routed, value_set=_NO_WAY)),
    )
    facts = distinct(
        [
            sized(of_near("class")),
            sized(of_far("class")),
            (vpc, 3),
            (on_one_node.cast(pa.int32()), 2),
            (routed, len(GATEWAY_KINDS)),
            (elsewhere.cast(pa.int32()), 2),
            sized(pc.add(its["place"], 1)),
        ],
        count,
    )
    found = pa.table({
        **{name: rows[name] for name in rows.column_names},
        "via": via,
        "account": pc.if_else(pc.greater(gateway, 0), its["account"], payer),
        "led": led,
        "combination": facts.numbers,
    })  # fmt: skip
    return found, pa.table(facts.digits(), names=Between.__struct_fields__)


def _relation(network: Any, other: Any, cluster: Any, its: Any) -> Any:  # noqa: ANN401 - Arrow
    in_one = pc.and_(pc.greater(cluster, 0), pc.equal(cluster, its))
    placed = pc.and_(pc.greater(network, 0), pc.greater(other, 0))
    told = pc.if_else(pc.equal(network, other), pa.scalar(SAME), pa.scalar(OTHER))
    guess = pc.if_else(in_one, pa.scalar(SAME), pa.scalar(UNSAID))
    return pc.if_else(placed, told, guess).cast(pa.int32())


def _routes(
    con: DuckDBPyConnection,
    slots: Sequence[Slot],
    scope: Any,  # noqa: ANN401 - Arrow
    slot: Any,  # noqa: ANN401
    stretch: Any,  # noqa: ANN401
) -> tuple[Any, Any]:
    """Return the kind and gateway of each row's route by a table (`scope`, 0 for none)."""
    count = len(slot)
    if not pc.any(pc.greater(scope, 0), min_count=0).as_py():
        return same(UNKNOWN, count), same(0, count)
    asked = distinct([sized(scope), sized(stretch), (slot, len(slots))], count)
    create(con, "routes_asked", {
        "asked": counted(asked.size),
        "scope_no": scope.take(asked.firsts),
        "stretch": stretch.take(asked.firsts),
        "moment": moments(slots).take(slot.take(asked.firsts)),
    })  # fmt: skip
    found = aligned(con, ROUTE.format(unknown=UNKNOWN), asked.size)
    return flat(found["kind"]).take(asked.numbers), flat(found["via"]).take(asked.numbers)


def _answers(con: DuckDBPyConnection, met: Met, near: Any, far: Any) -> Any:  # noqa: ANN401 - Arrow
    """Return the Service that the local end answers for in each row, 0 if none is known."""
    count, contexts, slots = len(near), met.given.contexts, met.given.slots
    dialed = flat(contexts["dialed_address"])
    if dialed.null_count == len(dialed):
        return same(0, count)
    nears = met.nears
    asked = distinct(
        [(flat(nears["context"]), len(contexts)), (flat(nears["slot"]), len(slots))], len(nears)
    )
    firsts = nears.take(asked.firsts)
    create(con, "dialed", {
        "asked": counted(asked.size),
        "cluster": flat(contexts["cluster"]).take(flat(firsts["context"])),
        "address": dialed.take(flat(firsts["context"])),
        "moment": moments(slots).take(flat(firsts["slot"])),
    })  # fmt: skip
    names = flat(aligned(con, DIALED, asked.size)["name"]).take(asked.numbers)
    opener = flat(contexts["initiator"]).take(flat(nears["context"])).take(near)
    period, local = (flat(nears[name]).take(near) for name in ("period", "address"))
    remote = flat(met.fars["address"]).take(far)
    sizes = len(met.given.periods), len(met.given.addresses), len(met.given.addresses)
    both = packed(
        [
            (pa.concat_arrays([one, other]), size)
            for one, other, size in zip(
                (period, local, remote), (period, remote, local), sizes, strict=True
            )
        ],
        2 * count,
    )[0]
    sent = pa.table({"key": both.slice(count), "name": names.take(near)})
    create(con, "said", sent.filter(pc.equal(opener, "local")))
    known = con.sql(ANSWERED).to_arrow_table().combine_chunks()
    answered = flat(known["name"]).take(
        pc.index_in(both.slice(0, count), value_set=flat(known["key"]))
    )
    return pc.if_else(pc.equal(opener, "remote"), pc.fill_null(answered, 0), 0)
