"""The engine that answers questions: one per ledger and process, opened at the first question.

Connections share its memory limit and what it remembers of the files (their footers and hot pages),
so that the second question about a month does not open a hundred files anew.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SPILL = ".spill"  # beside the partitions; empty unless a question outgrows the memory
MEMORY = "1GB"


class Engine:
    """An engine in memory that spills to `spill`."""

    def __init__(self, spill: Path, memory: str = MEMORY) -> None:
        self._spill, self._memory = spill, memory
        self._main: DuckDBPyConnection | None = None
        self._lock = Lock()

    def connect(self) -> DuckDBPyConnection:
        """Return a new connection; the caller closes it. Its temporary views are its own."""
        import duckdb  # noqa: PLC0415 - 60 ms that `--help` does not need

        with self._lock:
            if self._main is None:
                self._main = duckdb.connect(
                    config={
                        "memory_limit": self._memory,
                        "temp_directory": str(self._spill),
                        "preserve_insertion_order": False,
                    }
                )
            return self._main.cursor()
