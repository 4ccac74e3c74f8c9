"""How much is done at once: few questions run, some wait, the rest is told to come back.

Whatever arrives, memory is bounded: bodies are counted while they are read, and what does not fit
is refused before it is held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import ParamSpec, TypeVar

import anyio
from anyio.to_thread import run_sync
from starlette.requests import Request

from flowcost.errors import BusyError, RequestError, TooLargeError, TooManyError

P = ParamSpec("P")
T = TypeVar("T")

POSTS_AT_ONCE = 32  # bodies that are unpacked and made durable, together
POSTS_WAITING = 2000
HELD_BYTES = 128 << 20  # of all bodies that are being read or wait
BODY_LASTS_S = 60.0


class Room:
    """A bound for all askers together, and a part of it for each: no one of them fills it."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken: Counter[Hashable] = Counter()

    def enter(self, who: Hashable, size: int = 1) -> None:
        """Take `size` of the room, for `who`.

        Raises:
            TooManyError: it is more than one asker may have.
            BusyError: the room is full.
        """
        if self.taken[who] + size > self.most * 3 // 4:
            raise TooManyError("too much of yours waits already", retry_after_s=2)
        if self.taken.total() + size > self.most:
            raise BusyError("too much waits already", retry_after_s=2)
        self.taken[who] += size

    def leave(self, who: Hashable, size: int = 1) -> None:
        """Give `size` back."""
        self.taken[who] -= size
        if not self.taken[who]:
            del self.taken[who]


class Queue:
    """Runs functions on threads, a few at once."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._limiter = anyio.CapacityLimiter(at_once)
        self.room = Room(at_once + waiting)

    async def run(self, who: Hashable, function: Callable[P, T], *args: P.args, **_: P.kwargs) -> T:
        """Return what `function` returns, when the turn of `who` has come.

        Raises:
            BusyError: too many wait already.
        """
        self.room.enter(who)
        try:
            return await run_sync(function, *args, limiter=self._limiter)
        finally:
            self.room.leave(who)


class Intake:
    """Bodies that agents post: all of them together hold at most `HELD_BYTES`."""

    def __init__(self) -> None:
        self.queue = Queue(POSTS_AT_ONCE, POSTS_WAITING)
        self.bytes = Room(HELD_BYTES)

    async def take(
        self, who: Hashable, request: Request, limit: int, then: Callable[[bytes], T]
    ) -> T:
        """Return what `then` makes of a body of at most `limit` bytes, on a thread.

        Raises:
            TooLargeError: it is larger.
            BusyError: too much is held already.
        """
        counted = 0

        def count(size: int) -> None:
            nonlocal counted
            self.bytes.enter(who, size)
            counted += size

        try:
            body = await read(request, limit, count)
            return await self.queue.run(who, then, body)
        finally:
            self.bytes.leave(who, counted)


async def read(request: Request, limit: int, count: Callable[[int], None] | None = None) -> bytes:
    """Return the body of a request, at most `limit` bytes; more is never held.

    `count` is called with the size of every part before it is kept.

    Raises:
        TooLargeError: it says or turns out to be larger.
        RequestError: it does not come to an end in time.
    """
    said = request.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and int(said[:20]) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        with anyio.fail_after(BODY_LASTS_S):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                if count is not None:
                    count(len(part))
                parts.append(part)
    except TimeoutError:
        raise RequestError({"body": f"did not end within {BODY_LASTS_S:.0f} s"}) from None
    return b"".join(parts)


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body has more than {limit} bytes", hint="send less at once")
