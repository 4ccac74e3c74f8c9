"""Flows as files: the partial aggregate of a log file, or of several small ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flowcost.schema import FLOWS
from flowcost.sources.emit import PART

if TYPE_CHECKING:
    import pyarrow as pa

_DICTIONARIES = [column.name for column in FLOWS if column.type in ("text", "address")] + [PART]


def write(table: pa.Table, out: Path) -> None:
    """Write flows to `out`, which is there as a whole or not at all."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

    partly = out.with_name(out.name + ".partly")
    pq.write_table(
        table,
        partly,
        compression="zstd",
        compression_level=1,
        write_statistics=["window_start"],
        use_dictionary=_DICTIONARIES,
        store_schema=False,
    )
    partly.replace(out)


def hours(table: pa.Table, parts: int) -> list[dict[int, int]]:
    """Return how many flows each file has in which UTC hour (Unix seconds)."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    instants = pc.floor_temporal(table["window_start"], unit="hour").cast(pa.timestamp("s"))
    found: list[dict[int, int]] = [{} for _ in range(parts)]
    both = pc.add(pc.multiply(instants.cast(pa.int64()), parts), table[PART].cast(pa.int64()))
    for pair in pc.value_counts(both).to_pylist():
        hour, part = divmod(pair["values"], parts)
        found[part][hour] = pair["counts"]
    return [dict(sorted(held.items())) for held in found]
