"""The loop: drain, learn names, ask conntrack, attribute, price, publish.

Nothing is logged per connection or per drain. A failure is counted, said once when it begins,
and the next round tries again; what is counted stays in the kernel or in the spool meanwhile.
"""

from __future__ import annotations

import logging
import os
import resource
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path

from msgspec.structs import replace

from flowcost import clock
from flowcost.agent import conntrack as ct
from flowcost.agent.attribution import Attribution
from flowcost.agent.capture import Capture
from flowcost.agent.cgroups import Cgroups
from flowcost.agent.conntrack import Backend, Conntrack, Dialed
from flowcost.agent.conversations import Conversation, conversations, no_join
from flowcost.agent.directory import Directory
from flowcost.agent.dns import Names
from flowcost.agent.drained import Drained
from flowcost.agent.exposition import Family, render
from flowcost.agent.forward import Forward
from flowcost.agent.identities import Identities, service_ranges
from flowcost.agent.lines import Line
from flowcost.agent.metrics import families
from flowcost.agent.outbox import Outbox
from flowcost.agent.poster import Poster
from flowcost.agent.recorder import Recorder
from flowcost.agent.status import Status
from flowcost.agent.tally import Tally
from flowcost.errors import FlowcostError
from flowcost.model import Identity
from flowcost.price import RateBook

LOG = logging.getLogger("flowcost.agent")
UNKNOWN_POD_WAIT_S = 2.0
UNKNOWN_POD_PAUSE_S = 10.0


