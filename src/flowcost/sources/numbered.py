"""Columns as read become integers, and the texts they stand for are listed once.

The rows of several files of one layout become one piece: what is done once per piece, and not per
row, is then done once for many small files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flowcost.sources.raw import PART, WHOLE, Piece, Rows

if TYPE_CHECKING:
    import pyarrow as pa

_ENDS = ("source", "destination", "packet_source", "packet_destination")

# Beyond these a time or a size is no such thing, and arithmetic on it may not fit 64 bits.
_LEAST, _MOST = 0, 1 << 62
_COUNTED = ("start", "end", "bytes")


def piece(given: Sequence[tuple[int, Rows]]) -> Piece:
    """Return the rows of several files as one piece; each comes with the position of its file."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    record = given[0][1].record
    ends = {getattr(record.mapping, end) for end in _ENDS}
    names = given[0][1].table.column_names
    columns: dict[str, Any] = {}
    coded: dict[str, tuple[Any, Any]] = {}
    for name in names:
        chunks = [rows.table[name] for _, rows in given]
        if name == WHOLE:
            flat = [chunk for each in chunks for chunk in each.chunks]
            whole = pa.chunked_array(flat, pa.bool_())
            if not _all(whole):
                columns[name] = whole
        elif name in record.integers:
            columns[name] = _bounded(name, [_integer(chunk) for chunk in chunks])
        else:
            coded[name] = _dictionary(chunks, damaged=WHOLE in names and name in ends)
    words = _shared_ends(coded, ends)
    columns |= {name: indices for name, (indices, _) in coded.items()}
    columns[PART] = _parts(given)
    order = [*(name for name in names if name in columns), PART]
    return Piece(
        table=pa.table({name: columns[name] for name in order}),
        record=record,
        columns=frozenset(names) - {WHOLE},
        words=words,
    )


def _shared_ends(coded: dict[str, tuple[Any, Any]], ends: set[str]) -> dict[str, tuple[str, ...]]:
    """Return the words of each text field; all ends are renumbered into one list."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    here = [name for name in coded if name in ends]
    lists = [pa.array([""]), *(coded[name][1] for name in here)]
    shared = pa.concat_arrays(lists).dictionary_encode()
    together = tuple(shared.dictionary.to_pylist())
    start = 1
    for name in here:
        indices, texts = coded[name]
        coded[name] = shared.indices.slice(start, len(texts)).take(indices), texts
        start += len(texts)
    return {
        name: together if name in ends else tuple(texts.to_pylist())
        for name, (_, texts) in coded.items()
    }


def _dictionary(columns: Sequence[pa.ChunkedArray], *, damaged: bool) -> tuple[Any, Any]:
    """Return (numbers, texts) of a text column; null and `-` are the empty text.

    An empty text is a `damaged` one in a text file's address, and no missing one: a blank then,
    which is no address either.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    chunks = [
        chunk if pa.types.is_dictionary(column.type) else chunk.dictionary_encode()
        for column in (_texts(column) for column in columns)
        for chunk in column.chunks
    ]
    if not chunks:
        return pa.array([], pa.int32()), pa.array([""])
    kind = pa.dictionary(pa.int32(), pa.string())
    whole = pa.chunked_array([chunk.cast(kind) for chunk in chunks]).unify_dictionaries()
    texts = whole.chunk(0).dictionary
    indices = pa.chunked_array([chunk.indices for chunk in whole.chunks])
    if damaged:
        texts = pc.if_else(pc.equal(texts, ""), " ", texts)
    empty = pc.or_(pc.is_in(texts, pa.array(["", "-"])), pc.is_null(texts))
    if not indices.null_count and (pc.sum(empty).as_py() or 0) <= 1:
        return indices.combine_chunks(), pc.if_else(empty, "", texts)
    # Several spellings of what is missing: one number for all, behind the others.
    count = len(texts)
    moved = pc.if_else(empty, count, pa.array(range(count), pa.int32())).cast(pa.int32())
    texts = pa.concat_arrays([pc.if_else(empty, "-", texts), pa.array([""])])
    return moved.take(indices.combine_chunks()).fill_null(count), texts


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return column if pa.types.is_dictionary(column.type) else column.cast(pa.string())


def _integer(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return an integer column; what cannot be read as one is null, so the row is broken."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    kind = column.type
    if pa.types.is_timestamp(kind):
        return pa.chunked_array(
            [column.cast(pa.timestamp("us")).cast(pa.int64()).combine_chunks() // 1_000_000]
        )
    if pa.types.is_int32(kind):
        return column
    if pa.types.is_integer(kind):
        return column.cast(pa.int64(), safe=not pa.types.is_uint64(kind))
    if pa.types.is_floating(kind):
        whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), 2.0**53))
        return pc.if_else(whole, column, None).cast(pa.int64())
    text = column.cast(pa.string())
    digits = pc.match_substring_regex(text, r"^[0-9]{1,18}$")
    return pc.if_else(digits, text, None).cast(pa.int64())


def _bounded(name: str, columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Return one column, with null for times and sizes that no record can have."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    narrow = all(each.type == pa.int32() for each in columns)
    kind = pa.int32() if narrow and name not in _COUNTED else pa.int64()
    column = pa.chunked_array([chunk for each in columns for chunk in each.cast(kind).chunks], kind)
    if name not in _COUNTED:
        return column
    span = pc.min_max(column).as_py()
    if span["min"] is None or (span["min"] >= _LEAST and span["max"] < _MOST):
        return column
    fits = pc.and_(pc.greater_equal(column, _LEAST), pc.less(column, _MOST))
    return pc.if_else(fits, column, None)


def _parts(given: Sequence[tuple[int, Rows]]) -> pa.ChunkedArray:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return pa.chunked_array(
        [
            pa.repeat(pa.scalar(part, pa.int32()), len(rows.table))
            for part, rows in given
            if len(rows.table)
        ],
        pa.int32(),
    )


def _all(column: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    return bool(pc.all(column, skip_nulls=False, min_count=0).as_py())
