"""What records say of their own ends: the pod that an agent saw, and words that nobody else has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from flowcost.model import Identity
from flowcost.pipeline.codes import counted, distinct, flat
from flowcost.pipeline.gather import LOCAL_HINTS
from flowcost.pipeline.world import World, create

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# A node agent knows the pod by its cgroup; the address may have belonged to another pod. Of the
# identities of one pod the first by id stands for it.
PODS = """
WITH uids AS (
    SELECT k8s_pod_uid AS uid, arg_min(party, identity_id) AS party
    FROM identities_known
    WHERE k8s_pod_uid <> '' AND k8s_pod_uid IN (
        SELECT local_uid FROM contexts WHERE observer_type = 'node_agent'
    )
    GROUP BY ALL
)
SELECT coalesce(u.party, 0) AS pod FROM {0} k LEFT JOIN uids u ON u.uid = {1} ORDER BY k.{2}
"""
_UID = "CASE WHEN observer_type = 'node_agent' THEN local_uid ELSE '' END"


def identified(
    con: DuckDBPyConnection,
    contexts: pa.Table,
    context: Any,  # noqa: ANN401 - Arrow
    party: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401 - Arrow
    """Return the parties of local ends, the pod where its own agent saw it."""
    if "node_agent" not in flat(contexts["observer_type"]).unique().to_pylist():
        return party
    numbered = contexts.append_column("context", counted(len(contexts)))
    create(con, "contexts", numbered)
    pods = con.sql(PODS.format("contexts", _UID, "context")).to_arrow_table()["pod"]
    canon = con.sql(PODS.format("identities_known", "k8s_pod_uid", "party")).to_arrow_table()["pod"]
    seen = flat(pods).take(context)
    agrees = pc.or_(pc.equal(seen, 0), pc.equal(flat(canon).take(party), seen))
    return pc.if_else(agrees, party, seen)


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
