"""Files of a partition: written durably, named by their content, charges summed on the way."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcost.ledger.encode import Rows, encode
from flowcost.ledger.partition import STORED, DataFile, Totals

if TYPE_CHECKING:
    import pyarrow as pa


class Sums:
    """Exact sums of charges, row group by row group."""

    def __init__(self) -> None:
        self._bytes = self._unpriced = self._cost = 0

    def add(self, charges: pa.Table) -> None:
        """Count some rows."""
        import pyarrow.compute as pc  # noqa: PLC0415 - heavy

        self._bytes += _sum(charges["bytes"])
        self._cost += _sum(charges["list_cost"])
        unpriced = pc.is_null(charges["list_cost"])
        if pc.any(unpriced, min_count=0).as_py():
            rows = charges.select(["quantity", "unit"]).filter(unpriced)
            in_bytes = pc.equal(rows["unit"].cast("string"), "bytes")
            self._unpriced += _sum(rows["quantity"].filter(in_bytes))

    @property
    def totals(self) -> Totals:
        """Return the sums so far."""
        return Totals(bytes=self._bytes, unpriced_bytes=self._unpriced, list_cost=str(self._cost))


def _sum(column: Any) -> int:  # noqa: ANN401 - Arrow
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415

    wide = (
        column.cast(pa.decimal128(38, 0))
        if pa.types.is_decimal(column.type)
        else column.cast(pa.decimal128(19, 0)).cast(pa.decimal128(38, 0))
    )
    return int(pc.sum(wide).as_py() or 0)


def write(folder: Path, table: str, given: pa.Table | Rows, sums: Sums) -> DataFile:
    """Write a table of a partition, durably; charges are counted in `sums` on the way."""
    seen = sums.add if table == "charges" else _unseen
    draft = folder / f".{table}.{os.getpid()}.tmp"
    with draft.open("w+b") as handle:
        encode(given, STORED[table], handle, seen=seen)
        handle.flush()
        os.fsync(handle.fileno())
        size = handle.tell()
        handle.seek(0)
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    final = folder / f"{table}-{digest[:16]}.parquet"
    draft.replace(final)
    return DataFile(name=final.name, sha256=digest, rows=len(given), size=size)


def _unseen(rows: pa.Table) -> None:
    """Count nothing: only charges are summed."""
