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

from msgspec import Struct

from flowcost.clock import HOUR
from flowcost.ledger.partition import STORED
from flowcost.schema import duckdb_nothing

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from flowcost.ledger.catalogue import Held
    from flowcost.ledger.engine import Engine

CELLS = 40_000_000  # of all tables together, about 10 bytes each
FEW = 20_000  # rows that are read each time rather than kept anew
_NEWEST = HOUR  # before the newest hour: late enough that the live pipeline rewrites it


class Reduction(Struct, frozen=True, kw_only=True):
    """What is kept of a table: `sql`, a SELECT from `{}`.

    Results of parts, summed, are the result of the whole; it can be applied to its own results.
    """

    sql: str


Units = frozenset[str]  # partitions: folder and content


class Kept:
    """A table of the engine; it is dropped when nobody refers to it any more."""

    def __init__(self, engine: Engine, name: str, units: Units, cells: int) -> None:
        self.name, self.units, self.cells = name, units, cells
        weakref.finalize(self, _drop, engine, name).atexit = False


class Remembered:
    """Tables by what they say of which partitions, the least recently used forgotten first."""

    def __init__(self, engine: Engine, cells: int = CELLS) -> None:
        self._engine, self._cells = engine, cells
        self._kept: OrderedDict[tuple[Reduction, Units], Kept] = OrderedDict()
        self._lock, self._making = Lock(), Lock()
        self._numbers = count(1)

    def parts(
        self, con: DuckDBPyConnection, table: str, reduction: Reduction, held: Sequence[Held]
    ) -> tuple[Kept | None, list[Held]]:
        """Return what is remembered of `held`, and the partitions that it leaves to be read.

        The caller holds the `Kept` while it reads the table.
        """
        if not held:
            return None, []
        done = _done(held)
        kept = self._best(reduction, done)
        if _rows(table, _beyond(kept, done)) > FEW:
            with self._making:  # one at a time; who waited finds what the other made
                kept = self._best(reduction, done)
                left = _beyond(kept, done)
                if _rows(table, left) > FEW:
                    kept = self._make(con, table, reduction, kept, left)
        return kept, _beyond(kept, held)

    def _best(self, reduction: Reduction, done: Sequence[Held]) -> Kept | None:
        """Return the table that says this of most of these partitions, and of no other."""
        units = _units(done)
        with self._lock:
            fitting = [
                kept
                for (what, _), kept in self._kept.items()
                if what == reduction and kept.units <= units
            ]
            if not fitting:
                return None
            best = max(fitting, key=lambda kept: len(kept.units))
            self._kept.move_to_end((reduction, best.units))
            return best

    def _make(
        self,
        con: DuckDBPyConnection,
        table: str,
        reduction: Reduction,
        before: Kept | None,
        left: Sequence[Held],
    ) -> Kept:
        name = f"memory.main.remembered_{next(self._numbers)}"
        con.execute(f"CREATE TABLE {name} AS {merged(table, reduction, before, left)}")
        made = con.table(name)
        units = _units(left) | (before.units if before else frozenset())
        kept = Kept(self._engine, name, units, len(made) * len(made.columns))
        with self._lock:
            self._kept[reduction, units] = kept
            while sum(one.cells for one in self._kept.values()) > self._cells:
                self._kept.popitem(last=False)
        return kept


def rows(table: str, held: Sequence[Held]) -> str:
    """Return a source for SQL: a table's rows in these partitions."""
    names = [str(path).replace("'", "''") for unit in held if (path := unit.file(table))]
    if not names:
        return f"({duckdb_nothing(STORED[table])})"
    files = "', '".join(names)
    return f"read_parquet(['{files}'], hive_partitioning = false)"


def together(table: str, reduction: Reduction, kept: Kept | None, held: Sequence[Held]) -> str:
    """Return a SELECT of what is kept beside what these partitions say; who asks sums it up."""
    parts = [f"FROM {kept.name}"] if kept else []
    if held or not kept:
        parts.append(f"FROM ({reduction.sql.format(rows(table, held))})")
    return " UNION ALL BY NAME ".join(parts)


def merged(table: str, reduction: Reduction, kept: Kept | None, held: Sequence[Held]) -> str:
    """Return a SELECT of what is kept and these partitions say as one."""
    if not (kept and held):
        return together(table, reduction, kept, held)
    return reduction.sql.format(f"(FROM {kept.name} UNION ALL BY NAME FROM {rows(table, held)})")


def _done(held: Sequence[Held]) -> list[Held]:
    """Return what does not change soon: all but the newest hours."""
    last = max(unit.partition.hour for unit in held)
    return [unit for unit in held if unit.partition.hour < last - _NEWEST]


def _beyond(kept: Kept | None, held: Sequence[Held]) -> list[Held]:
    return [unit for unit in held if kept is None or not kept.units >= _units([unit])]


def _units(held: Sequence[Held]) -> Units:
    return frozenset(f"{unit.folder}:{unit.digest}" for unit in held)


def _rows(table: str, held: Sequence[Held]) -> int:
    return sum(unit.manifest.files[table].rows for unit in held)


def _drop(engine: Engine, name: str) -> None:
    with engine.connect() as con:
        con.execute(f"DROP TABLE IF EXISTS {name}")
