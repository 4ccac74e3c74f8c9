"""What fires for each row: decided meters, and which of them the row's sensors leave to others.

A gateway's row fires the client's own leg only where the client has no sensor of its own, and what
a device on the way charges the client only where the client's sensor does not know the way. A
transit gateway on that way is charged from its own log where there is one. The far end's meters
fire only where the far end is ours and has no sensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from flowcost.arrays import flat, sized
from flowcost.model import Position
from flowcost.pipeline.book import Booked
from flowcost.pipeline.codes import distinct, same, slices, united
from flowcost.pipeline.decide import Fired
from flowcost.pipeline.observe import Met

KIND = ("period", "label", "fired_no", "via", "account", "answers", "carries")
_ROW = ("near", "far", "bytes", "packets")


class Posted(Struct, frozen=True):
    """Rows of `kind`, both ends as charges say them (`near`, `far`), `bytes` and `packets`.

    `kinds` are the distinct combinations of `KIND`.
    """

    rows: pa.Table
    kinds: pa.Table


def fire(met: Met, booked: Booked, fired: Sequence[Fired], combinations: int) -> Posted:
    """Return what every booked row fires."""
    order = _Order(fired, combinations)
    parts = [
        _kinds(_fired(met, booked, part, order, place))
        for rows in (booked.of_ends, booked.of_gateways)
        if rows is not None
        for part in slices(rows)
        for place in range(order.depth)
    ]
    return Posted(*united(parts or [(_NOTHING, _NO_KINDS)], "kind"))


def _kinds(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return the rows by kind, and the kinds."""
    alike = distinct([sized(flat(rows[name])) for name in KIND], len(rows))
    kinds = pa.table(alike.digits(), names=KIND)
    return rows.select(_ROW).append_column("kind", alike.numbers), kinds


_NO_KINDS = pa.schema([(name, pa.int32()) for name in KIND]).empty_table()
_NOTHING = pa.schema([
    ("near", pa.int32()), ("far", pa.int32()), ("bytes", pa.int64()), ("packets", pa.int64()),
    ("kind", pa.int32()),
]).empty_table()  # fmt: skip


class _Order:
    """The meters of each combination, one after another; their number is a place in `fired`."""

    def __init__(self, fired: Sequence[Fired], combinations: int) -> None:
        self.fired = fired
        of: list[list[int]] = [[] for _ in range(combinations)]
        for number, one in enumerate(fired):
            of[one.combination].append(number)
        self._of = of
        self.depth = max(map(len, of), default=0) or 1

    def nth(self, place: int) -> Any:  # noqa: ANN401 - Arrow
        """Return what each combination fires at a place, null if nothing."""
        return pa.array([one[place] if place < len(one) else None for one in self._of], pa.int32())

    def flags(self, chosen: Iterable[bool]) -> Any:  # noqa: ANN401 - Arrow
        """Return a flag per fired meter."""
        return pa.array(list(chosen), pa.bool_())


def _fired(met: Met, booked: Booked, rows: pa.Table, order: _Order, place: int) -> pa.Table:
    number = order.nth(place).take(flat(rows["combination"]))
    if number.null_count:
        rows, number = rows.filter(number.is_valid()), number.drop_null()
    near, far = flat(rows["near"]), flat(rows["far"])
    count = len(rows)
    at_gateway = "explained" in rows.column_names
    sensor = booked.near_sensor.take(near) if at_gateway else None
    mirrored = order.flags(one.mirrored for one in order.fired).take(number)
    any_mirrored = pc.any(mirrored, min_count=0).as_py()
    kept = same(value=True, rows=count, kind=pa.bool_())
    if at_gateway:
        kept = _unseen(rows, order, number, sensor)
    if any_mirrored:
        alone = pc.and_(flat(met.fars["owned"]).take(far), pc.invert(booked.far_sensor.take(far)))
        kept = pc.if_else(mirrored, alone, kept)
    if at_gateway:
        twice = order.flags(one.transit for one in order.fired).take(number)
        kept = pc.and_(kept, pc.invert(pc.and_(twice, flat(rows["transit_seen"]))))
        carries = pc.invert(pc.or_(sensor, flat(rows["carried_elsewhere"])))
    else:
        carries = same(value=True, rows=count, kind=pa.bool_())
    local, remote = flat(met.nears["said"]).take(near), flat(met.fars["said"]).take(far)
    ends = {"near": local, "far": remote}
    if any_mirrored:
        ends["near"] = pc.if_else(mirrored, remote, local)
        ends["far"] = pc.if_else(mirrored, local, remote)
    found = {
        "period": flat(met.nears["period"]).take(near),
        "label": flat(met.nears["label"]).take(near),
        "fired_no": number,
        **{name: flat(rows[name]) for name in ("via", "account", "answers")},
        "carries": carries.cast(pa.int32()),
        **ends,
        **{name: flat(rows[name]) for name in ("bytes", "packets")},
    }
    table = pa.table({name: found[name] for name in (*KIND, *_ROW)})
    return table if pc.all(kept, min_count=0).as_py() else table.filter(kept)


def _unseen(rows: pa.Table, order: _Order, number: Any, sensor: Any) -> Any:  # noqa: ANN401 - Arrow
    """Return which meters of gateways' rows the client's own sensor does not account for."""
    local = order.flags(one.position == Position.LOCAL for one in order.fired).take(number)
    way = order.flags(one.leg == "processing" for one in order.fired).take(number)
    seen = pc.if_else(way, flat(rows["explained"]), sensor)
    return pc.or_(pc.invert(local), pc.invert(seen))


def combinations_of(booked: Booked) -> Iterator[int]:
    """Yield the combinations that count."""
    for rows in (booked.of_ends, booked.of_gateways):
        if rows is not None:
            yield from flat(rows["combination"]).unique().to_pylist()
