"""Parquet parts and their receipts: merged, joined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from flowcost import durable

BATCH = 1 << 17  # rows in memory while parts are joined end to end


class Part(Struct, frozen=True, kw_only=True):
    """One file of an hour; `level` counts the merges behind it."""

    kind: str
    name: str
    level: int
    rows: int


def combined(paths: Sequence[Path], out: Path, schema: pa.Schema, *, level: int) -> Part:
    """Write the rows of several files into one, in bounded memory, durably."""
    rows = 0
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for path in paths:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(BATCH):
                    writer.write_batch(batch.cast(schema))
                    rows += batch.num_rows
    durable.sync(out)
    return Part(kind=out.name.partition("-")[0], name=out.name, level=level, rows=rows)


def join_runs(
    runs: Iterable[tuple[int, int]], sequences: Iterable[int]
) -> tuple[tuple[int, int], ...]:
    """Return sorted runs (both ends included) that cover `runs` and `sequences`."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted([*runs, *((one, one) for one in sequences)]):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)
