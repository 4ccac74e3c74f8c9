"""One resource of a cluster, followed for ever: list, then watch, and again from where it broke.

A follower only reads; what it reads goes through a queue to the one thread that writes. It lists
when it has no place to resume from, or when the server no longer has it (410 Gone). Everything
else that breaks is waited out, twice as long each time, with jitter, and resumed.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from flowcost import clock
from flowcost.errors import BusyError, FlowcostError, UnreachableError
from flowcost.resolve.chronicle import Sighting
from flowcost.resolve.kubernetes_api import PAGE, ApiServer, ExpiredError, Watching
from flowcost.resolve.kubernetes_facts import Resource, end_of, sighting

LOG = logging.getLogger("flowcost.kubernetes")
_ADDED, _DELETED, _BOOKMARK, _ERROR = "ADDED", "DELETED", "BOOKMARK", "ERROR"
_GONE = 410
_CATCHING_UP = 2.0  # seconds in which a new watch tells what it missed


class Patience(Struct, frozen=True, kw_only=True):
    """How long to wait, in seconds.

    The server is asked to end each watch after `watch` seconds, up to half as many more: its end
    is the only word on a resource where nothing happens, for which there are no bookmarks. A
    connection that is silent for `idle` seconds, which is longer, is dead. Waits between attempts
    double from `first` to `most`.
    """

    idle: float = 210.0
    watch: int = 120
    first: float = 0.5
    most: float = 60.0


class Listing(Struct, frozen=True):
    """A list begins: what it does not show by its end is gone."""

    at: datetime


class Shown(Struct, frozen=True):
    """Objects of a list."""

    at: datetime
    sightings: tuple[Sighting, ...]


class Listed(Struct, frozen=True):
    """A list is complete; `at` is when it began."""

    at: datetime
    version: str


class Change(Struct, frozen=True, gc=False):
    """An object that a watch told of; a `gone` one may say when it `ended`."""

    sighting: Sighting
    gone: bool = False
    ended: datetime | None = None


class Changed(Struct, frozen=True):
    """What a watch told, in order; `late` if it may have happened while nobody listened."""

    at: datetime
    version: str
    changes: tuple[Change, ...]
    late: bool


class Connected(Struct, frozen=True):
    """The server has begun a watch; what happened meanwhile is still to come."""

    at: datetime


class Heard(Struct, frozen=True):
    """A bookmark, or the end of a watch: nothing else has changed up to now."""

    at: datetime
    version: str


class Broken(Struct, frozen=True):
    """The watch is broken; it is tried again."""

    at: datetime
    error: str


Told = Listing | Shown | Listed | Connected | Changed | Heard | Broken
Tell = Callable[[Resource, Told], None]


class _Version(Struct, rename="camel"):
    resource_version: str = ""


class _Marked(Struct):
    metadata: _Version


class _Status(Struct):
    code: int = 0
    message: str = ""


class _Event(Struct):
    type: str
    object: msgspec.Raw


class Follower:
    """Follows one resource on a thread of its own, from `start` until `close`.

    `unreadable` counts objects that could not be read; they are left out.
    """

    def __init__(
        self,
        server: ApiServer,
        resource: Resource,
        tell: Tell,
        *,
        version: str = "",
        patience: Patience | None = None,
        page: int = PAGE,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self.resource = resource
        self.unreadable = 0
        self.lists = 0
        self.watches = 0
        self._server = server
        self._tell = tell
        self._version = version
        self._patience = patience or Patience()
        self._page = page
        self._now = now
        self._attempts = 0
        self._watching: Watching | None = None
        self._closing = threading.Event()
        self._events = msgspec.json.Decoder(_Event)
        self._objects = msgspec.json.Decoder(resource.shape)
        self._thread = threading.Thread(
            target=self._run, name=f"watch-{resource.name}", daemon=True
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Ask the thread to end; a read under way fails at once."""
        self._closing.set()
        watching = self._watching
        if watching:
            watching.interrupt()

    @property
    def alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._closing.is_set():
            wait = 0.0
            try:
                self._follow()
                wait = self._wait() if self._attempts else 0.0
            except ExpiredError:
                self._version = ""
                wait = self._wait() if self._attempts else 0.0
                self._attempts += 1
            except Exception as error:  # noqa: BLE001 - nobody else would take this thread's place
                if self._closing.is_set():
                    return
                wait = self._failed(error)
            self._closing.wait(wait)

    def _failed(self, error: Exception) -> float:
        """Tell what is wrong, and return how long to wait before the next attempt."""
        if not isinstance(error, FlowcostError):
            LOG.error("watch of %s", self.resource.name, exc_info=error)
        self._tell(self.resource, Broken(self._now(), str(error) or type(error).__name__))
        asked = error.retry_after_s if isinstance(error, BusyError) else 0.0
        wait = max(self._wait(), asked)
        self._attempts += 1
        return wait

    def _wait(self) -> float:
        longest = min(self._patience.most, self._patience.first * 2 ** min(self._attempts, 16))
        return random.uniform(longest / 2, longest)  # noqa: S311 - spreads load, guards nothing

    def _follow(self) -> None:
        """List if need be, then watch until the server ends it."""
        if not self._version:
            self._list()
        began = time.monotonic()
        spread = random.uniform(1, 1.5)  # noqa: S311 - spreads load, guards nothing
        watch = self._server.watch(
            self.resource,
            self._version,
            seconds=int(self._patience.watch * spread),
            idle=self._patience.idle,
        )
        self.watches += 1
        self._watching = watch
        try:
            if self._closing.is_set():
                return
            self._tell(self.resource, Connected(self._now()))
            for lines in watch:
                self._read(lines, late=time.monotonic() - began < _CATCHING_UP)
                self._attempts = 0
        finally:
            watch.close()
            self._watching = None
        self._tell(self.resource, Heard(self._now(), self._version))
        # A server that ends every watch at once is asked less and less often.
        if time.monotonic() - began < 1:
            self._attempts += 1

    def _list(self) -> None:
        at = self._now()
        self.lists += 1
        self._tell(self.resource, Listing(at))
        version = ""
        for page in self._server.pages(self.resource, limit=self._page):
            seen = [one for item in page.items or () if (one := self._sighting(item)) is not None]
            self._tell(self.resource, Shown(at, tuple(seen)))
            version = page.metadata.resource_version
            if self._closing.is_set():
                raise ExpiredError
        if not version:
            raise self._server.nonsense(self.resource, b"", "a list without resourceVersion")
        self._tell(self.resource, Listed(at, version))
        self._version = version

    def _read(self, lines: list[bytes], *, late: bool) -> None:
        at = self._now()
        changes: list[Change] = []
        version = self._version
        try:
            for line in lines:
                try:
                    event = self._events.decode(line)
                    if event.type == _ERROR:
                        raise self._refusal(event.object)
                    version = self._change(event, changes) or version
                except msgspec.MsgspecError as error:
                    raise self._server.nonsense(self.resource, line, str(error)) from None
        finally:  # what came before a broken line is true
            self._version = version
            told = Changed(at, version, tuple(changes), late) if changes else Heard(at, version)
            self._tell(self.resource, told)

    def _change(self, event: _Event, changes: list[Change]) -> str:
        """Append what an event says and return its resource version."""
        if event.type == _BOOKMARK:
            return self._marked(event)
        try:
            item = self._objects.decode(event.object)
        except msgspec.ValidationError:
            self.unreadable += 1
            return self._marked(event)
        seen = self._sighting(item)
        if seen is not None:
            gone = event.type == _DELETED
            changes.append(Change(seen, gone, self._end(item) if gone else None))
        return str(item.metadata.resource_version)

    def _sighting(self, item: Any) -> Sighting | None:  # noqa: ANN401 - of the resource's shape
        try:
            return sighting(self.resource, item)
        except ValueError:
            self.unreadable += 1
            return None

    def _end(self, item: Any) -> datetime | None:  # noqa: ANN401 - of the resource's shape
        try:
            return end_of(item)
        except ValueError:
            return None

    def _marked(self, event: _Event) -> str:
        return msgspec.json.decode(event.object, type=_Marked).metadata.resource_version

    def _refusal(self, raw: msgspec.Raw) -> Exception:
        status = msgspec.json.decode(raw, type=_Status)
        if status.code == _GONE:
            return ExpiredError(status.message)
        return UnreachableError(
            f"API server {self._server.url}: watch of {self.resource.name}: {status.message}"
        )
