"""Who was at each end: gathered flows get their identities.

Enters: gathered rows and a `World`. Leaves rows (near, far, bytes, packets) that refer to

- `nears`: each distinct (slot, local address, context) with all that is known of the local end;
- `fars`: each distinct (slot, remote address, naming) likewise; `naming` is the context where that
  names the remote end.

Everything is looked up once per distinct end, never per row. An end whose identity is not known
is its address: `said` is minus the address's number then, else the party.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from flowcost.arrays import counted, flat, sized
from flowcost.pipeline.codes import distinct, same, summed
from flowcost.pipeline.ends import resolve
from flowcost.pipeline.gather import AT_GATEWAY, LOCAL_HINTS, Gathered
from flowcost.pipeline.hints import identified, local_hints, remote_hints
from flowcost.pipeline.parties import gateways_at
from flowcost.pipeline.world import SCOPES, World

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

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
    local = identified(world, given.contexts, flat(nears["context"]), local)
    silent = world.parties
    local = local_hints(world, silent, contexts, nears, local)
    remote = remote_hints(world, silent, contexts, fars, remote)
    known = _Known(con, world, given, world.parties, found.located)
    return Met(
        nears=_nears(known, contexts, nears, local),
        fars=_fars(known, fars, remote),
        parties=known.parties,
        given=given,
    )


class _Known(Struct, frozen=True):
    """What ends are described from."""

    con: Any
    world: World
    given: Gathered
    parties: pa.Table
    located: pa.Table

    def of_party(self, party: Any, *names: str) -> dict[str, Any]:  # noqa: ANN401 - Arrow
        """Return columns of parties."""
        return {name: flat(self.parties[name]).take(party) for name in names}

    def of_address(self, address: Any, *names: str) -> dict[str, Any]:  # noqa: ANN401 - Arrow
        """Return columns of addresses."""
        return {name: flat(self.located[name]).take(address) for name in names}

    def periods(self, slot: Any) -> Any:  # noqa: ANN401 - Arrow
        """Return the periods of slots."""
        return pa.array([one.period for one in self.given.slots], pa.int32()).take(slot)


def _near(given: Gathered, rows: pa.Table) -> tuple[Any, pa.Table]:
    columns = [rows[name] for name in ("slot", "local", "context")]
    sizes = len(given.slots), len(given.addresses), len(given.contexts)
    found = distinct([*zip(columns, sizes, strict=True)], len(rows))
    return found.numbers, pa.table(found.digits(), names=["slot", "address", "context"])


def _far(given: Gathered, rows: pa.Table) -> tuple[Any, pa.Table]:
    names = pc.not_equal(given.contexts["dns_name"], "")
    naming = same(0, len(rows))
    if pc.any(names, min_count=0).as_py():
        numbers = pc.add(counted(len(names)), pa.scalar(1, pa.int32()))
        naming = pc.if_else(flat(names), numbers, 0).take(flat(rows["context"]))
    sizes = len(given.slots), len(given.addresses), len(given.contexts) + 1
    columns = rows["slot"], rows["remote"], naming
    found = distinct([*zip(columns, sizes, strict=True)], len(rows))
    return found.numbers, pa.table(found.digits(), names=["slot", "address", "naming"])


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


def _nears(known: _Known, contexts: pa.Table, near: pa.Table, party: Any) -> pa.Table:  # noqa: ANN401
    slot, address, context = (flat(near[name]) for name in ("slot", "address", "context"))
    slots = known.given.slots
    of_party = known.of_party(party, "place", "network", "cluster_no", "node", "end_no", "scope_no")
    of_address = known.of_address(address, "scope", "bare")
    of_context = {
        name: flat(contexts[name]).take(context)
        for name in ("manner", "label", "at_gateway", "led", "rank", "via_no")
    }
    gateway = gateways_at(known.con, of_context["via_no"], slot, slots)
    days = pa.array([one.day for one in slots], pa.date32()).dictionary_encode()
    traits = distinct(
        [
            (days.indices.take(slot), len(days.dictionary)),
            (of_context["manner"], len(contexts)),
            (of_party["place"], len(known.world.places)),
            (of_address["scope"], len(SCOPES)),
            sized(gateway),
        ],
        len(slot),
    )
    periods = known.periods(slot)
    return pa.table({
        "slot": slot, "address": address, "context": context, "party": party,
        **of_party, **of_context, "scope": of_address["scope"],
        "gateway": gateway, "period": periods, "said": _said(party, address),
        "station": _station(periods, of_party["end_no"], of_address["bare"]),
        "class": traits.numbers,
    })  # fmt: skip


def _fars(known: _Known, far: pa.Table, party: Any) -> pa.Table:  # noqa: ANN401 - Arrow
    slot, address = flat(far["slot"]), flat(far["address"])
    of_party = known.of_party(
        party, "place", "network", "cluster_no", "node", "end_no", "via", "account", "owned"
    )
    of_address = known.of_address(address, "scope", "family", "stretch", "bare")
    traits = distinct(
        [
            (of_party["place"], len(known.world.places)),
            (of_address["scope"], len(SCOPES)),
            (of_address["family"], 8),
        ],
        len(slot),
    )
    return pa.table({
        "slot": slot, "address": address, "party": party, **of_party, **of_address,
        "said": _said(party, address),
        "station": _station(known.periods(slot), of_party["end_no"], of_address["bare"]),
        "class": traits.numbers,
    })  # fmt: skip


def _said(party: Any, address: Any) -> Any:  # noqa: ANN401 - Arrow
    return pc.if_else(pc.greater(party, 0), party, pc.negate(address))


def _station(period: Any, end: Any, bare: Any) -> Any:  # noqa: ANN401 - Arrow
    """Return ends as sensors see them: a node's interface, a resource, else the bare address."""
    place = pc.if_else(pc.greater(end, 0), end, pc.negate(bare)).cast(pa.int64())
    return pc.add(pc.multiply(period.cast(pa.int64()), 1 << 33), pc.add(place, 1 << 32))
