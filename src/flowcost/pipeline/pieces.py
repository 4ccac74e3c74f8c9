"""Flows in pieces that fit in memory, their texts and addresses as dictionaries where they are.

Only the columns that attribution reads; the partials of flow logs are read as they are stored, so
that no text is made for any row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flowcost.arrays import flat
from flowcost.clock import HOUR
from flowcost.errors import FlowcostError
from flowcost.pipeline.codes import where
from flowcost.schema import FLOWS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# What tells one kind of flow from another.
CONTEXT = (
    "tenant",
    "cluster",
    "observer_type",
    "account",
    "region",
    "az_id",
    "vpc_id",
    "subnet_id",
    "direction",
    "dialed_address",
    "initiator",
    "via",
    "local_uid",
    "dns_name",
    "traffic_path",
    "next_hop_type",
    "next_hop_az_id",
    "source",
)
COLUMNS = ("window_start", "local_address", "remote_address", "bytes", "packets", *CONTEXT)
ROWS = 1 << 17  # of a relation, fetched at once
_SUMMED = ("window_start", "local_address", "remote_address", "bytes", "packets")
_NAMES = ", ".join(CONTEXT)
# Contexts are told apart by a 64-bit hash of their columns, which is faster than eighteen texts; a
# second, independent hash proves that no two of them share one. A flow's own start matters only
# where an identity changes inside its hour.
SUM = f"""
CREATE OR REPLACE TEMP TABLE summed_flows AS
SELECT CASE WHEN local_address IN (FROM changing) OR remote_address IN (FROM changing)
            OR date_trunc('hour', window_start) IN (FROM changing_hours) THEN window_start
            ELSE date_trunc('hour', window_start) END AS window_start,
       local_address, remote_address, hash({_NAMES}) AS context,
       sum(bytes)::BIGINT AS bytes, sum(packets)::BIGINT AS packets
FROM {{0}} GROUP BY ALL
"""
KINDS = f"""
SELECT hash({_NAMES}) AS context, {", ".join(f"any_value({name}) AS {name}" for name in CONTEXT)},
       min(hash('check', {_NAMES})) <> max(hash('check', {_NAMES})) AS collided
FROM {{0}} GROUP BY 1
"""
_WORDS = [c.name for c in FLOWS if c.name in COLUMNS and c.type in ("text", "address")]
HOUR_US = 3_600_000_000


def related(con: DuckDBPyConnection, relation: str) -> Iterator[pa.Table]:
    """Yield the rows of an SQL relation with the columns of `schema.FLOWS`, those alike summed.

    `con` has the tables of a `World`.

    Raises:
        FlowcostError: two contexts share a hash (one chance in 2**64 per pair).
    """
    con.execute(SUM.format(relation))
    contexts = con.sql(KINDS.format(relation)).to_arrow_table().combine_chunks()
    if pc.any(contexts["collided"], min_count=0).as_py():
        raise FlowcostError(
            "two different kinds of flow share a hash", hint="run the hours one by one"
        )
    known = {name: _coded(contexts[name]) for name in CONTEXT}
    for batch in con.sql("FROM summed_flows").to_arrow_reader(ROWS):
        if batch.num_rows:
            of = pc.index_in(batch["context"], value_set=flat(contexts["context"]))
            words = {
                name: pa.DictionaryArray.from_arrays(column.indices.take(of), column.dictionary)
                for name, column in known.items()
            }
            yield pa.table({**{name: batch[name] for name in _SUMMED}, **words})
    con.execute("DROP TABLE summed_flows")


def _coded(column: Any) -> pa.DictionaryArray:  # noqa: ANN401 - Arrow
    return flat(column).dictionary_encode()


def partials(
    live: Mapping[Path, Collection[int] | None], hours: Collection[datetime]
) -> Iterator[pa.Table]:
    """Yield the flows of partials in some UTC hours.

    `live` says which parts of a partial count; None: all of them.
    """
    wanted = frozenset(int(hour.timestamp()) * 1_000_000 // HOUR_US for hour in hours)
    for path, parts in live.items():
        with pq.ParquetFile(path, read_dictionary=_WORDS) as file:
            for group in range(file.num_row_groups):
                if not _may_hold(file.metadata.row_group(group), hours):
                    continue
                columns = [*COLUMNS, *(() if parts is None else ("part",))]
                table = file.read_row_group(group, columns=columns)
                table = _kept(table, parts, wanted)
                if len(table):
                    yield table


def hour_of(instants: pa.Array) -> pa.Array:
    """Return the UTC hour of each instant, as hours since 1970."""
    return pc.divide(instants.cast(pa.timestamp("us")).cast(pa.int64()), HOUR_US)


def _kept(table: pa.Table, parts: Collection[int] | None, wanted: Collection[int]) -> pa.Table:
    hours = hour_of(flat(table["window_start"]))
    table = where(pc.is_in(hours, value_set=pa.array(sorted(wanted), pa.int64())), table)
    if parts is None:
        return table
    kept = pc.is_in(table["part"], value_set=pa.array(sorted(parts), table["part"].type))
    return table.filter(kept)


def _may_hold(group: pq.RowGroupMetaData, hours: Collection[datetime]) -> bool:
    """Return whether a row group may have flows of some hours, by its statistics."""
    places = (group.column(number) for number in range(group.num_columns))
    statistics = next(c.statistics for c in places if c.path_in_schema == "window_start")
    if statistics is None or not statistics.has_min_max:
        return True
    first, last = (edge.replace(tzinfo=UTC) for edge in (statistics.min, statistics.max))
    return any(first < hour + HOUR and last >= hour for hour in hours)
