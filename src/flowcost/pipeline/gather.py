"""Many flows, few kinds of them: the first stage numbers whatever the later ones look up.

Enters: flows in pieces (`pieces`), each flow within one UTC hour. Leaves `Gathered`: rows that
refer by number to

- `slots`: tenant and moment. A moment is the hour, except where an identity changes inside that
  hour: there it is the flow's own start, so that a reused address resolves exactly;
- `periods`: tenant and hour;
- `addresses`: the 16 bytes by number; number 0 is nobody's;
- `contexts`: the rest of a flow's columns, once per distinct combination, with `manner` (what a
  verdict can depend on) and `label` (what a charge says), of which there are far fewer.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from flowcost.arrays import flat
from flowcost.pipeline.codes import coded, distinct, same, summed
from flowcost.pipeline.pieces import CONTEXT, HOUR_US, hour_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MANNER = ("direction", "at_gateway", "traffic_path", "next_hop_type", "next_hop_az_id")
LABEL = ("tenant", "cluster", "initiator", "dialed_address", "observer_type", "source")
# Records may complete an identity where it is silent: column of a flow -> field of the identity.
LOCAL_HINTS = {
    "account": "cloud_account_id",
    "region": "cloud_region",
    "az_id": "cloud_availability_zone",
    "vpc_id": "cloud_vpc_id",
    "subnet_id": "cloud_subnet_id",
}
AT_GATEWAY = ("gateway", "tgw_attachment")  # observer types
_ENDS, _SUMS = ("local", "remote"), ("bytes", "packets")
MANY = 1 << 22  # rows, of 32 bytes
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Slot(Struct, frozen=True):
    """A moment of a tenant; `period` is its hour's."""

    tenant: str
    moment: datetime
    period: int

    @property
    def day(self) -> date:
        """Return the UTC day, whose rates hold."""
        return self.moment.date()


class Gathered(Struct, frozen=True):
    """What rows refer to; see the module."""

    addresses: Any
    contexts: pa.Table
    labels: pa.Table
    slots: list[Slot]
    periods: list[tuple[str, datetime]]


def gather(con: DuckDBPyConnection, pieces: Iterable[pa.Table]) -> tuple[pa.Table, Gathered]:
    """Number the flows of all pieces; `con` has the tables of a `World`.

    Returns rows of slot, local, remote, context, bytes, packets, and what they refer to.
    """
    changes, flows = _Changes(con), _Flows()
    for piece in pieces:
        flows.add(piece, changes)
    context = flows.contexts.taken("context")
    described = _described(flows.contexts.known)
    slot, slots, periods = _slots(
        flows.moments, flat(described["tenant"]).dictionary_encode(), context
    )
    ends = {name: flows.addresses.taken(name) for name in _ENDS}
    rows = pa.table({"slot": slot, **ends, "context": context, **flows.sums()})
    return rows, Gathered(
        addresses=flat(flows.addresses.known["address"]),
        contexts=described,
        labels=_firsts(described, "label").select([*LABEL, "label"]),
        slots=slots,
        periods=periods,
    )


class _Flows:
    """Flows by number; where there are many, those that have all numbers in common are summed."""

    def __init__(self) -> None:
        self.addresses = _Registry(pa.table({"address": pa.array([b""], pa.binary())}))
        self.contexts = _Registry(_CONTEXT_SCHEMA.empty_table())
        self.moments = _Registry(pa.table({"moment": pa.array([], pa.int64())}))
        self._sums: dict[str, list[Any]] = {name: [] for name in _SUMS}
        self._rows, self._most = 0, MANY

    def add(self, piece: pa.Table, changes: _Changes) -> None:
        """Number the rows of a piece."""
        ends = {name: _end(piece[f"{name}_address"]) for name in _ENDS}
        for name, end in ends.items():
            self.addresses.add(name, pa.table({"address": end.dictionary}), end.indices)
        moment = changes.moments(flat(piece["window_start"]), *ends.values()).dictionary_encode()
        words = pa.table({"moment": moment.dictionary})
        self.moments.add("moment", words, moment.indices)
        found = distinct([coded(piece[name]) for name in CONTEXT], len(piece))
        words = piece.select(CONTEXT).take(found.firsts).cast(_CONTEXT_SCHEMA)
        self.contexts.add("context", words, found.numbers)
        for name, arrays in self._sums.items():
            arrays.append(flat(piece[name]).cast(pa.int64()))
        self._rows += len(piece)
        if self._rows > self._most:
            self._sum_up()

    def sums(self) -> dict[str, Any]:
        """Return bytes and packets of all rows, which are given away."""
        return {name: _joined(self._sums.pop(name), pa.int64()) for name in _SUMS}

    def _sum_up(self) -> None:
        numbers = {
            "moment": self.moments,
            **dict.fromkeys(_ENDS, self.addresses),
            "context": self.contexts,
        }
        taken = {name: of.taken(name) for name, of in numbers.items()}
        rows = summed(pa.table({**taken, **self.sums()}), tuple(taken))
        for name, of in numbers.items():
            of.put(name, flat(rows[name]))
        self._sums = {name: [flat(rows[name])] for name in _SUMS}
        self._rows = len(rows)
        self._most = max(MANY, 2 * len(rows))


