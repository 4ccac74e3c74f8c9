"""What a server has read of partitions that are done, so that a page does not read them again.

A question reads many partitions and keeps little of them: sums by a few columns, each dimension
once. Both can be made of parts (sums of sums are sums), so what older partitions gave is kept as a
table in the engine, and only the newest hours, which may still change, are read each time. A
partition that was rewritten is another partition: nothing here can be stale.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Sequence
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING

from flowcost.clock import HOUR

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from flowcost.ledger.catalogue import Held
    from flowcost.ledger.engine import Engine

CELLS = 40_000_000  # of all tables together, about 10 bytes each
FEW = 20_000  # rows that are read each time rather than kept anew
_NEWEST = HOUR  # before the newest hour: late enough that the live pipeline rewrites it


class Kept:
    """A table of the engine; it is dropped when nobody refers to it any more."""

    def __init__(self, engine: Engine, name: str, units: frozenset[str], cells: int) -> None:
        self.name, self.units, self.cells = name, units, cells
        weakref.finalize(self, _drop, engine, name).atexit = False


class Remembered:
    """Tables by what they say of which partitions, the least recently used forgotten first."""

    def __init__(self, engine: Engine, cells: int = CELLS) -> None:
        self._engine, self._cells = engine, cells
        self._kept: OrderedDict[tuple[str, frozenset[str]], Kept] = OrderedDict()
        self._lock, self._making = Lock(), Lock()
        self._numbers = count(1)

    def parts(
        self, con: DuckDBPyConnection, table: str, reduced: str, held: Sequence[Held]
    ) -> tuple[Kept | None, list[Held]]:
        """Return what is remembered of `held`, and the partitions that it leaves to be read.

        `reduced` is the SELECT that makes the remembered of `table`, with `{}` for its source; it
        can be applied to its own results. The caller holds the `Kept` while it reads the table.
        """
        if not held:
            return None, []
        newest = max(unit.partition.hour for unit in held) - _NEWEST
        done = [unit for unit in held if unit.partition.hour < newest]
        names = frozenset(map(_name, done))
        kept = self._best(reduced, names)
        if _rows(table, _beyond(kept, done)) > FEW:
            with self._making:  # one at a time; who waited finds what the other made
                kept = self._best(reduced, names)
                left = _beyond(kept, done)
                if _rows(table, left) > FEW:
                    kept = self._make(con, table, reduced, kept, left)
        return kept, _beyond(kept, held)

    def _best(self, reduced: str, names: frozenset[str]) -> Kept | None:
        """Return the table that says this of most of these partitions, and of no other."""
        with self._lock:
            fitting = [key for key in self._kept if key[0] == reduced and key[1] <= names]
            if not fitting:
                return None
            best = max(fitting, key=lambda key: len(key[1]))
            self._kept.move_to_end(best)
            return self._kept[best]

    def _make(
        self,
        con: DuckDBPyConnection,
        table: str,
        reduced: str,
        before: Kept | None,
        left: Sequence[Held],
    ) -> Kept:
        name = f"remembered_{next(self._numbers)}"
        source = combined(table, before, left)
        con.execute(f"CREATE TABLE memory.main.{name} AS {reduced.format(source)}")
        made = con.table(f"memory.main.{name}")
        units = frozenset(map(_name, left)) | (before.units if before else frozenset())
        kept = Kept(self._engine, name, units, len(made) * len(made.columns))
        with self._lock:
            self._kept[reduced, units] = kept
            while sum(one.cells for one in self._kept.values()) > self._cells:
                self._kept.popitem(last=False)
        return kept


def combined(table: str, kept: Kept | None, held: Sequence[Held]) -> str:
    """Return a source for SQL: what is kept, and the rows of a table in these partitions.

    Where there is neither it is the table `empty_` of that name.
    """
    sources = [f"FROM memory.main.{kept.name}"] if kept else []
    if names := [str(path).replace("'", "''") for unit in held if (path := unit.file(table))]:
        files = "', '".join(names)
        sources.append(f"FROM read_parquet(['{files}'], hive_partitioning = false)")
    return f"({' UNION ALL BY NAME '.join(sources) or f'FROM empty_{table}'})"


def _beyond(kept: Kept | None, held: Sequence[Held]) -> list[Held]:
    return [unit for unit in held if kept is None or _name(unit) not in kept.units]


def _name(unit: Held) -> str:
    return f"{unit.folder}:{unit.digest}"


def _rows(table: str, held: Sequence[Held]) -> int:
    return sum(unit.manifest.files[table].rows for unit in held)


def _drop(engine: Engine, name: str) -> None:
    with engine.connect() as con:
        con.execute(f"DROP TABLE IF EXISTS memory.main.{name}")
