"""One cluster, recorded: seven followers read, one thread writes what they saw.

What arrives together is made durable together. Sightings older than what is known of an object
are dropped, so repeated and reordered events change nothing.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from flowcost import clock
from flowcost.resolve import ALWAYS
from flowcost.resolve.chronicle import Chronicle
from flowcost.resolve.kubernetes_api import PAGE, ApiServer
from flowcost.resolve.kubernetes_facts import RESOURCES, Resource
from flowcost.resolve.kubernetes_watch import (
    Broken,
    Change,
    Changed,
    Connected,
    Follower,
    Heard,
    Listed,
    Listing,
    Patience,
    Shown,
    Told,
)

LOG = logging.getLogger("flowcost.kubernetes")
_WAITING = 256  # messages; a page each while listing, so this bounds memory
_TOGETHER = 512
_TICK = 0.2  # seconds
_CLOSING = 5.0  # seconds
_GONE = timedelta(minutes=10)
_PRUNE = timedelta(hours=1)


class State(Struct, frozen=True, kw_only=True):
    """Where a watch stands: `syncing`, `watching` or `broken`; `error` says why.

    `heard` is the oldest of the resources' last signs of life. `unreadable` objects were left out.
    """

    watch: str = "syncing"
    error: str = ""
    pods: int = 0
    nodes: int = 0
    heard: datetime | None = None
    revision: int = 0
    unreadable: int = 0


class _Standing(Struct):
    """One resource: `versions` are the newest seen of each object, `gone` of late ones too."""

    synced: bool = False
    error: str = ""
    listing: set[str] = field(default_factory=set)
    versions: dict[str, int] = field(default_factory=dict)
    gone: dict[str, datetime] = field(default_factory=dict)


class Recorder:
    """Records one cluster into `folder`, from `start` until `close`.

    Facts that ended are kept for `keep`. `after` is called on the writing thread after every
    batch, and several times a second without one.
    """

    def __init__(
        self,
        server: ApiServer,
        folder: Path,
        *,
        keep: timedelta,
        patience: Patience | None = None,
        page: int = PAGE,
        now: Callable[[], datetime] = clock.now,
        after: Callable[[Chronicle], None] = lambda _chronicle: None,
    ) -> None:
        self.folder = folder
        self._server = server
        self._keep = keep
        self._patience = patience or Patience()
        self._page = page
        self._now = now
        self._after = after
        self._standing = {resource.name: _Standing() for resource in RESOURCES}
        self._state = State()
        self._followers: list[Follower] = []
        self._queue: queue.Queue[tuple[Resource, Told]] = queue.Queue(_WAITING)
        self._closing = threading.Event()
        self._pruned = ALWAYS
        self._thread = threading.Thread(target=self._run, name="chronicle", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ask_to_end(self) -> None:
        """Ask the threads to end, without waiting for them."""
        self._closing.set()

    def close(self) -> None:
        """End; what was read is durable afterwards."""
        self.ask_to_end()
        self._thread.join()

    @property
    def state(self) -> State:
        """Return where the watch stands."""
        return self._state

    @property
    def lists(self) -> int:
        """Return how many lists were begun since the last start."""
        return sum(follower.lists for follower in self._followers)

    def _run(self) -> None:
        """Record until closed; where the disk fails, begin again from what is on it."""
        while not self._closing.is_set():
            try:
                self._session()
            except Exception as error:
                # A full disk needs no traceback.
                strange = None if isinstance(error, OSError | sqlite3.Error) else error
                LOG.error("%s: %s", self.folder, error, exc_info=strange)  # noqa: TRY400
                self._state = replace(self._state, watch="broken", error=f"{self.folder}: {error}")
                self._closing.wait(self._patience.first * 4)

    def _session(self) -> None:
        chronicle = Chronicle(self.folder)
        self._queue = queue.Queue(_WAITING)
        self._standing = {resource.name: _Standing() for resource in RESOURCES}
        followers = [self._follower(chronicle, resource) for resource in RESOURCES]
        self._followers = followers
        try:
            self._publish(chronicle, followers)
            for follower in followers:
                follower.start()
            while not self._closing.is_set():
                self._write(chronicle, followers)
        finally:
            for follower in followers:
                follower.close()
            self._drain(followers)
            chronicle.close()

    def _follower(self, chronicle: Chronicle, resource: Resource) -> Follower:
        place = chronicle.places.get(resource.name)
        return Follower(
            self._server,
            resource,
            lambda resource, told: self._queue.put((resource, told)),
            version=place.version if place else "",
            patience=self._patience,
            page=self._page,
            now=self._now,
        )

    def _drain(self, followers: Sequence[Follower]) -> None:
        """Let followers that wait for a place in the queue end; what they bring is read again."""
        until = time.monotonic() + _CLOSING
        while any(follower.alive for follower in followers) and time.monotonic() < until:
            with suppress(queue.Empty):
                self._queue.get(timeout=0.01)

    def _write(self, chronicle: Chronicle, followers: Sequence[Follower]) -> None:
        """Make one batch of what was told durable."""
        try:
            told = [self._queue.get(timeout=_TICK)]
        except queue.Empty:
            told = []
        with suppress(queue.Empty):
            while len(told) < _TOGETHER:
                told.append(self._queue.get_nowait())
        for resource, one in told:
            self._enter(chronicle, resource, one)
        chronicle.commit()
        now = self._now()
        if now - self._pruned >= _PRUNE:
            chronicle.prune(now - self._keep)
            self._pruned = now
            self._forget(now)
        self._publish(chronicle, followers)
        self._after(chronicle)

    def _enter(self, chronicle: Chronicle, resource: Resource, told: Told) -> None:
        standing = self._standing[resource.name]
        standing.error = told.error if isinstance(told, Broken) else ""
        match told:
            case Listing() | Shown() | Listed():
                self._list(chronicle, resource.name, told)
            case Connected():
                standing.synced = True
            case Changed():
                heard = _heard(chronicle, resource.name) if told.late else told.at
                for change in told.changes:
                    self._change(chronicle, resource.name, change, told.at, heard)
                chronicle.hear(resource.name, told.version, told.at)
            case Heard():
                chronicle.hear(resource.name, told.version, told.at)

    def _list(self, chronicle: Chronicle, name: str, told: Listing | Shown | Listed) -> None:
        """Enter a part of a list; what a complete one did not show is gone."""
        standing, heard = self._standing[name], _heard(chronicle, name)
        match told:
            case Listing():
                standing.listing = set()
            case Shown():
                for seen in told.sightings:
                    standing.listing.add(seen.object)
                    standing.versions[seen.object] = seen.version
                    chronicle.see(name, seen, told.at, heard)
            case Listed():
                for one in [one for one in chronicle.objects(name) if one not in standing.listing]:
                    chronicle.lose(name, one, told.at, heard)
                standing.versions = {one: standing.versions[one] for one in standing.listing}
                standing.listing = set()
                chronicle.hear(name, told.version, told.at)

    def _change(
        self, chronicle: Chronicle, name: str, change: Change, at: datetime, after: datetime
    ) -> None:
        seen, standing = change.sighting, self._standing[name]
        known = standing.versions.get(seen.object, -1)
        if seen.version and seen.version <= known:
            return
        standing.versions[seen.object] = seen.version
        if change.gone:
            chronicle.lose(name, seen.object, at, after, change.ended)
            standing.gone[seen.object] = at
        else:
            chronicle.see(name, seen, at, after)
            standing.gone.pop(seen.object, None)

    def _forget(self, now: datetime) -> None:
        """Let go of the versions of objects that are long gone."""
        for standing in self._standing.values():
            for name, at in list(standing.gone.items()):
                if now - at >= _GONE:
                    del standing.gone[name]
                    standing.versions.pop(name, None)

    def _publish(self, chronicle: Chronicle, followers: Sequence[Follower]) -> None:
        standing = self._standing.values()
        errors = [one.error for one in standing if one.error]
        synced = all(one.synced for one in standing)
        heard = [place.heard for place in chronicle.places.values()]
        self._state = State(
            watch="broken" if errors else "watching" if synced else "syncing",
            error=errors[0] if errors else "",
            pods=len(chronicle.objects("pods")),
            nodes=len(chronicle.objects("nodes")),
            heard=min(heard) if len(heard) == len(RESOURCES) else None,
            revision=chronicle.revision,
            unreadable=sum(follower.unreadable for follower in followers),
        )


def _heard(chronicle: Chronicle, name: str) -> datetime:
    place = chronicle.places.get(name)
    return place.heard if place else ALWAYS
