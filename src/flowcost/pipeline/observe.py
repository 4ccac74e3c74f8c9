"""Who was at each end: gathered flows get their identities.

Enters: gathered rows and a `World`. Leaves rows (near, far, bytes, packets) that refer to

- `nears`: each distinct (slot, local address, context) with all that is known of the local end;
- `fars`: each distinct (slot, remote address, naming) likewise; `naming` is the context where that
  names the remote end.

Everything is looked up once per distinct end, never per row. An end whose identity is not known
is its address: `said` is minus the address's number then, else the party.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from flowcost.model import Identity
from flowcost.pipeline.codes import counted, distinct, flat, same, summed
from flowcost.pipeline.ends import resolve
from flowcost.pipeline.gather import AT_GATEWAY, Gathered
from flowcost.pipeline.parties import LOCAL_HINTS, gateways_at, parties
from flowcost.pipeline.world import SCOPES, World, create

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# A node agent knows the pod by its cgroup; the address may have belonged to another pod. Of the
# identities of one pod the first by id stands for it.
PODS = """
WITH uids AS (
    SELECT k8s_pod_uid AS uid, arg_min(party, identity_id) AS party
    FROM identities_known WHERE k8s_pod_uid <> '' GROUP BY ALL
)
SELECT coalesce(u.party, 0) AS pod FROM {0} k LEFT JOIN uids u ON u.uid = {1} ORDER BY k.{2}
"""
_UID = "CASE WHEN observer_type = 'node_agent' THEN local_uid ELSE '' END"
_RANKS = ("node_agent", "interface")
FINEST_OF_ALL = 2  # rank of every other sensor


class Met(Struct, frozen=True):
    """What rows refer to; see the module. `parties` has the columns of identities by party."""

    nears: pa.Table
    fars: pa.Table
    parties: pa.Table
    given: Gathered


def meet(given: Gathered, rows: pa.Table) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return rows of near, far, bytes and packets, and the ends that they refer to.

    Nears are slot, address and context, fars slot, address and naming.
    """
    near, nears = _near(given, rows)
    far, fars = _far(given, rows)
    met = pa.table({"near": near, "far": far, "bytes": rows["bytes"], "packets": rows["packets"]})
    return summed(met, ("near", "far")), nears, fars


def observe(
    con: DuckDBPyConnection, world: World, given: Gathered, nears: pa.Table, fars: pa.Table
) -> Met:
    """Find the parties of all ends."""
    contexts = _contexts(world, given.contexts)
    asked = pa.concat_tables([ends.select(["slot", "address"]) for ends in (nears, fars)])
    found = resolve(con, world, given, asked)
    local = found.party.take(found.number.slice(0, len(nears)))
    remote = found.party.take(found.number.slice(len(nears)))
    known = parties(con)
    local = _identified(con, given, flat(nears["context"]), local)
    local = _local_hints(world, known, contexts, nears, local)
    remote = _remote_hints(world, known, contexts, fars, remote)
    known = parties(con)
    return Met(
        nears=_nears(con, world, given, contexts, nears, local, known, found.located),
        fars=_fars(world, given, fars, remote, known, found.located),
        parties=known,
        given=given,
    )


def _near(given: Gathered, rows: pa.Table) -> tuple[Any, pa.Table]:
    columns = [rows[name] for name in ("slot", "local", "context")]
    sizes = len(given.slots), len(given.addresses), len(given.contexts)
    found = distinct([*zip(columns, sizes, strict=True)], len(rows))
    nears = rows.select(["slot", "local", "context"]).take(found.firsts)
    return found.numbers, nears.rename_columns(["slot", "address", "context"]).combine_chunks()


def _far(given: Gathered, rows: pa.Table) -> tuple[Any, pa.Table]:
    names = pc.not_equal(given.contexts["dns_name"], "")
    naming = same(0, len(rows))
    if pc.any(names, min_count=0).as_py():
        numbers = pc.add(counted(len(names)), pa.scalar(1, pa.int32()))
        naming = pc.if_else(flat(names), numbers, 0).take(flat(rows["context"]))
    rows = rows.select(["slot", "remote"]).append_column("naming", naming)
    sizes = len(given.slots), len(given.addresses), len(given.contexts) + 1
    found = distinct([*zip(rows.columns, sizes, strict=True)], len(rows))
    fars = rows.take(found.firsts)
    return found.numbers, fars.rename_columns(["slot", "address", "naming"]).combine_chunks()


