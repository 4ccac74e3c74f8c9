"""Parquet flow logs: names with underscores or hyphens, `-` or null, any integer width.

Text columns are taken as the numbers their dictionary pages hold; only a file's distinct texts
are ever seen as texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flowcost.errors import SourceError
from flowcost.sources.discover import LogFile
from flowcost.sources.raw import Piece, bounded
from flowcost.sources.record import Mapping, Record, canonical, check_unique
from flowcost.sources.text import record_of

if TYPE_CHECKING:
    import pyarrow as pa

PIECE = 1 << 20  # rows read at once, in whole row groups

_NUMBERS = ("bytes", "packets", "start", "end", "protocol", "srcport", "dstport")
_ENDS = ("source", "destination", "packet_source", "packet_destination")


def pieces(file: LogFile) -> Iterator[Piece]:
    """Yield the raw rows of a Parquet file, some row groups at a time.

    Raises:
        SourceError: not a Parquet file, or not one of flow records.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

    try:
        with pq.ParquetFile(file.path) as opened:
            names = opened.schema_arrow.names
        stored = {canonical(name): name for name in names}
        check_unique([canonical(name) for name in names], file.name)
        record = record_of(stored, file.name)
        wanted = {name: stored[name] for name in wanted_fields(record) if name in stored}
        texts = [stored[name] for name in wanted if name not in record.integers]
        with pq.ParquetFile(file.path, read_dictionary=texts) as opened:
            for groups in _batches(opened.metadata):
                table = opened.read_row_groups(
                    groups, columns=list(wanted.values()), use_threads=False
                ).rename_columns(list(wanted))
                columns, words = _numbered(table, record)
                yield Piece(
                    table=bounded(columns),
                    record=record,
                    columns=frozenset(wanted),
                    unknown=tuple(sorted(set(stored) - record.names)),
                    words=words,
                )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{file.name}: not a readable Parquet file ({error})",
            hint="the file is damaged or incomplete; fetch it again",
        ) from None


def wanted_fields(record: Record) -> list[str]:
    """Return the fields of a record that flows are made of, in the record's order."""
    mapping = record.mapping
    fields = {getattr(mapping, name) for name in Mapping.__dataclass_fields__}
    fields |= {*_NUMBERS, "log-status"}
    return [field.name for field in record.fields if field.name in fields]


def _batches(metadata: Any) -> Iterator[list[int]]:  # noqa: ANN401 - Parquet metadata
    groups: list[int] = []
    rows = 0
    for group in range(metadata.num_row_groups):
        groups.append(group)
        rows += metadata.row_group(group).num_rows
        if rows >= PIECE:
            yield groups
            groups, rows = [], 0
    if groups:
        yield groups


def _numbered(table: pa.Table, record: Record) -> tuple[pa.Table, dict[str, tuple[str, ...]]]:
    """Return the columns as integers, and the texts that the numbers of each text field mean."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    columns: dict[str, Any] = {}
    words: dict[str, tuple[str, ...]] = {}
    coded: dict[str, tuple[Any, list[str]]] = {}
    for name in table.column_names:
        column = table[name]
        if name in record.integers:
            columns[name] = _integer(column)
        else:
            coded[name] = _dictionary(column)
    ends = [getattr(record.mapping, end) for end in _ENDS]
    shared = dict.fromkeys([""])
    for name in ends:
        shared.update(dict.fromkeys(coded[name][1] if name in coded else ()))
    position = {text: number for number, text in enumerate(shared)}
    for name, (indices, texts) in coded.items():
        if name in ends:
            moved = pa.array([position[text] for text in texts], pa.int32())
            columns[name] = moved.take(indices)
            words[name] = tuple(shared)
        else:
            columns[name] = indices
            words[name] = tuple(texts)
    return pa.table({name: columns[name] for name in table.column_names}), words


def _dictionary(column: pa.ChunkedArray) -> tuple[Any, list[str]]:
    """Return (numbers, texts) of a text column; null and `-` are the empty text."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    whole = column.unify_dictionaries().combine_chunks()
    if isinstance(whole, pa.ChunkedArray):  # no rows at all
        return pa.array([], pa.int32()), [""]
    texts = ["" if text in (None, "-") else text for text in whole.dictionary.to_pylist()]
    indices = whole.indices.cast(pa.int32())
    if indices.null_count:
        texts.append("")
        indices = indices.fill_null(len(texts) - 1)
    return indices, texts


def _integer(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return an integer column; what cannot be read as one is null, so the row is broken."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    kind = column.type
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us")).cast(pa.int64()).combine_chunks() // 1_000_000
    if pa.types.is_integer(kind):
        return column.cast(pa.int64(), safe=not pa.types.is_uint64(kind))
    if pa.types.is_floating(kind):
        whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), 2.0**53))
        return pc.if_else(whole, column, None).cast(pa.int64())
    text = column.cast(pa.string())
    digits = pc.match_substring_regex(text, r"^[0-9]{1,18}$")
    return pc.if_else(digits, text, None).cast(pa.int64())
