"""Signals, incidents and what waits to be delivered, in one SQLite file.

The law it keeps: a signal is recorded once, in the same transaction as its incident and its
deliveries. So a crash at any instant loses none, and a restart makes none again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from msgspec import Struct

from flowcost import clock
from flowcost.errors import LedgerError, UsageError
from flowcost.insights.incidents import Change, Incident, IncidentState
from flowcost.insights.signals import Signal

ITSELF = "flowcost"  # who opens incidents

_SCHEMA = """
CREATE TABLE IF NOT EXISTS signals (
    id TEXT PRIMARY KEY, incident TEXT NOT NULL, raised_at TEXT NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS incidents (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, opened_at TEXT NOT NULL, state TEXT NOT NULL,
    signals INTEGER NOT NULL, latest TEXT NOT NULL REFERENCES signals (id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (
    incident TEXT NOT NULL, at TEXT NOT NULL, who TEXT NOT NULL, state TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS changes_of ON changes (incident);
CREATE TABLE IF NOT EXISTS outbox (
    signal TEXT NOT NULL, destination TEXT NOT NULL, due TEXT NOT NULL,
    attempts INTEGER NOT NULL, trouble TEXT NOT NULL, PRIMARY KEY (signal, destination)
) WITHOUT ROWID;
"""
_VERSION = 1
_NEWS = timedelta(days=1)  # what comes to light late is news for a day all the same


class Delivery(Struct, frozen=True, kw_only=True):
    """A signal on its way to a destination; `trouble` is what the last attempt met."""

    signal: Signal
    destination: str
    due: datetime
    attempts: int
    trouble: str


class SignalStore:
    """The file; may be used from several threads of one process.

    Raises:
        LedgerError: the file cannot be opened, or another version wrote it.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version in (0, _VERSION):
                self._db.executescript(f"{_SCHEMA} PRAGMA user_version = {_VERSION};")
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(
                f"{path}: cannot be opened ({error})",
                hint="free the disk or its permissions; removing the file repeats this month's "
                "signals, once",
            ) from None
        if version not in (0, _VERSION):
            self._db.close()
            raise LedgerError(
                f"{path}: written by another version of Flowcost ({version})",
                hint="use the version that wrote it",
            )

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def known(self, ids: Collection[str]) -> set[str]:
        """Return which of these signals were raised before."""
        marks = ",".join("?" * len(ids))
        with self._lock:
            rows = self._db.execute(f"SELECT id FROM signals WHERE id IN ({marks})", tuple(ids))
            return {row[0] for row in rows}

    def add(
        self,
        signal: Signal,
        destinations: Sequence[str],
        *,
        now: datetime,
        overtaken: Sequence[Signal] = (),
    ) -> bool:
        """Record a signal, open its incident, and have it delivered; return whether it is new.

        `overtaken` are lesser signals about the same, which nobody need hear of any more.
        """
        at = clock.iso(now)
        with self._transaction() as db:
            insert = "INSERT OR IGNORE INTO signals VALUES (?, ?, ?, ?)"
            for each in overtaken:
                db.execute(insert, (each.id, each.incident, at, msgspec.json.encode(each)))
            body = msgspec.json.encode(signal)
            if not db.execute(insert, (signal.id, signal.incident, at, body)).rowcount:
                return False
            db.execute(
                "INSERT INTO incidents VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (id) DO UPDATE"
                " SET state = excluded.state, signals = signals + 1, latest = excluded.latest",
                (signal.incident, signal.tenant_id, at, IncidentState.OPEN, signal.id),
            )
            change = (signal.incident, at, ITSELF, IncidentState.OPEN, signal.title)
            db.execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?)", change)
            db.executemany(
                "INSERT INTO outbox VALUES (?, ?, ?, 0, '')",
                [(signal.id, destination, at) for destination in destinations],
            )
            return True

    def incidents(self, tenant: str, *, states: Collection[str] = ()) -> list[Incident]:
        """Return the incidents in these states (none given: all), latest first."""
        where = f" AND state IN ({','.join('?' * len(states))})" if states else ""
        return self._incidents(f"tenant = ?{where}", tenant, *states)

    def move(
        self, tenant: str, incident: str, state: str, *, who: str, reason: str, now: datetime
    ) -> Incident | None:
        """Move an incident to another state and return it; None if the tenant has no such one.

        Raises:
            UsageError: an unknown state, or a dismissal without a reason.
        """
        if state not in list(IncidentState):
            raise UsageError(f"unknown state {state!r}", hint=f"one of {', '.join(IncidentState)}")
        if state == IncidentState.DISMISSED and not reason.strip():
            raise UsageError("an incident is dismissed with a reason", hint="say why")
        with self._transaction() as db:
            moved = db.execute(
                "UPDATE incidents SET state = ? WHERE tenant = ? AND id = ?",
                (state, tenant, incident),
            )
            if not moved.rowcount:
                return None
            change = (incident, clock.iso(now), who, state, reason.strip())
            db.execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?)", change)
        return self._incidents("tenant = ? AND incidents.id = ?", tenant, incident)[0]

    def standing(self, tenant: str, since: datetime) -> list[tuple[Incident, set[tuple[str, str]]]]:
        """Return what an Alertmanager must know: incidents that are not over since `since`.

        With each the (kind, severity) of its earlier signals that differ from the latest.
        """
        found = []
        for incident in self.incidents(tenant):
            if max(incident.until, incident.changes[-1].at) < since:
                continue
            with self._lock:
                rows = self._db.execute(
                    "SELECT body FROM signals WHERE incident = ?", (incident.id,)
                ).fetchall()
            signals = [msgspec.json.decode(body, type=Signal) for (body,) in rows]
            earlier = {(signal.kind, signal.severity) for signal in signals}
            found.append((incident, earlier - {(incident.kind, incident.severity)}))
        return found

    def due(self, now: datetime) -> list[Delivery]:
        """Return the deliveries whose time has come, oldest first."""
        return [found for found in self.waiting() if found.due <= now]

    def waiting(self) -> list[Delivery]:
        """Return every delivery that is still to be made, the next first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT body, destination, due, attempts, trouble FROM outbox"
                " JOIN signals ON signals.id = outbox.signal ORDER BY due, signal, destination"
            ).fetchall()
        return [
            Delivery(
                signal=msgspec.json.decode(body, type=Signal),
                destination=destination,
                due=clock.parse(due),
                attempts=attempts,
                trouble=trouble,
            )
            for body, destination, due, attempts, trouble in rows
        ]

    def delivered(self, delivery: Delivery) -> None:
        """Take a delivery out of the outbox: its destination has confirmed it."""
        with self._transaction() as db:
            where = (delivery.signal.id, delivery.destination)
            db.execute("DELETE FROM outbox WHERE signal = ? AND destination = ?", where)

    def postpone(self, delivery: Delivery, due: datetime, trouble: str) -> None:
        """Have a delivery tried again at `due`."""
        with self._transaction() as db:
            db.execute(
                "UPDATE outbox SET due = ?, attempts = attempts + 1, trouble = ?"
                " WHERE signal = ? AND destination = ?",
                (clock.iso(due), trouble, delivery.signal.id, delivery.destination),
            )

    def keep_only(self, destinations: Collection[str]) -> None:
        """Forget deliveries to destinations that are no longer configured."""
        marks = ",".join("?" * len(destinations))
        with self._transaction() as db:
            db.execute(
                f"DELETE FROM outbox WHERE destination NOT IN ({marks})", tuple(destinations)
            )

    def _incidents(self, where: str, *values: str) -> list[Incident]:
        with self._lock:
            rows = self._db.execute(
                "SELECT incidents.id, tenant, opened_at, state, incidents.signals, body"
                " FROM incidents JOIN signals ON signals.id = incidents.latest"
                f" WHERE {where}"
                " ORDER BY opened_at DESC, incidents.id",
                values,
            ).fetchall()
            return [
                _incident(row, msgspec.json.decode(row[5], type=Signal), self._changes(row[0]))
                for row in rows
            ]

    def _changes(self, incident: str) -> tuple[Change, ...]:
        rows = self._db.execute(
            "SELECT at, who, state, reason FROM changes WHERE incident = ? ORDER BY rowid",
            (incident,),
        )
        return tuple(
            Change(at=clock.parse(at), who=who, state=state, reason=reason)
            for at, who, state, reason in rows
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def _incident(
    row: tuple[str, str, str, str, int, bytes], latest: Signal, changes: tuple[Change, ...]
) -> Incident:
    opened = clock.parse(row[2])
    return Incident(
        id=row[0],
        tenant=row[1],
        kind=latest.kind,
        severity=latest.severity,
        title=latest.title,
        summary=latest.summary,
        target=latest.target,
        attributes=latest.attributes,
        occurred_at=latest.occurred_at,
        opened_at=opened,
        until=max(latest.until, opened + _NEWS),
        state=row[3],
        signals=row[4],
        changes=changes,
    )
