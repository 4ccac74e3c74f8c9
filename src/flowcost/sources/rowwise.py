"""What each raw row is, its ends, and its small facts as one number: column by column, in Arrow.

What the piece's own spans prove is not computed row by row. Rows are taken in stretches that stay
in the processor's cache, so a dozen passes over them cost less than one row-by-row expression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowcost.sources.code import CODE, EPHEMERAL, FLOW, LARGEST, REJECT, SYSTEM
from flowcost.sources.kinds import Kinds
from flowcost.sources.raw import PART, Piece

if TYPE_CHECKING:
    import pyarrow as pa

# Parts of a flow that are constant for an interface, or nearly; see `record.Mapping`.
CONTEXT = (
    "observer", "direction", "source_service", "destination_service", "device", "device_type",
    "next_hop_type", "next_hop_az", "account", "region", "az", "vpc", "subnet", "instance",
)  # fmt: skip
HOUR = 3600
STRETCH = 1 << 16  # rows
_ENDS = ("source", "destination")
_MOST = 1 << 62
# Hours since the piece's first, above the bits of `code`.
HOUR_BIT = sum(CODE["part"])
_MOST_HOURS = 1 << (62 - HOUR_BIT)

Row = dict[str, Any]  # one Arrow array per column of a stretch


class Rowwise:
    """The keys of one piece's rows.

    Attributes:
        packed: context columns: (name, [(part, size)]) in mixed radix.
        ends: how many numbers an address can have; `pair` is source times that plus destination.
        first: the hour (Unix hours) that the hours in `code` count from.
        near: `code` holds the hours, else they have a column of their own.
    """

    def __init__(self, piece: Piece, *, ports: bool) -> None:
        self.piece, self.ports = piece, ports
        mapping = piece.record.mapping
        self.fields = {part: getattr(mapping, part) for part in CONTEXT}
        self.present = [part for part in CONTEXT if piece.has(self.fields[part])]
        self.packed = self._pack()
        self.ends = len(piece.words.get(mapping.source, ("",)))
        limits = [("packets", LARGEST), ("srcport", 65_535), ("dstport", 65_535),
                  ("protocol", 255), (mapping.traffic_path, 255)]  # fmt: skip
        self._limits = [(name, most) for name, most in limits if piece.has(name)]
        # Every number of the piece is in its range, so that `code` needs no row's own check.
        self._clean = all(
            least >= 0 and highest <= most
            for name, most in self._limits
            for least, highest, _ in [piece.spans[name]]
        )
        start = piece.spans.get("start", (0, 0, True))
        self.first, last = start[0] // HOUR, start[1] // HOUR
        self.near = last - self.first + 2 < _MOST_HOURS
        self._one_hour = self.first == last
        self._kinds = Kinds(piece, self._limits)

    def _pack(self) -> list[tuple[str, list[tuple[str, int]]]]:
        columns: list[tuple[str, list[tuple[str, int]]]] = []
        product = _MOST
        for part in self.present:
            size = len(self.piece.words[self.fields[part]])
            if size <= 1:  # 0: nothing of the file could be decoded
                continue
            if product * size >= _MOST:
                columns.append((f"context_{len(columns)}", []))
                product = 1
            product *= size
            columns[-1][1].append((part, size))
        return columns

    def keyed(self) -> pa.Table:
        """Return the piece with its keys: pair, code, the context columns, hour (if not near).

        Rows of flows that cross an hour have `crosses`; the column is missing if none does.
        """
        import pyarrow as pa  # noqa: PLC0415 - heavy
        import pyarrow.compute as pc  # noqa: PLC0415 - heavy

        table = self.piece.table
        found: dict[str, list[pa.Array]] = {}
        for batch in table.to_batches(max_chunksize=STRETCH):
            row = dict(zip(batch.schema.names, batch.columns, strict=True))
            for name, column in self._keys(row).items():
                found.setdefault(name, []).append(column)
        if not any(pc.any(crosses).as_py() for crosses in found.get("crosses", ())):
            found.pop("crosses", None)
        names = ["pair", "code", *(name for name, _ in self.packed)]
        for name in found or names:
            chunks = found.get(name, [pa.array([], pa.int64())])
            table = table.append_column(name, pa.chunked_array(chunks))
        return table

    def _keys(self, row: Row) -> Row:
        import pyarrow as pa  # noqa: PLC0415 - heavy
        import pyarrow.compute as pc  # noqa: PLC0415 - heavy

        size = len(row[PART])
        kind = self._kinds.of(row)
        ends = [self._end(row, end) for end in _ENDS] if self.ends_known else []
        code = self._facts(row, kind, ends)
        keys: Row = {"pair": pa.repeat(pa.scalar(0, pa.int64()), size)}
        if ends:
            keys["pair"] = pc.add(pc.multiply(ends[0], _wide(self.ends)), ends[1])
        for name, parts in self.packed:
            radix, total = 1, None
            for part, width in parts:
                digit = pc.multiply(row[self.fields[part]], _wide(radix))
                total = digit if total is None else pc.add(total, digit)
                radix *= width
            keys[name] = total
        begins = _wide(self.first * HOUR)
        if self.piece.bookable and not (self.near and self._one_hour):
            hour = self._hours(row)
            begins = pc.add(pc.multiply(hour, HOUR), begins) if self.near else pc.multiply(
                hour, HOUR)  # fmt: skip
            if self.near:
                code = pc.add(code, pc.shift_left(hour, _wide(HOUR_BIT)))
            else:
                keys["hour"] = hour
        keys["code"] = code
        if self.piece.bookable and self._may_cross():
            late = pc.greater(pc.subtract(row["end"], begins), HOUR).fill_null(fill_value=False)
            keys["crosses"] = pc.and_(late, pc.equal(kind, FLOW))
        return keys

    def _hours(self, row: Row) -> Any:  # noqa: ANN401 - Arrow array
        """Return the hours since the first, or the Unix hours where those are many."""
        import pyarrow as pa  # noqa: PLC0415 - heavy
        import pyarrow.compute as pc  # noqa: PLC0415 - heavy

        start = row["start"].fill_null(self.first * HOUR)
        if not self.near:
            return pc.divide(start, HOUR)
        since = pc.subtract(start, self.first * HOUR).cast(pa.int32())
        return pc.divide(since, pa.scalar(HOUR, pa.int32())).cast(pa.int64())

    def _may_cross(self) -> bool:
        _, last, nulls = self.piece.spans["end"]
        return nulls or self.first != (last - 1) // HOUR

    @property
    def ends_known(self) -> bool:
        """Return whether the rows have both addresses."""
        mapping = self.piece.record.mapping
        return {mapping.source, mapping.destination} <= self.piece.columns

    def _end(self, row: Row, end: str) -> Any:  # noqa: ANN401 - Arrow array
        """Return the address in the packet, or the logged one where the row has no other."""
        import pyarrow.compute as pc  # noqa: PLC0415 - heavy

        mapping = self.piece.record.mapping
        logged, packet = getattr(mapping, end), getattr(mapping, f"packet_{end}")
        if not self.piece.has(packet):
            return row[logged]
        return pc.if_else(pc.equal(row[packet], 0), row[logged], row[packet])

    def _facts(self, row: Row, kind: Any, ends: list[Any]) -> Any:  # noqa: ANN401 - Arrow arrays
        """Return the small facts of each row as one number; of a broken one only its file."""
        import pyarrow.compute as pc  # noqa: PLC0415 - heavy

        total = kind
        for name, column in self._small(row, ends):
            total = pc.add(total, pc.multiply(column, _wide(1 << CODE[name][0])))
        if not self._clean:
            counts = pc.or_(pc.equal(kind, FLOW), pc.equal(kind, REJECT))
            total = pc.if_else(counts, total, kind)
        return pc.add(total, pc.multiply(row[PART], _wide(1 << CODE["part"][0])))

    def _small(self, row: Row, ends: list[Any]) -> list[tuple[str, Any]]:
        import pyarrow as pa  # noqa: PLC0415 - heavy
        import pyarrow.compute as pc  # noqa: PLC0415 - heavy

        piece, mapping = self.piece, self.piece.record.mapping
        found = []
        if piece.packet_ends and ends:
            logged = [row[getattr(mapping, end)] for end in _ENDS]
            moved = [
                pc.not_equal(one, end).cast(pa.int8())
                for one, end in zip(logged, ends, strict=True)
            ]
            found.append(("translated", pc.add(moved[0], pc.multiply(moved[1], _tiny(2)))))
        for name, field in (("protocol", "protocol"), ("path", mapping.traffic_path)):
            if piece.has(field):
                found.append((name, row[field].fill_null(0)))
        if self.ports and {"srcport", "dstport"} <= piece.columns:
            found.append(("port", _port(row["srcport"], row["dstport"])))
        return found


def _port(source: Any, destination: Any) -> Any:  # noqa: ANN401 - Arrow arrays
    """Return the service's port times two, plus one where it is the source's; 0 if none serves."""
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    low, low_far = pc.less(source, EPHEMERAL), pc.less(destination, EPHEMERAL)
    system, system_far = pc.less(source, SYSTEM), pc.less(destination, SYSTEM)
    serves = pc.or_(pc.and_not(low, low_far), pc.and_not(system, system_far)).fill_null(
        fill_value=False
    )
    asks = pc.or_(pc.and_not(low_far, low), pc.and_not(system_far, system)).fill_null(
        fill_value=False
    )
    port = pc.if_else(serves, pc.add(pc.multiply(source, 2), 1), 0)
    return pc.if_else(pc.and_not(asks, serves), pc.multiply(destination, 2), port)


def _wide(value: int) -> Any:  # noqa: ANN401 - Arrow scalar
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return pa.scalar(value, pa.int64())


def _tiny(value: int) -> Any:  # noqa: ANN401 - Arrow scalar
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return pa.scalar(value, pa.int8())
