"""Which observation counts (laws 3 and 4): one byte, one meter, one observation.

Per end and hour the sensor with the finest identity is booked: node agent, then interface flow
log, then exporter. A gateway's own log is booked for a client unless the client's booked sensor
already saw the flow leave through that gateway; where the client has a sensor, the gateway's row
adds the gateway's meters and not the bytes again. A transit gateway on the way to a NAT gateway
sees the client's bytes too, and on the way back as if the far end were the sender: where a sensor
of the client or the NAT gateway's log has them, it adds its own meters only. The rest is a
cross-check: kept apart, counted, never summed.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from flowcost.address import Scope
from flowcost.arrays import Digits, flat, sized
from flowcost.pipeline.codes import among, same, where
from flowcost.pipeline.observe import FINEST_OF_ALL, Met
from flowcost.pipeline.world import SCOPES


class Booked(Struct, frozen=True):
    """What counts: rows of ends' own sensors and of gateways, as `ways` leaves them.

    `of_gateways` have three columns more. `explained`: the client's sensor knows its way to the far
    end; `transit_seen`: a transit gateway's own log holds the way to the client;
    `carried_elsewhere`: the bytes are there already, at the client's sensor or in the log of its
    NAT gateway, and only the meters are new. `near_sensor` and `far_sensor` say which ends have a
    sensor in the hour. `cross_checked` is (observer type, bytes) of what is not booked.
    """

    of_ends: pa.Table
    of_gateways: pa.Table | None
    near_sensor: Any
    far_sensor: Any
    cross_checked: list[tuple[str, int]]


def book(met: Met, rows: pa.Table) -> Booked:
    """Choose the observations that count."""
    finest, near_sensor, far_sensor = _sensors(met)
    near = flat(rows["near"])
    at_gateway = flat(met.nears["at_gateway"]).take(near)
    counts = finest.take(near)
    if not pc.any(at_gateway, min_count=0).as_py():
        return Booked(
            of_ends=where(counts, rows),
            of_gateways=None,
            near_sensor=near_sensor,
            far_sensor=far_sensor,
            cross_checked=_sums(met, _others(counts, rows)),
        )
    own = where(pc.invert(at_gateway), rows)
    finest_rows = where(finest.take(flat(own["near"])), own)
    others = _others(finest.take(flat(own["near"])), own)
    gated = rows.filter(at_gateway)
    of_gateways = _gateways(met, gated, finest_rows, far_sensor)
    left = of_gateways["left"]
    return Booked(
        of_ends=finest_rows,
        of_gateways=where(pc.invert(left), of_gateways).drop_columns("left"),
        near_sensor=near_sensor,
        far_sensor=far_sensor,
        cross_checked=_sums(met, others, gated.filter(left)),
    )


def _others(counts: Any, rows: pa.Table) -> pa.Table:  # noqa: ANN401 - Arrow
    return rows.filter(pc.invert(counts))


def _sensors(met: Met) -> tuple[Any, Any, Any]:
    """Return whether a near is its end's finest sensor, and whether each near and far has one."""
    nears = met.nears
    station, rank = flat(nears["station"]), flat(nears["rank"])
    own = pc.invert(flat(nears["at_gateway"]))
    finest = same(value=False, rows=len(nears), kind=pa.bool_())
    found = pa.array([], pa.int64())
    for level in range(FINEST_OF_ALL + 1):
        here = pc.and_(own, pc.equal(rank, level))
        if not pc.any(here, min_count=0).as_py():
            continue
        if len(found):  # a finer sensor is there
            here = pc.and_(here, pc.invert(pc.is_in(station, value_set=found)))
        finest = pc.or_(finest, here)
        found = pa.concat_arrays([found, station.filter(here).unique()])
    far = pc.is_in(flat(met.fars["station"]), value_set=found)
    return finest, pc.is_in(station, value_set=found), far


