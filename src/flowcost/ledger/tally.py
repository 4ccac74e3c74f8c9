"""What was sent, by hour and kind: read once, and kept for as long as the hours are the same.

An hour is known by the content of its partitions, of every cluster. Rolling up changes no hour, so
what was read of it stays; an hour that was rewritten is another hour, and is read anew, alone. Of
days that nobody asks about by the hour only the whole is kept.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING

from flowcost import clock
from flowcost.ledger import once
from flowcost.ledger.attach import attach_held
from flowcost.ledger.filter import Expression
from flowcost.ledger.levels import Contents, sent_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from flowcost.ledger.catalogue import Held
    from flowcost.ledger.engine import Engine

ROWS = 8_000_000  # of all tallies together, 28 bytes each
ASKERS = 64
NEVER = clock.iso(clock.LATEST)
_DAY = len("2026-11-20")
_KIND = ", ".join(once.KIND)


class Tally:
    """One asker's: who may see another part of the ledger has another.

    Tables `kinds` (number, and the columns of `once.KIND`) and `sent` (hour, kind, bytes) stand in
    `schema` of the engine. They are read and brought up to date under `lock`, and dropped when
    nobody refers to the tally any more.
    """

    def __init__(self, engine: Engine, schema: str, within: Expression | None) -> None:
        self.lock = Lock()
        self.schema = f"memory.{schema}"
        self.rows = 0
        self._within = within
        self._known: Contents = {}
        self._hourly_from = NEVER  # days before it are kept whole, as their first hour
        columns = ", ".join(f"{name} {type_}" for name, type_ in once.KIND.items())
        with engine.connect() as con:
            con.execute(f"CREATE SCHEMA {self.schema}")
            con.execute(f"CREATE TABLE {self.schema}.kinds (kind INTEGER, {columns})")
            con.execute(
                f"CREATE TABLE {self.schema}.sent (hour TIMESTAMP, kind INTEGER, bytes HUGEINT)"
            )
        weakref.finalize(self, _drop, engine, self.schema).atexit = False

    def update(
        self,
        con: DuckDBPyConnection,
        hours: Contents,
        held: Iterable[Held],
        rolled: Iterable[Held],
        *,
        first: str,
        hourly_from: str,
    ) -> None:
        """Let all from `first` on be as `hours` are, and tell hours apart from `hourly_from` on.

        Both are ISO instants that start a day. `held` are the partitions that hold the hours,
        `rolled` those of `TRAFFIC`, which say of some what all may see.
        """
        if hourly_from == NEVER:
            hourly_from = self._hourly_from
        stale = self._stale(hours, first, hourly_from)
        if not stale:
            return
        once.create(con)
        left = stale & hours.keys()
        if self._within is None:
            said = [
                (unit, {hour for hour, _ in sent_of(unit).items() & hours.items()} & left)
                for unit in rolled
            ]
            same = {hour for _, of in said for hour in of}
            self._read(con, same, [unit for unit, of in said if of])
            left -= same
        units: dict[str, list[Held]] = defaultdict(list)
        for unit in held:
            units[unit.manifest.hour[:_DAY]].append(unit)
        for day in {hour[:_DAY] for hour in left}:  # one by one, which needs less memory
            self._read(con, {hour for hour in left if hour.startswith(day)}, units[day])
        self._replace(con, stale, hourly_from)
        self._known = {hour: what for hour, what in self._known.items() if hour not in stale}
        self._known |= {hour: hours[hour] for hour in stale & hours.keys()}
        self._hourly_from = hourly_from

    def _read(self, con: DuckDBPyConnection, hours: Collection[str], held: Sequence[Held]) -> None:
        if hours:
            attach_held(con, held)
            once.insert(con, sorted(hours), self._within)

    def _stale(self, hours: Contents, first: str, hourly_from: str) -> set[str]:
        """Return the hours that are not as they were read, or were read as a part of their day."""
        either = {hour for hour in self._known.keys() | hours.keys() if hour >= first}
        changed = {hour for hour in either if self._known.get(hour) != hours.get(hour)}
        whole = {hour[:_DAY] for hour in changed if hour < self._hourly_from}
        whole |= {hour[:_DAY] for hour in either if hourly_from <= hour < self._hourly_from}
        return changed | {hour for hour in either if hour[:_DAY] in whole}

    def _replace(self, con: DuckDBPyConnection, stale: Collection[str], hourly_from: str) -> None:
        """Put `once` in the place of the hours that are `stale`."""
        schema = self.schema
        con.execute(
            f"INSERT INTO {schema}.kinds SELECT row_number() OVER ()"
            f" + (SELECT count(*) FROM {schema}.kinds), * FROM (SELECT DISTINCT {_KIND} FROM once"
            f" EXCEPT SELECT {_KIND} FROM {schema}.kinds)"
        )
        days = {f"{hour[:_DAY]}T00:00:00Z" for hour in stale if hour < self._hourly_from}
        con.execute(
            f"CREATE OR REPLACE TABLE {schema}.sent AS"
            " SELECT CASE WHEN hour < ?::TIMESTAMP THEN date_trunc('day', hour) ELSE hour END"
            " AS hour, kind, sum(bytes) AS bytes FROM ("
            f" SELECT hour, kind, bytes FROM {schema}.sent"
            "  WHERE hour NOT IN (SELECT unnest(?::TIMESTAMP[]))"
            f" UNION ALL SELECT hour, kind, bytes FROM once JOIN {schema}.kinds USING ({_KIND})"
            ") GROUP BY ALL",
            [hourly_from, [*stale, *days]],
        )
        self.rows = len(con.table(f"{schema}.sent"))


class Tallies:
    """Tallies by asker, the least recently used forgotten first."""

    def __init__(self, engine: Engine, rows: int = ROWS) -> None:
        self._engine, self._rows = engine, rows
        self._kept: OrderedDict[tuple[str, Expression | None], Tally] = OrderedDict()
        self._lock = Lock()
        self._numbers = count(1)

    def of(self, tenant: str, within: Expression | None) -> Tally:
        """Return the tally of a tenant, as far as `within` lets see."""
        asker = tenant, within
        with self._lock:
            if asker not in self._kept:
                self._kept[asker] = Tally(self._engine, f"tally_{next(self._numbers)}", within)
            self._kept.move_to_end(asker)
            return self._kept[asker]

    def trim(self) -> None:
        """Forget what is too much; who still reads one of them reads to its end."""
        with self._lock:
            while (
                len(self._kept) > ASKERS
                or sum(one.rows for one in self._kept.values()) > self._rows
            ):
                self._kept.popitem(last=False)


def _drop(engine: Engine, schema: str) -> None:
    with engine.connect() as con:
        con.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
