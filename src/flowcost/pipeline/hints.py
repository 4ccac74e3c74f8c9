"""What records say of their own ends: the pod that an agent saw, and words that nobody else has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from flowcost.arrays import counted, flat
from flowcost.model import Identity
from flowcost.pipeline.codes import distinct
from flowcost.pipeline.gather import LOCAL_HINTS
from flowcost.pipeline.world import World


def identified(
    world: World,
    contexts: pa.Table,
    context: Any,  # noqa: ANN401 - Arrow
    party: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401 - Arrow
    """Return the parties of local ends, the pod where its own agent saw it.

    A node agent knows the pod by its cgroup; the address may have belonged to another pod. Of the
    identities of one pod the first by id stands for it.
    """
    by_agent = pc.equal(_texts(contexts, "observer_type"), "node_agent")
    told = pc.if_else(by_agent, _texts(contexts, "local_uid"), "")
    uids = told.filter(pc.not_equal(told, "")).unique()
    if not len(uids):
        return party
    ids = flat(world.identity_rows["identity_id"])
    uid = pc.index_in(flat(world.identity_rows["k8s_pod_uid"]), uids)
    held = pc.indices_nonzero(pc.is_valid(uid))
    first = pa.table({"uid": uid.take(held), "id": ids.take(held)})
    first = first.group_by("uid").aggregate([("id", "min")])
    pods = pc.index_in(flat(first["id_min"]), ids)
    seen = pc.index_in(told, uids).take(context)
    pod = pods.take(pc.index_in(seen, flat(first["uid"])))
    agrees = pc.equal(uid.take(party), seen).fill_null(False)  # noqa: FBT003 - Arrow's word
    return pc.if_else(agrees, party, pc.coalesce(pod, party))


def _texts(rows: pa.Table, name: str) -> Any:  # noqa: ANN401 - Arrow
    return flat(rows[name]).cast(pa.string())


def local_hints(
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
    said = _Saying(contexts, flat(near["context"]), tuple(LOCAL_HINTS), fields)
    return _hinted(world, said, hinted, party)


def remote_hints(
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
    said = _Saying(contexts, naming, ("dns_name",), ("dns_name",))
    return _hinted(world, said, hinted, party)


class _Saying(Struct, frozen=True):
    """Which context each end is of, and which of its columns complete which fields."""

    contexts: pa.Table
    context: Any
    columns: tuple[str, ...]
    fields: tuple[str, ...]


def _hinted(world: World, said: _Saying, rows: Any, party: Any) -> Any:  # noqa: ANN401 - Arrow
    """Return the parties with those of `rows` completed from their contexts."""
    if not len(rows):
        return party
    of, who = said.context.take(rows), party.take(rows)
    pairs = distinct([(who, len(world.identity_rows)), (of, len(said.contexts))], len(rows))
    words = said.contexts.select(said.columns).take(of.take(pairs.firsts)).to_pylist()
    bases = world.identities(who.take(pairs.firsts).to_pylist())
    completed = [
        _completed(base, said.fields, list(row.values()))
        for base, row in zip(bases, words, strict=True)
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
