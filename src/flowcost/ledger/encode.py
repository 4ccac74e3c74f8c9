"""Rows become the bytes of a Parquet file: the same rows, in whatever order, the same bytes.

Texts are written as numbers into a sorted list of the texts that occur in a row group, so equal
content has equal bytes. Rows are made when their row group is written (`Rows`), so that an hour of
charges is never whole in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Any, Protocol

from flowcost.arrays import flat
from flowcost.ledger.order import TEXTS, order
from flowcost.schema import Column

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 122_880  # rows; what DuckDB hands to one thread
# Beside texts, what few values share; a dictionary of other numbers would be built in vain.
_REPEATED = ("rate_id", "verdict_id")


class Rows(Protocol):
    """Rows that are made piece by piece, in the order of `order`."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def piece(self, start: int, size: int) -> pa.Table:
        """Return some of them; texts may come as dictionaries that columns share positions of."""
        ...


class Whole:
    """Rows of a table."""

    def __init__(self, given: pa.Table, columns: Sequence[Column]) -> None:
        self._given = given.combine_chunks()
        self._order = order(given, columns) if len(given) > 1 else None

    def __len__(self) -> int:
        return len(self._given)

    def piece(self, start: int, size: int) -> pa.Table:
        """Return rows in their order."""
        if self._order is None:
            return self._given
        return self._given.take(self._order.slice(start, size))


def encode(
    given: pa.Table | Rows,
    columns: Sequence[Column],
    sink: IO[bytes],
    *,
    seen: Callable[[pa.Table], None] = lambda _: None,
) -> None:
    """Write a Parquet file of `given`; `seen` is shown the rows of each row group.

    Columns are taken by name and cast to their schema type; texts may come as dictionaries.

    Raises:
        pyarrow.ArrowInvalid: a value does not fit its schema type.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.parquet as pq  # noqa: PLC0415

    rows = Whole(given, columns) if isinstance(given, pa.Table) else given
    schema = pa.schema([(column.name, _arrow(column.type)) for column in columns])
    with pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=[c.name for c in columns if c.type in TEXTS or c.name in _REPEATED],
        write_statistics=False,
        store_schema=False,
    ) as writer:
        for start in range(0, max(len(rows), 1), ROW_GROUP):
            part = rows.piece(start, min(ROW_GROUP, len(rows) - start))
            seen(part)
            writer.write_table(_typed(part, columns, schema), row_group_size=ROW_GROUP)


def _arrow(kind: str) -> pa.DataType:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return {
        "int": pa.int64(),
        "exact": pa.decimal128(38, 0),
        "text": pa.dictionary(pa.int32(), pa.string()),
        "address": pa.dictionary(pa.int32(), pa.binary()),
        "instant": pa.timestamp("us"),
        "day": pa.date32(),
        "list": pa.list_(pa.string()),
    }[kind]


def _typed(part: pa.Table, columns: Sequence[Column], schema: pa.Schema) -> pa.Table:
    shared = _Shared()
    made = []
    for column, field in zip(columns, schema, strict=True):
        given = flat(part[column.name])  # as it is: shared positions are seen to be
        made.append(shared.coded(given, field.type) if column.type in TEXTS
                    else _dense(given).cast(field.type))  # fmt: skip
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return pa.Table.from_arrays(made, schema=schema)


def _dense(column: Any) -> Any:  # noqa: ANN401 - Arrow
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


class _Shared:
    """Dictionaries that refer to their words by the same positions are coded together."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int], tuple[Any, Any, Any]] = {}

    def coded(self, column: Any, kind: Any) -> pa.DictionaryArray:  # noqa: ANN401 - Arrow
        """Return a text column as numbers into the sorted words that occur; null stays null."""
        import pyarrow as pa  # noqa: PLC0415 - heavy
        import pyarrow.compute as pc  # noqa: PLC0415

        if not pa.types.is_dictionary(column.type):
            column = column.cast(kind.value_type).dictionary_encode()
        used, positions = self._used(column.indices)
        words = column.dictionary.take(used).cast(kind.value_type).dictionary_encode()
        ranked = pc.array_sort_indices(words.dictionary)
        place = pc.array_sort_indices(ranked).cast(pa.int32())
        if len(place) == 1 and not positions.null_count:
            numbers = pa.repeat(pa.scalar(0, pa.int32()), len(column))
        else:
            numbers = place.take(words.indices).take(positions)
        return pa.DictionaryArray.from_arrays(numbers, words.dictionary.take(ranked))

    def _used(self, indices: Any) -> tuple[Any, Any]:  # noqa: ANN401 - Arrow
        """Return the positions that occur, and which of them each row has."""
        bits = indices.buffers()
        at = (bits[1].address if bits[1] else 0, bits[0].address if bits[0] else 0, indices.offset)
        if at not in self._known:
            found = indices.dictionary_encode()
            # With the positions themselves: memory that was given back would be found again.
            self._known[at] = found.dictionary, found.indices, indices
        used, positions, _ = self._known[at]
        return used, positions
