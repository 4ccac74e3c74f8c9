"""What was true when, kept on disk: facts with the time they held, of one cluster.

A fact is something that an object states: a pod its addresses, a slice its members. It opens when
it is first seen and stays open, through outages of the cluster and of this process, until it is
seen to have changed or gone. Times are UTC microseconds, half-open.

One SQLite file per cluster (WAL): one process writes, any number read. What a transaction brings
(facts and the place to resume from) is durable together, so a crash loses nothing but the newest
transaction, which the cluster is then asked for again.

How an edge is dated: by the object itself where it tells (a pod's start, a container's end), else
by when the change was received. Where it happened unseen, `began_after` and `ended_after` say since
when it may have been: the last moment that the cluster was heard before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import Struct

from flowcost.resolve import ALWAYS

FILE = "chronicle.sqlite"
# What is learnt of a thing in its first minutes (labels, a Service) holds from its start.
SETTLES = timedelta(minutes=5)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_OPEN = 1 << 62

_VERSION = 1
_SCHEMA = f"""
BEGIN;
CREATE TABLE IF NOT EXISTS facts (
    id INTEGER PRIMARY KEY,
    resource TEXT NOT NULL,
    object TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    body BLOB NOT NULL,
    began_after INTEGER NOT NULL,
    valid_from INTEGER NOT NULL,
    valid_to INTEGER NOT NULL,
    ended_after INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    affected INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS facts_ended ON facts (valid_to);
CREATE INDEX IF NOT EXISTS facts_of ON facts (resource, object);
CREATE INDEX IF NOT EXISTS facts_changed ON facts (revision);
CREATE TABLE IF NOT EXISTS places (
    resource TEXT PRIMARY KEY,
    version TEXT NOT NULL,
    heard INTEGER NOT NULL,
    begun INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS counter (revision INTEGER NOT NULL);
INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter);
PRAGMA user_version = {_VERSION};
COMMIT;
"""


class Fact(Struct, frozen=True, gc=False):
    """Something an object states. A fact with an empty `key` is a draft: the next replaces it."""

    kind: str
    key: str
    body: bytes


class Sighting(Struct, frozen=True, gc=False):
    """An object as seen once.

    `version` orders sightings of the object, 0 if it cannot. `began` and `ended` are what the
    object says of itself; an object that has ended may still state facts, which then are history.
    """

    object: str
    version: int
    facts: tuple[Fact, ...]
    began: datetime | None = None
    ended: datetime | None = None


class DatedFact(Struct, frozen=True, gc=False):
    """A fact and when it held; `began_after == valid_from` where the edge is exact."""

    object: str
    kind: str
    key: str
    body: bytes
    began_after: datetime
    valid_from: datetime
    valid_to: datetime | None
    ended_after: datetime | None


class Place(Struct, frozen=True):
    """Where to resume: the resource version, and when the cluster was last heard."""

    version: str
    heard: datetime


class _Held(Struct, gc=False):
    """An open fact: its row, what it says, and since when."""

    row: int
    body: bytes
    since: int


class Chronicle:
    """The writer's side. Use it from one thread; nothing is durable before `commit`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / FILE, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        (self.revision,) = self._db.execute("SELECT revision FROM counter").fetchone()
        self.places = _places(self._db)
        self._open: dict[str, dict[str, dict[tuple[str, str], _Held]]] = {}
        for row, resource, name, kind, key, body, since in self._db.execute(
            "SELECT id, resource, object, kind, key, body, valid_from FROM facts"
            " WHERE valid_to = ?",
            (_OPEN,),
        ):
            held = self._open.setdefault(resource, {}).setdefault(name, {})
            held[kind, key] = _Held(row, body, since)
        self._changed = False
        self._begun = False

    def objects(self, resource: str) -> Collection[str]:
        """Return the objects that have open facts."""
        return self._open.get(resource, {}).keys()

    def facts(self, resource: str) -> Iterator[Fact]:
        """Yield the open facts of a resource."""
        for held in self._open.get(resource, {}).values():
            for (kind, key), one in held.items():
                yield Fact(kind, key, one.body)

    def see(self, resource: str, seen: Sighting, at: datetime, after: datetime) -> bool:
        """Enter what an object states at `at`; return whether that is news.

        Whatever is new began after `after`, where the object does not say when.
        """
        objects = self._open.setdefault(resource, {})
        held = objects.get(seen.object)
        stated = {(fact.kind, fact.key): fact.body for fact in seen.facts}
        if seen.ended is not None:
            return self._ended(resource, seen, held, at, after)
        if held is None and not stated:
            return False
        began = None if held and any(key for _, key in held) else seen.began
        held = held if held is not None else objects.setdefault(seen.object, {})
        news = False
        for name in [name for name in held if name not in stated]:
            self._close(held.pop(name), at, after, draft=not name[1])
            news = True
        for name, body in stated.items():
            one = held.get(name)
            if one is None:
                held[name] = self._insert(
                    resource, seen.object, name, body, began=began, at=at, after=after
                )
                news = True
            elif one.body != body:
                if _micros(at) - one.since < SETTLES // _MICROSECOND or not name[1]:
                    self._amend(one, body)
                else:
                    self._close(one, at, after, draft=False)
                    held[name] = self._insert(
                        resource, seen.object, name, body, began=None, at=at, after=after
                    )
                news = True
        if not held:
            del objects[seen.object]
        return news

    def lose(
        self, resource: str, name: str, at: datetime, after: datetime, ended: datetime | None = None
    ) -> bool:
        """Close what an object stated: it is gone at `at`, and was still there at `after`.

        `ended` is what the object says of its end, exactly. Returns whether that is news.
        """
        held = self._open.get(resource, {}).pop(name, None)
        for (_, key), one in (held or {}).items():
            self._close(one, min(ended or at, at), min(ended or after, at), draft=not key)
        return bool(held)

    def hear(self, resource: str, version: str, at: datetime) -> None:
        """Note that the cluster was heard at `at`, and where to resume."""
        self._begin()
        self.places[resource] = Place(version, at)
        self._db.execute(
            "INSERT INTO places VALUES (?1, ?2, ?3, ?3) ON CONFLICT DO UPDATE"
            " SET version = excluded.version, heard = excluded.heard",
            (resource, version, _micros(at)),
        )

    def commit(self) -> None:
        """Make everything so far durable, under a new revision if facts have changed."""
        if not self._begun:
            return
        if self._changed:
            self.revision += 1
            self._db.execute("UPDATE counter SET revision = ?", (self.revision,))
        self._db.execute("COMMIT")
        self._begun = self._changed = False

    def prune(self, before: datetime) -> int:
        """Forget facts that ended before `before`; return how many."""
        self._begin()
        done = self._db.execute("DELETE FROM facts WHERE valid_to < ?", (_micros(before),))
        self.commit()
        self._db.execute("PRAGMA incremental_vacuum").fetchall()
        return done.rowcount

    def close(self) -> None:
        """Let go of the file; what was not committed is lost."""
        self._db.close()

    def _ended(
        self,
        resource: str,
        seen: Sighting,
        held: dict[tuple[str, str], _Held] | None,
        at: datetime,
        after: datetime,
    ) -> bool:
        """Enter an object that is over; one that was never seen alive becomes history at once."""
        if held:
            return self.lose(resource, seen.object, at, after, seen.ended)
        known = self._db.execute(
            "SELECT 1 FROM facts WHERE resource = ? AND object = ? LIMIT 1", (resource, seen.object)
        ).fetchone()
        if known or seen.began is None or seen.ended is None or seen.ended <= seen.began:
            return False
        for fact in seen.facts:
            name = fact.kind, fact.key
            one = self._insert(
                resource, seen.object, name, fact.body, began=seen.began, at=at, after=after
            )
            self._close(one, min(seen.ended, at), min(seen.ended, at), draft=not fact.key)
        return bool(seen.facts)

    def _insert(
        self,
        resource: str,
        name: str,
        fact: tuple[str, str],
        body: bytes,
        *,
        began: datetime | None,
        at: datetime,
        after: datetime,
    ) -> _Held:
        self._change()
        since = _micros(min(began or at, at))
        unseen = since if began else _micros(min(after, at))
        row = self._db.execute(
            "INSERT INTO facts VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (resource, name, *fact, body, unseen, since, _OPEN, _OPEN, self.revision + 1, since),
        ).lastrowid
        return _Held(row or 0, body, since)

    def _amend(self, one: _Held, body: bytes) -> None:
        self._change()
        one.body = body
        self._db.execute(
            "UPDATE facts SET body = ?, revision = ?, affected = ? WHERE id = ?",
            (body, self.revision + 1, one.since, one.row),
        )

    def _close(self, one: _Held, at: datetime, after: datetime, *, draft: bool) -> None:
        self._change()
        # What held for no time stays until it is pruned: readers are told that it changed.
        end = one.since if draft else max(_micros(at), one.since)
        self._db.execute(
            "UPDATE facts SET valid_to = ?, ended_after = ?, revision = ?, affected = ?"
            " WHERE id = ?",
            (end, min(max(_micros(after), one.since), end), self.revision + 1, end, one.row),
        )

    def _begin(self) -> None:
        if not self._begun:
            self._db.execute("BEGIN IMMEDIATE")
            self._begun = True

    def _change(self) -> None:
        self._begin()
        self._changed = True


def read(folder: Path, start: datetime, end: datetime) -> list[DatedFact]:
    """Return the facts that held at some time in `[start, end)`, in order of entry."""
    with _reader(folder) as db:
        rows = db.execute(
            "SELECT object, kind, key, body, began_after, valid_from, valid_to, ended_after"
            " FROM facts WHERE valid_from < ? AND valid_to > max(?, valid_from) ORDER BY id",
            (_micros(end), _micros(start)),
        )
        return [
            DatedFact(
                name,
                kind,
                key,
                body,
                _instant(began_after),
                _instant(since),
                None if until == _OPEN else _instant(until),
                None if until == _OPEN else _instant(ended_after),
            )
            for name, kind, key, body, began_after, since, until, ended_after in rows
        ]


def changed(folder: Path, since: int) -> tuple[int, datetime | None]:
    """Return the revision on disk, and the earliest time that changes after `since` bear upon."""
    with _reader(folder) as db:
        db.execute("BEGIN")
        (revision,) = db.execute("SELECT revision FROM counter").fetchone()
        (earliest,) = db.execute(
            "SELECT min(affected) FROM facts WHERE revision > ?", (since,)
        ).fetchone()
    return revision, None if earliest is None else _instant(earliest)


def places(folder: Path) -> dict[str, Place]:
    """Return where each resource would be resumed."""
    with _reader(folder) as db:
        return _places(db)


def begun(folder: Path, resource: str) -> datetime | None:
    """Return when a resource was first listed whole, None if it never was."""
    with _reader(folder) as db:
        found = db.execute("SELECT begun FROM places WHERE resource = ?", (resource,)).fetchone()
    return _instant(found[0]) if found else None


def _places(db: sqlite3.Connection) -> dict[str, Place]:
    return {
        resource: Place(version, _instant(heard))
        for resource, version, heard in db.execute("SELECT resource, version, heard FROM places")
    }


@contextmanager
def _reader(folder: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that reads; a file that is being made is an empty chronicle."""
    uri = f"{(folder / FILE).absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version:
            yield db
            return
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.executescript(_SCHEMA)
        yield db


def _micros(instant: datetime) -> int:
    return (max(instant, ALWAYS) - _EPOCH) // _MICROSECOND


def _instant(micros: int) -> datetime:
    return _EPOCH + micros * _MICROSECOND