class _Registry:
    """Distinct rows of a table by number, found in pieces that number them for themselves."""

    def __init__(self, known: pa.Table) -> None:
        self._known, self._words = known, list[pa.Table]()
        self._numbers: dict[str, list[Any]] = {}
        self._pending: list[tuple[str, int]] = []
        self._waiting = 0

    @property
    def known(self) -> pa.Table:
        """Return the distinct rows."""
        self._settle()
        return self._known

    def add(self, name: str, words: pa.Table, numbers: Any) -> None:  # noqa: ANN401 - Arrow
        """Enter a piece of the column `name`, which refers to `words` by `numbers`."""
        arrays = self._numbers.setdefault(name, [])
        self._pending.append((name, len(arrays)))
        arrays.append(numbers)
        self._words.append(words)
        self._waiting += len(words)
        if self._waiting > _WAITING:
            self._settle()

    def put(self, name: str, numbers: Any) -> None:  # noqa: ANN401 - Arrow
        """Enter a column, which refers to what is known."""
        self._numbers[name] = [numbers]

    def taken(self, name: str) -> Any:  # noqa: ANN401 - Arrow
        """Return a column, which is given away."""
        self._settle()
        return _joined(self._numbers.pop(name, []), pa.int32())

    def _settle(self) -> None:
        start = len(self._known)
        every = pa.concat_tables([self._known, *self._words])
        alike = distinct([coded(column) for column in every.columns], len(every))
        self._known = every.take(alike.firsts).combine_chunks()
        for (name, place), words in zip(self._pending, self._words, strict=True):
            numbers = self._numbers[name]
            numbers[place] = alike.numbers.slice(start, len(words)).take(numbers[place])
            start += len(words)
        self._words, self._pending, self._waiting = [], [], 0


_WAITING = 200_000  # rows that are found again in other pieces, mostly
_KINDS = {"traffic_path": pa.int32(), "dialed_address": pa.binary()}
_CONTEXT_SCHEMA = pa.schema([(name, _KINDS.get(name, pa.string())) for name in CONTEXT])


class _Changes:
    """When a moment is not its hour."""

    def __init__(self, con: DuckDBPyConnection) -> None:
        self._moving = flat(con.sql("FROM changing").to_arrow_table()["address"]).cast(pa.binary())
        edges = flat(con.sql("FROM changing_hours").to_arrow_table()["hour"])
        self._hours = pc.multiply(hour_of(edges), HOUR_US)

    def moments(self, starts: Any, *ends: pa.DictionaryArray) -> Any:  # noqa: ANN401 - Arrow
        """Return the moment of each row, microseconds since 1970."""
        hours = pc.multiply(hour_of(starts), HOUR_US)
        starts = starts.cast(pa.timestamp("us")).cast(pa.int64())
        exact = [pc.is_in(hours, value_set=self._hours)] if len(self._hours) else []
        if len(self._moving):
            exact += [
                pc.is_in(end.dictionary, value_set=self._moving).take(end.indices) for end in ends
            ]
        return pc.if_else(reduce(pc.or_, exact), starts, hours) if exact else hours


def _end(column: Any) -> pa.DictionaryArray:  # noqa: ANN401 - Arrow
    column = flat(column)
    if pa.types.is_dictionary(column.type):
        return column
    return column.cast(pa.binary()).dictionary_encode()


def _joined(arrays: list[Any], kind: Any) -> Any:  # noqa: ANN401 - Arrow
    return pa.concat_arrays(arrays) if arrays else pa.array([], kind)


def _described(contexts: pa.Table) -> pa.Table:
    """Return the contexts with the numbers of their manners and labels."""
    at_gateway = pc.is_in(contexts["observer_type"], value_set=pa.array(AT_GATEWAY))
    digits = {name: coded(contexts[name]) for name in CONTEXT} | {"at_gateway": coded(at_gateway)}
    for name, columns in (("manner", MANNER), ("label", LABEL)):
        of = distinct([digits[column] for column in columns], len(contexts))
        contexts = contexts.append_column(name, of.numbers)
    return contexts


def _slots(
    moments: _Registry,
    tenants: pa.DictionaryArray,
    context: Any,  # noqa: ANN401 - Arrow
) -> tuple[Any, list[Slot], list[tuple[str, datetime]]]:
    """Return the slot of each row, all slots, and their hours."""
    number, instants = moments.taken("moment"), flat(moments.known["moment"])
    sizes = len(instants), len(tenants.dictionary)
    tenant = tenants.indices.take(context) if sizes[1] > 1 else same(0, len(context))
    found = distinct([*zip((number, tenant), sizes, strict=True)], len(number))
    slots, periods = list[Slot](), dict[tuple[str, datetime], int]()
    for at, who in zip(
        instants.take(number.take(found.firsts)).to_pylist(),
        tenants.take(context.take(found.firsts)).to_pylist(),
        strict=True,
    ):
        moment = _EPOCH + timedelta(microseconds=at)
        hour = moment.replace(minute=0, second=0, microsecond=0)
        period = periods.setdefault((who, hour), len(periods))
        slots.append(Slot(who, moment, period))
    return found.numbers, slots, list(periods)


def _firsts(table: pa.Table, name: str) -> pa.Table:
    """Return the first row of each number in a column, in the order of the numbers."""
    numbers = flat(table[name])
    rows = table.take(distinct([coded(numbers)], len(numbers)).firsts)
    return rows.take(pc.array_sort_indices(flat(rows[name])))
