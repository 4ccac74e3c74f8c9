"""Charges: decided meters for the booked rows, summed exactly, hour by hour.

Enters: what counts and what it fires. Leaves: for each tenant and hour, rows with the columns of
`schema.CHARGES`. Rows are numbers to the end; `kinds` are the distinct combinations of everything
that a charge says in words, and words are only looked up once per kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from flowcost.arrays import counted, flat
from flowcost.ledger import Partition
from flowcost.model import Position
from flowcost.pipeline.charges import Charges, Kinds, ends_of
from flowcost.pipeline.codes import coded, distinct
from flowcost.pipeline.decide import Fired
from flowcost.pipeline.fire import Posted
from flowcost.pipeline.observe import Met
from flowcost.pipeline.partitions import Hour
from flowcost.pipeline.world import World, create
from flowcost.schema import CHARGES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DESCRIBE = """
SELECT c.tenant, c.cluster, f.provider, f.region, f.usage_type, f.operation, f.path,
       f.direction, f.leg, f.provenance, f.confidence,
       CASE WHEN f.mirrored AND c.initiator = 'local' THEN 'remote'
            WHEN f.mirrored AND c.initiator = 'remote' THEN 'local'
            ELSE c.initiator END AS initiator,
       'bytes' AS unit, f.rate_id, f.verdict_id, c.observer_type, c.source,
       coalesce(o.name, d.name, k.answers)::INTEGER AS dialed_service, k.via
FROM kinds k
JOIN periods p USING (period)
JOIN labels c USING (label)
JOIN fired f USING (fired_no)
LEFT JOIN services o ON o.cluster <> '' AND o.cluster = c.cluster
    AND o.address = c.dialed_address AND p.hour >= o.valid_from AND p.hour < o.valid_to
LEFT JOIN services d ON d.cluster = '' AND d.address = c.dialed_address
    AND p.hour >= d.valid_from AND p.hour < d.valid_to
ORDER BY k.kind
"""
_SAID = ("provider", "region", "usage_type", "operation", "path", "direction", "leg", "provenance",
         "confidence", "rate_id", "verdict_id")  # fmt: skip


def post(
    con: DuckDBPyConnection, world: World, met: Met, posted: Posted, fired: Sequence[Fired]
) -> Iterator[Hour]:
    """Yield the charges of every tenant and hour."""
    numbers, periods, kinds = _kinds(con, world, met, posted, fired)
    rows = posted.rows.set_column(posted.rows.column_names.index("kind"), "kind", numbers)
    split: dict[tuple[int, str], int] = {}
    of_kind = [
        split.setdefault(place, len(split))
        for place in zip(periods, kinds.words["cluster"].to_pylist(), strict=True)
    ]
    parts = pa.array(of_kind, pa.int32()).take(rows["kind"])
    sizes = {one["values"]: one["counts"] for one in pc.value_counts(parts).to_pylist()}
    if len(split) > 1:
        rows = rows.take(pc.array_sort_indices(parts))
    start = 0
    hours = {}
    for (period, cluster), number in split.items():
        hours[period, cluster] = rows.slice(start, sizes[number])
        start += sizes[number]
    ends = ends_of(world, met)
    for (period, cluster), part in sorted(hours.items()):
        tenant, hour = met.given.periods[period]
        yield Hour(Partition(tenant, cluster, hour), Charges(part, hour, kinds, ends))


def _kinds(
    con: DuckDBPyConnection, world: World, met: Met, posted: Posted, fired: Sequence[Fired]
) -> tuple[Any, list[int], Kinds]:
    """Return the kind of each row, the kinds' periods and what they say, each once."""
    kinds = posted.kinds
    create(con, "kinds", kinds.append_column("kind", counted(len(kinds))))
    create(con, "labels", met.given.labels)
    create(con, "periods", {
        "period": counted(len(met.given.periods)),
        "hour": pa.array([hour.replace(tzinfo=None) for _, hour in met.given.periods],
                         pa.timestamp("us")),
    })  # fmt: skip
    create(con, "fired", _said(fired))
    told = con.sql(DESCRIBE).to_arrow_table().combine_chunks()
    words = {c.name: flat(told[c.name]) for c in CHARGES
             if c.type == "text" and c.name in told.column_names}  # fmt: skip
    for name, known in (("via", world.vias), ("dialed_service", world.services)):
        texts = [known.values[number] for number in told[name].to_pylist()]
        words[name] = pa.array(texts, pa.string())
    of = [fired[number] for number in kinds["fired_no"].to_pylist()]
    at_gateway = [one.position == Position.GATEWAY for one in of]
    account, via, carries = (kinds[name].to_pylist() for name in ("account", "via", "carries"))
    said = Kinds(
        words=words,
        ids={name: flat(told[name]) for name in ("rate_id", "verdict_id")},
        payer=pa.array(
            [payer if gate else -1 for payer, gate in zip(account, at_gateway, strict=True)],
            pa.int32(),
        ),
        resource=pa.array(
            [
                -1 if one.leg and not gate else gateway if one.leg else 0
                for one, gateway, gate in zip(of, via, at_gateway, strict=True)
            ],
            pa.int32(),
        ),
        carried=pa.array(
            [
                one.ordinal == 0 and not one.mirrored and bool(carried)
                for one, carried in zip(of, carries, strict=True)
            ],
            pa.bool_(),
        ),
        numerators=[one.numerator for one in of],
    )
    period = flat(kinds["period"])
    prices = pa.array([str(numerator) for numerator in said.numerators], pa.string())
    columns = (period, said.payer, said.resource, said.carried, prices)
    alike = distinct([said.ranked(), *map(coded, columns)], len(kinds))
    return (
        alike.numbers.take(flat(posted.rows["kind"])),
        period.take(alike.firsts).to_pylist(),
        said.taken(alike.firsts),
    )


def _said(fired: Sequence[Fired]) -> dict[str, pa.Array]:
    columns: dict[str, pa.Array] = {
        "fired_no": counted(len(fired)),
        "mirrored": pa.array([one.mirrored for one in fired], pa.bool_()),
    }
    for name in _SAID:
        kind = pa.int64() if name in ("rate_id", "verdict_id") else pa.string()
        values = [getattr(one, name) for one in fired]
        texts = values if kind == pa.int64() else [str(value) for value in values]
        columns[name] = pa.array(texts, kind)
    return columns