def _contexts(world: World, given: pa.Table) -> pa.Table:
    """Return the contexts with what rows need of them in numbers."""
    vias = flat(given["via"]).dictionary_encode()
    numbers = pa.array([world.vias.of(name) for name in vias.dictionary.to_pylist()], pa.int32())
    rank = pc.index_in(given["observer_type"], value_set=pa.array(_RANKS))
    led = pc.or_(
        pc.not_equal(given["next_hop_type"], ""),
        pc.invert(pc.is_in(given["traffic_path"], value_set=pa.array([0, 1], pa.int32()))),
    )
    says = [pc.not_equal(given[name], "").cast(pa.int32()) for name in LOCAL_HINTS]
    hinted = same(0, len(given))
    for bit, column in enumerate(says):
        hinted = pc.add(hinted, pc.multiply(flat(column), pa.scalar(1 << bit, pa.int32())))
    at_own = pc.not_equal(given["observer_type"], "gateway")
    return pa.table({
        **{name: given[name] for name in given.column_names},
        "via_no": numbers.take(vias.indices),
        "at_gateway": pc.is_in(given["observer_type"], value_set=pa.array(AT_GATEWAY)),
        "rank": pc.fill_null(rank, FINEST_OF_ALL),
        "led": led,
        "hints": pc.if_else(flat(at_own), hinted, 0),
    })  # fmt: skip


def _identified(con: DuckDBPyConnection, given: Gathered, context: Any, party: Any) -> Any:  # noqa: ANN401 - Arrow
    """Return the parties of local ends, the pod where its own agent saw it."""
    if "node_agent" not in flat(given.contexts["observer_type"]).unique().to_pylist():
        return party
    numbered = given.contexts.append_column("context", counted(len(given.contexts)))
    create(con, "contexts", numbered)
    pods = con.sql(PODS.format("contexts", _UID, "context")).to_arrow_table()["pod"]
    canon = con.sql(PODS.format("identities_known", "k8s_pod_uid", "party")).to_arrow_table()["pod"]
    seen = flat(pods).take(context)
    agrees = pc.or_(pc.equal(seen, 0), pc.equal(flat(canon).take(party), seen))
    return pc.if_else(agrees, party, seen)