def _gateways(
    met: Met,
    gated: pa.Table,
    own: pa.Table,
    far_sensor: Any,  # noqa: ANN401 - Arrow
) -> pa.Table:
    """Return the rows of gateways' logs with what other sensors know; `left`: all of it.

    `own` are the rows of ends' finest sensors.
    """
    sides = _Sides(met, gated, own)
    count = len(gated)
    via, own_via = flat(gated["via"]), flat(own["via"])
    passing = pc.and_(pc.greater(own_via, 0), pc.is_in(own_via, value_set=via.unique()))
    left = among(
        [sides.digits("nears", "station"), sized(via)],
        count,
        [sides.own("nears", "station").filter(passing), own_via.filter(passing)],
    )
    bare = sides.of("fars", "bare")
    told = pc.and_(flat(own["led"]), pc.is_in(sides.own("fars", "bare"), value_set=bare.unique()))
    explained = among(
        [sides.digits("nears", "station"), sized(bare)],
        count,
        [sides.own("nears", "station").filter(told), sides.own("fars", "bare").filter(told)],
    )
    none = same(value=False, rows=count, kind=pa.bool_())
    transit_seen, elsewhere = none, none
    kind = flat(met.given.contexts["observer_type"]).take(sides.of("nears", "context"))
    at_transit, at_gateway = pc.equal(kind, "tgw_attachment"), pc.equal(kind, "gateway")
    if pc.any(at_transit, min_count=0).as_py():
        transit_seen, natted = _transit(met, sides, at_transit, at_gateway)
        public = pc.and_(
            pc.equal(sides.of("nears", "scope"), SCOPES.index(Scope.PUBLIC)),
            far_sensor.take(flat(gated["far"])),
        )
        elsewhere = pc.and_(at_transit, pc.or_(natted, public))
    added = {
        "explained": explained,
        "transit_seen": transit_seen,
        "carried_elsewhere": elsewhere,
        "left": left,
    }
    for name, column in added.items():
        gated = gated.append_column(name, column)
    return gated


def _transit(met: Met, sides: _Sides, at_transit: Any, at_gateway: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """Return which rows of a NAT gateway a transit gateway logged too, and the reverse."""
    sends = pc.equal(
        flat(met.given.contexts["direction"]).take(sides.of("nears", "context")), "transmit"
    )
    near, far = sides.of("nears", "station"), sides.of("fars", "station")
    sent = pc.is_in(near, value_set=near.filter(at_transit).unique())
    received = pc.is_in(near, value_set=far.filter(at_transit).unique())
    seen = pc.and_(at_gateway, pc.if_else(sends, sent, received))
    address = {side: sides.of(side, "address") for side in ("nears", "fars")}
    sizes = max(sized(near)[1], sized(far)[1]), max(sized(one)[1] for one in address.values())

    def natted(station: Any, other: Any, chosen: Any) -> Any:  # noqa: ANN401 - Arrow
        of = near.filter(chosen), address["fars"].filter(chosen)
        return among([(station, sizes[0]), (other, sizes[1])], len(station), of)

    out = natted(near, address["fars"], pc.and_(at_gateway, sends))
    back = natted(far, address["nears"], pc.and_(at_gateway, pc.invert(sends)))
    return seen, pc.or_(out, back)


class _Sides:
    """Columns of both ends of gateways' rows, and of the rows of ends' own sensors."""

    def __init__(self, met: Met, gated: pa.Table, own: pa.Table) -> None:
        self._met = {"nears": met.nears, "fars": met.fars}
        self._gated, self._own = gated, own

    def of(self, side: str, name: str) -> Any:  # noqa: ANN401 - Arrow
        """Return a column of an end of gateways' rows."""
        return flat(self._met[side][name]).take(flat(self._gated[side[:-1]]))

    def own(self, side: str, name: str) -> Any:  # noqa: ANN401 - Arrow
        """Return a column of an end of the others' rows."""
        return flat(self._met[side][name]).take(flat(self._own[side[:-1]]))

    def digits(self, side: str, name: str) -> Digits:
        """Return a column of gateways' rows with a size that holds the others' too."""
        return self.of(side, name), sized(flat(self._met[side][name]))[1]


def _sums(met: Met, *parts: pa.Table) -> list[tuple[str, int]]:
    """Return (observer type, bytes) of rows, exactly."""
    kinds = flat(met.given.contexts["observer_type"]).dictionary_encode()
    words = kinds.dictionary.to_pylist()
    totals: dict[str, int] = {}
    for rows in parts:
        near = flat(rows["near"])
        found = kinds.indices.take(flat(met.nears["context"]).take(near))
        for number in found.unique().to_pylist():
            bytes_ = rows["bytes"].filter(pc.equal(found, number))
            total = pc.sum(bytes_.cast(pa.decimal128(19))).as_py()
            totals[words[number]] = totals.get(words[number], 0) + int(total)
    return sorted(totals.items())
