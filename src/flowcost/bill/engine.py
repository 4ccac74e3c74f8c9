"""The engine of a reconciliation: bounded in memory, spilling to disk beyond."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY = "2GiB"


@contextmanager
def engine(memory: str = MEMORY) -> Iterator[DuckDBPyConnection]:
    """Open an engine that spills to disk beyond `memory`, so that no bill is too large."""
    import duckdb  # noqa: PLC0415 - 60 ms that `--help` does not need

    with (
        tempfile.TemporaryDirectory(prefix="flowcost-") as folder,
        duckdb.connect(config={"memory_limit": memory, "temp_directory": folder}) as con,
    ):
        yield con


@contextmanager
def unordered(con: DuckDBPyConnection) -> Iterator[None]:
    """Write tables in any order of rows, which is cheaper: for rows that carry their own number."""
    [(before,)] = con.execute("SELECT current_setting('preserve_insertion_order')").fetchall()
    con.execute("SET preserve_insertion_order = false")
    try:
        yield
    finally:
        con.execute(f"SET preserve_insertion_order = {before}")


def scratch(con: DuckDBPyConnection) -> Path:
    """Return a new folder that is removed with the engine: its views may read files there."""
    folder = tempfile.mkdtemp(prefix="flowcost-bill-")
    weakref.finalize(con, shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def unique(con: DuckDBPyConnection, table: str, columns: str) -> bool:
    """Say whether no two rows of `table` have the same values in `columns`."""
    [(rows, distinct)] = con.execute(
        f"SELECT count(*), count(DISTINCT ({columns})) FROM {table}"
    ).fetchall()
    return bool(rows == distinct)