def _local_hints(
    world: World,
    known: pa.Table,
    contexts: pa.Table,
    near: pa.Table,
    party: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401 - Arrow
    """Return the parties, completed by the record's own words, which never override it."""
    silent, hints = flat(known["silent"]), flat(contexts["hints"])
    both = pc.bit_wise_and(silent.take(party), hints.take(flat(near["context"])))
    hinted = pc.indices_nonzero(both)
    fields = tuple(LOCAL_HINTS.values())
    return _hinted(
        world, contexts, hinted, flat(near["context"]), party, tuple(LOCAL_HINTS), fields
    )


def _remote_hints(
    world: World,
    known: pa.Table,
    contexts: pa.Table,
    far: pa.Table,
    party: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401 - Arrow
    """Return the parties of remote ends, named as the record names those without a name."""
    named = pc.and_(pc.greater(flat(far["naming"]), 0), flat(known["nameless"]).take(party))
    hinted = pc.indices_nonzero(named)
    naming = pc.subtract(flat(far["naming"]), pa.scalar(1, pa.int32()))
    return _hinted(world, contexts, hinted, naming, party, ("dns_name",), ("dns_name",))


def _hinted(
    world: World,
    contexts: pa.Table,
    rows: Any,  # noqa: ANN401 - Arrow
    context: Any,  # noqa: ANN401 - Arrow
    party: Any,  # noqa: ANN401 - Arrow
    columns: Sequence[str],
    fields: Sequence[str],
) -> Any:  # noqa: ANN401 - Arrow
    """Return the parties with those of `rows` completed from their contexts."""
    if not len(rows):
        return party
    of, who = context.take(rows), party.take(rows)
    pairs = distinct([(who, len(world.parties)), (of, len(contexts))], len(rows))
    said = contexts.select(columns).take(of.take(pairs.firsts)).to_pylist()
    keys = list(world.parties)
    completed = [
        _completed(world.identities[keys[base]], fields, list(words.values()))
        for base, words in zip(who.take(pairs.firsts).to_pylist(), said, strict=True)
    ]
    added = pa.array(world.add(completed), pa.int32()).take(pairs.numbers)
    # Which of `rows` a row is, null if none.
    place = pc.index_in(pc.cast(counted(len(party)), rows.type), value_set=rows)
    return pc.coalesce(added.take(place), party)


def _completed(identity: Identity, fields: Sequence[str], hints: Sequence[str]) -> Identity:
    filled = {
        field: getattr(identity, field) or hint for field, hint in zip(fields, hints, strict=True)
    }
    return msgspec.structs.replace(identity, **filled)


def _nears(
    con: DuckDBPyConnection,
    world: World,
    given: Gathered,
    contexts: pa.Table,
    near: pa.Table,
    party: Any,  # noqa: ANN401 - Arrow
    known: pa.Table,
    located: pa.Table,
) -> pa.Table:
    slot, address, context = (flat(near[name]) for name in ("slot", "address", "context"))
    of_party = {
        name: flat(known[name]).take(party)
        for name in ("place", "network", "cluster_no", "node", "end_no", "scope_no")
    }
    of_context = {
        name: flat(contexts[name]).take(context)
        for name in ("manner", "label", "at_gateway", "led", "rank", "via_no")
    }
    gateway = gateways_at(con, of_context["via_no"], slot, given.slots)
    scope = flat(located["scope"]).take(address)
    days = pa.array([slot.day for slot in given.slots], pa.date32()).dictionary_encode()
    traits = distinct(
        [
            (days.indices.take(slot), len(days.dictionary)),
            (of_context["manner"], len(contexts)),
            (of_party["place"], len(world.places)),
            (scope, len(SCOPES)),
            (gateway, (pc.max(gateway).as_py() or 0) + 1),
        ],
        len(slot),
    )
    periods = pa.array([slot.period for slot in given.slots], pa.int32()).take(slot)
    return pa.table({
        "slot": slot, "address": address, "context": context, "party": party,
        **of_party, **of_context, "scope": scope, "gateway": gateway, "period": periods,
        "said": _said(party, address),
        "station": _station(periods, of_party["end_no"], flat(located["bare"]).take(address)),
        "class": traits.numbers,
    })  # fmt: skip


def _fars(
    world: World,
    given: Gathered,
    far: pa.Table,
    party: Any,  # noqa: ANN401 - Arrow
    known: pa.Table,
    located: pa.Table,
) -> pa.Table:
    slot, address = flat(far["slot"]), flat(far["address"])
    of_party = {
        name: flat(known[name]).take(party)
        for name in ("place", "network", "cluster_no", "node", "end_no", "via", "account", "owned")
    }
    of_address = {
        name: flat(located[name]).take(address) for name in ("scope", "family", "stretch", "bare")
    }
    traits = distinct(
        [
            (of_party["place"], len(world.places)),
            (of_address["scope"], len(SCOPES)),
            (of_address["family"], 8),
        ],
        len(slot),
    )
    periods = pa.array([slot.period for slot in given.slots], pa.int32()).take(slot)
    return pa.table({
        "slot": slot, "address": address, "party": party, **of_party, **of_address,
        "said": _said(party, address),
        "station": _station(periods, of_party["end_no"], of_address["bare"]),
        "class": traits.numbers,
    })  # fmt: skip


def _said(party: Any, address: Any) -> Any:  # noqa: ANN401 - Arrow
    return pc.if_else(pc.greater(party, 0), party, pc.negate(address))


def _station(period: Any, end: Any, bare: Any) -> Any:  # noqa: ANN401 - Arrow
    """Return ends as sensors see them: a node's interface, a resource, else the bare address."""
    place = pc.if_else(pc.greater(end, 0), end, pc.negate(bare)).cast(pa.int64())
    return pc.add(pc.multiply(period.cast(pa.int64()), 1 << 33), pc.add(place, 1 << 32))
