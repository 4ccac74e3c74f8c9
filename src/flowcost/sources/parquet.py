"""Parquet flow logs: names with underscores or hyphens, `-` or null, any integer width.

Text columns are taken as the dictionary pages hold them; only a file's distinct texts are ever seen
as texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flowcost.errors import SourceError
from flowcost.sources.discover import LogFile
from flowcost.sources.raw import Rows
from flowcost.sources.record import canonical, check_unique
from flowcost.sources.text import record_of

if TYPE_CHECKING:
    import pyarrow as pa


def rows(file: LogFile, most: int) -> Iterator[Rows]:
    """Yield the rows of a Parquet file, up to `most` at a time.

    A text column that the statistics prove to hold one text is not decoded.

    Raises:
        SourceError: not a Parquet file, or not one of flow records.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

    try:
        metadata = pq.read_metadata(file.path)
        names = metadata.schema.to_arrow_schema().names
        stored = {canonical(name): name for name in names}
        check_unique([canonical(name) for name in names], file.name)
        record = record_of(stored, file.name)
        wanted = {name: stored[name] for name in record.used if name in stored}
        texts = [stored[name] for name in wanted if name not in record.integers]
        unknown = tuple(sorted(set(stored) - record.names))
        with pq.ParquetFile(
            file.path, metadata=metadata, read_dictionary=texts, memory_map=True
        ) as opened:
            same = _constants(metadata, texts)
            read = [name for name in wanted.values() if name not in same]
            if not read:  # what has no column has no rows either
                same, read = {}, texts
            for batch in opened.iter_batches(most, columns=read, use_threads=False):
                _check(batch, [name for name in texts if name not in same])
                zeros = pa.repeat(pa.scalar(0, pa.int32()), len(batch))
                table = pa.table({
                    name: pa.DictionaryArray.from_arrays(zeros, pa.array([same[column]]))
                    if column in same
                    else batch[column]
                    for name, column in wanted.items()
                })  # fmt: skip
                yield Rows(table=table, record=record, unknown=unknown)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{file.name}: not a readable Parquet file ({error})",
            hint="the file is damaged or incomplete; fetch it again",
        ) from None


def _check(batch: pa.RecordBatch, texts: Sequence[str]) -> None:
    """Refuse a text column that refers to texts beyond its dictionary.

    Arrow takes the numbers of a damaged page as they are, and a number that is too large would be
    read as another field's word.

    Raises:
        ArrowInvalid: naming the column.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    for name in texts:
        column = batch[name]
        if not pa.types.is_dictionary(column.type) or not len(column):
            continue
        span = pc.min_max(column.indices).as_py()
        if span["min"] is not None and not 0 <= span["min"] <= span["max"] < len(column.dictionary):
            raise pa.ArrowInvalid(f"column {name} refers to a text that is not there")


def _constants(metadata: Any, texts: Sequence[str]) -> dict[str, str]:  # noqa: ANN401 - metadata
    """Return the one text of each column that has no other, by its statistics.

    A bound may be cut short, but then the lower one is less and the upper one more than any text,
    so that they differ.
    """
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    found: dict[str, str] = {}
    for number in range(metadata.num_columns):
        name = metadata.schema.column(number).name
        bounds = {_bounds(group.column(number).statistics) for group in groups if name in texts}
        for low, high in bounds:
            if len(bounds) == 1 and low == high and isinstance(low, str):
                found[name] = low
    return found


def _bounds(statistics: Any) -> tuple[object, object]:  # noqa: ANN401 - Parquet statistics
    """Return the least and the greatest value of a column chunk that lacks none, else nothing."""
    if statistics is None or not statistics.has_min_max or not statistics.has_null_count:
        return None, None
    return (None, None) if statistics.null_count else (statistics.min, statistics.max)
