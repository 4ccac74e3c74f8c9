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

PIECE = 1 << 20  # rows read at once, in whole row groups


def rows(file: LogFile) -> Iterator[Rows]:
    """Yield the rows of a Parquet file, some row groups at a time.

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
            for groups in _batches(metadata):
                table = opened.read_row_groups(
                    groups, columns=list(wanted.values()), use_threads=False
                )
                _check(table, texts)
                named = table.select(list(wanted.values())).rename_columns(list(wanted))
                yield Rows(table=named, record=record, unknown=unknown)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{file.name}: not a readable Parquet file ({error})",
            hint="the file is damaged or incomplete; fetch it again",
        ) from None


def _check(table: pa.Table, texts: Sequence[str]) -> None:
    """Refuse a text column that refers to texts beyond its dictionary.

    Arrow takes the numbers of a damaged page as they are, and a number that is too large would be
    read as another field's word.

    Raises:
        ArrowInvalid: naming the column.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    for name in texts:
        for chunk in table[name].chunks:
            if not pa.types.is_dictionary(chunk.type) or not len(chunk):
                continue
            span = pc.min_max(chunk.indices).as_py()
            if span["min"] is not None and not 0 <= span["min"] <= span["max"] < len(
                chunk.dictionary
            ):
                raise pa.ArrowInvalid(f"column {name} refers to a text that is not there")


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
