"""Readings of the ledger that take long, kept for as long as they are true, or nearly so.

A reading is made anew when what it is about has changed; one that took long then rests, so that a
ledger of any size is read for at most a tenth of the time, however often somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")
_REST = 9  # times what the reading took
_ASKERS = 32  # tenants, and parts of them, that are kept


class _Reading(Generic[T]):
    """One asker's, and the lock that lets one of them read while others wait for it."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.until: datetime | None = None
        self.of: Hashable = None
        self.found: T | None = None


class Readings(Generic[T]):
    """The last reading of each asker, safe to ask from several threads.

    A reading does for `least` at least, changed or not.
    """

    def __init__(self, now: Callable[[], datetime], least: timedelta = timedelta(0)) -> None:
        self._now, self._least = now, least
        self._kept: dict[Hashable, _Reading[T]] = {}
        self._lock = Lock()

    def of(
        self,
        asker: Hashable,
        state: Callable[[datetime], Hashable],
        read: Callable[[datetime], T],
    ) -> T:
        """Return what `asker` was told if that will do, else `read(now)`.

        `state(now)` says what a reading is about: while it is the same, so is the reading.
        """
        with self._lock:
            known = self._kept.pop(asker, None) or _Reading[T]()
            self._kept[asker] = known  # the latest asked for is the last to be forgotten
            for other in list(self._kept)[:-_ASKERS]:
                del self._kept[other]
        with known.lock:
            now = self._now()
            if known.found is not None and known.until is not None and now < known.until:
                return known.found
            of = state(now)
            if known.found is None or known.of != of:
                known.found, known.of = read(now), of
            after = self._now()
            known.until = after + max(self._least, _REST * (after - now))
            return known.found
