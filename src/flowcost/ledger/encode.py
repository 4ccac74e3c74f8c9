"""Rows become the bytes of a Parquet file: the same rows, in whatever order, the same bytes.

Texts are written as numbers into a sorted list of the texts that occur, so equal content has equal
bytes, and rows are sorted by the numbers: comparing texts would cost more than the rest of the
write. Rows of one pair of ends lie together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flowcost.schema import Column

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

ROW_GROUP = 122_880  # rows; what DuckDB hands to one thread
_MOST = 1 << 62
_TEXTS = ("text", "address")
_MEASURES = ("bytes", "packets", "quantity", "list_cost")
# Beside texts, what few values share; a dictionary of other numbers would be built in vain.
_REPEATED = ("rate_id", "verdict_id")


def encode(con: DuckDBPyConnection, given: pa.Table, columns: Sequence[Column]) -> pa.Buffer:
    """Return a Parquet file of `given`.

    Columns are taken by name and cast to their schema type; texts may come as dictionaries.

    Raises:
        pyarrow.ArrowInvalid: a value does not fit its schema type.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

    chosen = {column.name: _typed(given[column.name], column.type) for column in columns}
    table = pa.table(chosen)
    if len(table) > 1:
        table = table.take(_order(con, chosen, columns))
    sink = pa.BufferOutputStream()
    repeated = [c.name for c in columns if c.type in _TEXTS or c.name in _REPEATED]
    pq.write_table(
        table,
        sink,
        row_group_size=ROW_GROUP,
        compression="zstd",
        compression_level=1,
        use_dictionary=repeated,
        write_statistics=False,
        store_schema=False,
    )
    return sink.getvalue()


def coded(indices: Any, words: Sequence[Any], kind: Any) -> pa.DictionaryArray:  # noqa: ANN401 - Arrow
    """Return a column by position in `words`, as numbers into the sorted words that occur.

    Args:
        indices: an integer array; null stays null.
        words: the values by position, of which some may be equal.
        kind: their Arrow type.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    used = indices.unique().drop_null().to_pylist()
    found = sorted({words[position] for position in used})
    number = {word: n for n, word in enumerate(found)}
    moved: list[int | None] = [None] * (max(used) + 1 if used else 0)
    for position in used:
        moved[position] = number[words[position]]
    return pa.DictionaryArray.from_arrays(
        pa.array(moved, pa.int32()).take(indices), pa.array(found, kind)
    )


def _typed(column: Any, kind: str) -> Any:  # noqa: ANN401 - Arrow arrays
    import pyarrow as pa  # noqa: PLC0415 - heavy

    wanted = {
        "int": pa.int64(),
        "exact": pa.decimal128(38, 0),
        "text": pa.string(),
        "address": pa.binary(),
        "instant": pa.timestamp("us"),
        "day": pa.date32(),
        "list": pa.list_(pa.string()),
    }[kind]
    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # no rows
        column = pa.array([], column.type)
    if kind not in _TEXTS:
        return column.cast(wanted)
    if not pa.types.is_dictionary(column.type):
        column = column.cast(wanted).dictionary_encode()
    words = column.dictionary.to_pylist()
    return coded(column.indices.cast(pa.int32()), words, wanted)


def _order(con: DuckDBPyConnection, chosen: dict[str, Any], columns: Sequence[Column]) -> Any:  # noqa: ANN401
    """Return the positions of the rows in their order: ids, then texts, then measures."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    ids = [c.name for c in columns if c.type == "int" and c.name not in _MEASURES]
    keys = [chosen[name] for name in ids]
    keys += _packed([chosen[c.name] for c in columns if c.type in _TEXTS])
    keys += [chosen[c.name] for c in columns if c.name in _MEASURES]
    if len(keys[0].unique()) == len(keys[0]):
        keys = keys[:1]
    names = [f"k{number}" for number in range(len(keys))]
    positions = pa.array(range(len(keys[0])), pa.int32())
    con.register("unordered", pa.table([*keys, positions], names=[*names, "position"]))
    try:
        query = f"SELECT position FROM unordered ORDER BY {', '.join(names)}"
        return con.sql(query).to_arrow_table()["position"]
    finally:
        con.unregister("unordered")


def _packed(columns: Sequence[Any]) -> list[Any]:
    """Return few integer columns that order rows as all the dictionaries together do."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    packed: list[Any] = []
    product = _MOST
    for column in columns:
        size = len(column.dictionary) + 1
        if size == 2 and not column.null_count:
            continue
        digit = pc.add(column.indices.fill_null(-1).cast(pa.int64()), 1)
        if product * size >= _MOST:
            packed.append(digit)
            product = size
        else:
            packed[-1] = pc.add(pc.multiply(packed[-1], size), digit)
            product *= size
    return packed