class Agent:
    """One node's agent, over a capture that is already attached.

    `page` is the text of `/metrics` after the last round; `lines` hears the attributed lines of
    every drain. With `follow_services` the ranges of Service addresses follow the world.
    """

    def __init__(
        self,
        capture: Capture,
        identities: Identities,
        book: RateBook,
        *,
        cgroup_root: Path,
        connections: Conntrack | None = None,
        tally: Tally | None = None,
        map_rows: int = 0,
        lines: Callable[[list[Line]], None] | None = None,
        follow_services: bool = False,
    ) -> None:
        self.tally = tally or Tally()
        self.status = Status(map_rows=map_rows, map_bytes=capture.kernel_bytes())
        self.page = ""
        self._capture, self._identities, self._connections = capture, identities, connections
        self._lines = lines
        self._follow_services = follow_services
        self._names = Names()
        self._attribution = Attribution(
            identities.directory, Cgroups(cgroup_root), self._names, book
        )
        self._forward: Forward | None = None
        self._asked_for_pods = float("-inf")
        self._busy = threading.Lock()  # while a round changes what `collect` reads
        self._handshakes = 0  # of the drain in hand
        self._said = ""

    def post_to(self, outbox: Outbox, poster: Poster) -> None:
        """Send what is drained from now on to a server, as well as publish it here."""
        recorder = Recorder(outbox, self._attribution, self._identities.source.cluster)
        self._forward = Forward(outbox, poster, recorder)

    def run(self, stop: threading.Event, interval_s: float) -> None:
        """Do rounds every `interval_s` seconds until `stop` is set, and a last one then.

        A round more is done at the edge of each UTC hour, so that a window lies within one.
        """
        due = time.monotonic()
        while not stop.wait(max(0.0, min(due - time.monotonic(), clock.seconds_of_hour_left()))):
            if (now := time.monotonic()) >= due:
                due = max(due + interval_s, now)
            self.round_safely()
        self.round_safely()

    def health(self, patience_s: float) -> tuple[bool, str]:
        """Return whether a round was done in the last `patience_s` seconds, and what to say."""
        if time.monotonic() - self.status.last_drain >= patience_s:
            return False, "no drain lately\n"
        return True, self.status.health()

    def round_safely(self) -> None:
        """Do one round; trouble is counted and said once, never raised."""
        try:
            self.round()
        except FlowcostError as error:
            self.status.drain_failures += 1
            if str(error) != self._said:
                LOG.warning("%s", error)
            self._said = str(error)
        else:
            self._said = ""

    def round(self) -> None:
        """Take what was counted, attribute it, and publish.

        Raises:
            FlowcostError: the spool, the kernel or conntrack refused.
        """
        with self._busy:
            self._round()

    def _round(self) -> None:
        started, spool = time.monotonic(), self._capture.spool
        self._follow(self._identities.directory)
        self.status.held = bool(self._forward and not self._forward.room(spool.size()))
        drained = None if self.status.held else self._capture.drain()
        self._learn_names(started)
        for path, segment in spool.pending():
            self._take(segment, path, time.monotonic())
        if self._forward:
            self._forward.tend()
        self._note(drained, started)
        self.page = render(self._families())

    def collect(self) -> tuple[list[Family], Identity]:
        """Return every metric as of the last round, and the node they are of."""
        with self._busy:
            return list(self._families()), self.status.node

    def _families(self) -> Iterator[Family]:
        book = self._attribution.book.name
        return families(self.tally, self.status, self._attribution.rates, book)

    def _follow(self, directory: Directory) -> None:
        """Take up a new world; Services in ranges the programs do not know change the programs."""
        if directory is not self._attribution.directory and self._follow_services:
            settings = self._capture.settings
            ranges = service_ranges(directory.world)
            if ranges and ranges != settings.service_ranges:
                self._capture.adjust(replace(settings, service_ranges=ranges))
        self._attribution.directory = directory

    def _learn_names(self, now: float) -> None:
        self._names.expire(now)
        for answer in self._capture.dns_answers():
            self.status.dns_answers += 1
            owner = self._attribution.owner(answer.cgroup, answer.client, now)
            self._names.learn(owner, answer.message, now)

    def _take(self, segment: Drained, path: Path, now: float) -> None:
        """Attribute one drain; it leaves the spool before it shows, so it shows once."""
        pause_over = now - self._asked_for_pods > UNKNOWN_POD_PAUSE_S
        if pause_over and self._attribution.unknown_pods(segment, now):
            self._asked_for_pods = now
            self._identities.refresh(UNKNOWN_POD_WAIT_S)
            self._attribution.directory = self._identities.directory
        self._handshakes = 0
        found = self._watch(conversations(segment, self._join))
        if self._forward:
            self._forward.begin(segment, path)
            found = self._forward.watch(found, now)
        lines = self._attribution.lines(segment, found, now=now, on=_today())
        if self._forward:
            self._forward.commit(now)
        else:
            self._capture.spool.remove(path)
        self.tally.take(lines, now)
        self._count(segment)
        if self._lines:
            self._lines(lines)

    def _join(self, dialed: Sequence[Dialed]) -> Sequence[Backend | None]:
        """Ask conntrack; if it fails, what was dialed stays unknown: no drain waits for it."""
        try:
            return self._connections.join(dialed) if self._connections else no_join(dialed)
        except FlowcostError as error:
            self.status.join_failures += 1
            if self.status.join_failures == 1:
                LOG.warning("%s", error)
            return no_join(dialed)

    def _watch(self, found: Iterable[Conversation]) -> Iterator[Conversation]:
        for one in found:
            self._handshakes += one.local_handshakes + one.remote_handshakes
            yield one

    def _count(self, segment: Drained) -> None:
        status, lost = self.status, segment.lost_since()
        status.lost_transmitted_bytes += lost.transmitted_bytes
        status.lost_received_bytes += lost.received_bytes
        status.lost_packets += lost.transmitted_packets + lost.received_packets
        status.dns_lost += lost.dns
        status.handshakes += self._handshakes
        for spill in segment.overflows():
            status.overflow_packets += spill.transmitted_packets + spill.received_packets

    def _note(self, drained: Drained | None, started: float) -> None:
        status = self.status
        status.node = self._identities.directory.world.node
        status.drains += 1
        status.rows = len(drained) if drained else 0
        status.names = len(self._names)
        status.cgroups = len(self._attribution.cgroups)
        status.join_misses = self._attribution.join_misses
        status.conntrack_entries, status.conntrack_limit = ct.fill()
        status.identity_failures = self._identities.failures
        resolution = self._identities.directory.world.resolution
        status.identities = len(resolution.hosts) + len(resolution.ranges)
        status.spool_bytes = self._capture.spool.size()
        status.damaged_segments = self._capture.spool.damaged()
        if self._forward:
            self._forward.report(status)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        status.cpu_milliseconds = int((usage.ru_utime + usage.ru_stime) * 1000)
        status.resident_bytes = _resident()
        status.last_drain = time.monotonic()
        status.drain_milliseconds += int((status.last_drain - started) * 1000)


def _resident() -> int:
    """Return the resident memory of this process in bytes (proc(5), statm)."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


def _today() -> date:
    return clock.now().date()
