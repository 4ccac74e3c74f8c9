"""Parquet flow logs: names with underscores or hyphens, `-` or null, any integer width.

Columns that hold one value in the whole file, by the file's own statistics, are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flowcost.errors import SourceError
from flowcost.sources.aggregate import Rows, literal, quoted
from flowcost.sources.discover import LogFile
from flowcost.sources.record import Record, canonical, check_unique
from flowcost.sources.text import record_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Writers may truncate long statistics; shorter ones are the values themselves.
_EXACT_STATISTIC = 31


def rows(con: DuckDBPyConnection, file: LogFile, log_format: tuple[str, ...]) -> Iterator[Rows]:  # noqa: ARG001
    """Yield the raw rows of a Parquet file as one relation.

    Raises:
        SourceError: not a Parquet file, or not one of flow records.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

    try:
        with pq.ParquetFile(file.path) as opened:
            schema, metadata = opened.schema_arrow, opened.metadata
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{file.name}: not a readable Parquet file ({error})") from None
    stored = {canonical(name): name for name in schema.names}
    check_unique([canonical(name) for name in schema.names], file.name)
    record = record_of(stored, file.name)
    known = [name for name in stored if name in record.names]
    columns = [
        f"{_typed(record, name, stored[name], schema.field(stored[name]).type)} AS {quoted(name)}"
        for name in known
    ]
    path = literal(str(file.path))
    yield Rows(
        relation=f"(SELECT {', '.join(columns)} FROM read_parquet({path}, binary_as_string = true))",
        record=record,
        columns=frozenset(known),
        constants=_constants(metadata, {stored[name]: name for name in known}, record),
        unknown=tuple(sorted(set(stored) - record.names)),
        dashes=True,
    )


def _typed(record: Record, name: str, stored: str, kind: Any) -> str:  # noqa: ANN401 - Arrow type
    """Return the column in the type its field has; what cannot be cast is null, so broken."""
    import pyarrow.types as types  # noqa: PLC0415 - heavy

    column = quoted(stored)
    if name in record.integers:
        if types.is_timestamp(kind):
            return f"epoch({column})::BIGINT"
        return column if types.is_signed_integer(kind) else f"TRY_CAST({column} AS BIGINT)"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind):
        return column
    return f"{column}::VARCHAR"


def _constants(metadata: Any, names: Mapping[str, str], record: Record) -> dict[str, str]:  # noqa: ANN401
    """Return the text columns that hold one value throughout, by canonical name."""
    found: dict[str, str] = {}
    excluded: set[str] = set(record.integers)
    for group in range(metadata.num_row_groups):
        for position in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(position)
            name = names.get(chunk.path_in_schema)
            if name is None or name in excluded:
                continue
            statistics = chunk.statistics if chunk.is_stats_set else None
            value = _single(statistics)
            if value is None or found.setdefault(name, value) != value:
                excluded.add(name)
                found.pop(name, None)
    return found


def _single(statistics: Any) -> str | None:  # noqa: ANN401
    if (
        statistics is None
        or not statistics.has_min_max
        or not statistics.has_null_count
        or statistics.null_count
        or statistics.min != statistics.max
        or not isinstance(statistics.min, str)
        or len(statistics.min) > _EXACT_STATISTIC
    ):
        return None
    return statistics.min
