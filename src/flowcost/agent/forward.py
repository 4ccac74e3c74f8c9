"""From the drain to the server: record, keep the outbox within its bound, let the poster work.

While the server is away the outbox grows. Neighbours of one hour are merged as they gather; near
the bound they lose ports and names; at the bound nothing more is drained: the kernel's maps go on
counting, and tell what they have no row for by pod. No byte is given up at any stage, and each
shows in the metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from flowcost import clock
from flowcost.agent.conversations import Conversation
from flowcost.agent.drained import Drained
from flowcost.agent.merge import RUN, compact
from flowcost.agent.outbox import Outbox
from flowcost.agent.poster import Poster
from flowcost.agent.recorder import Recorder
from flowcost.agent.status import Status


class Forward:
    """The way to the server, for the thread that drains; `poster` runs on its own."""

    def __init__(self, outbox: Outbox, poster: Poster, recorder: Recorder) -> None:
        self._outbox, self._poster, self._recorder = outbox, poster, recorder
        self._merged = self._coarsened = 0
        self._settled = 0  # segments left by the last merge
        self._coarse_size = 0

    def room(self, spooled_bytes: int) -> bool:
        """Return whether another drain may be taken while the spool holds so many bytes."""
        return self._outbox.size + spooled_bytes < self._outbox.limit_bytes

    def begin(self, drained: Drained, source: Path) -> None:
        """Start with a drain that stands in the spool as `source`."""
        self._recorder.begin(drained, source)

    def watch(self, found: Iterable[Conversation], now: float) -> Iterator[Conversation]:
        """Yield the conversations of the drain on, recorded."""
        for one in found:
            self._recorder.add(one, now)
            yield one

    def commit(self, now: float) -> None:
        """Put the drain into the outbox, and take it from the spool.

        Raises:
            NotPermittedError: the disk refuses; the drain stays in the spool.
        """
        self._recorder.commit(now)
        self._poster.wake()

    def tend(self) -> None:
        """Keep the outbox small.

        Raises:
            NotPermittedError: the disk refuses.
        """
        self._settled = min(self._settled, len(self._outbox))
        if len(self._outbox) >= self._settled + RUN:
            self._merged += compact(self._outbox)
            self._settled = len(self._outbox)
        step = self._outbox.limit_bytes // 16
        if self._outbox.size > max(12 * step, self._coarse_size + step):
            self._coarsened += compact(self._outbox, coarse=True)
            self._coarse_size = self._outbox.size
        self._coarse_size = min(self._coarse_size, self._outbox.size)

    def report(self, status: Status) -> None:
        """Write how the outbox and the poster fare."""
        posting, waiting = self._poster.status, self._outbox.entries()
        status.outbox_segments = len(waiting)
        status.outbox_bytes = self._outbox.size
        status.outbox_limit = self._outbox.limit_bytes
        oldest = waiting[0].start if waiting else _now()
        status.outbox_age_seconds = max(0, _now() - oldest)
        status.refused_segments = self._outbox.set_aside()
        status.posted_segments, status.posted_bytes = posting.segments, posting.bytes
        status.post_failures = dict(posting.failures)
        status.merged_segments, status.coarsened_segments = self._merged, self._coarsened


def _now() -> int:
    return int(clock.now().timestamp())
