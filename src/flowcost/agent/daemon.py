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
from collections.abc import Callable
from datetime import date
from pathlib import Path

from flowcost import clock
from flowcost.agent import conntrack as ct
from flowcost.agent.attribution import Attribution, Line, no_join
from flowcost.agent.capture import Capture
from flowcost.agent.cgroups import Cgroups
from flowcost.agent.conntrack import Conntrack
from flowcost.agent.dns import Names
from flowcost.agent.drained import Drained, Lost
from flowcost.agent.exposition import render
from flowcost.agent.identities import Identities
from flowcost.agent.metrics import families
from flowcost.agent.status import Status
from flowcost.agent.tally import Tally
from flowcost.errors import FlowcostError
from flowcost.price import RateBook

LOG = logging.getLogger("flowcost.agent")
UNKNOWN_POD_WAIT_S = 2.0
UNKNOWN_POD_PAUSE_S = 10.0


class Agent:
    """One node's agent, over a capture that is already attached.

    `page` is the text of `/metrics` after the last round; `lines` hears the attributed lines of
    every drain.
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
    ) -> None:
        self.tally = tally or Tally()
        self.status = Status(map_rows=map_rows, map_bytes=capture.kernel_bytes())
        self.page = ""
        self._capture, self._identities, self._connections = capture, identities, connections
        self._lines = lines
        self._names = Names()
        self._attribution = Attribution(
            identities.directory, Cgroups(cgroup_root), self._names, book
        )
        self._lost: dict[tuple[str, int], Lost] = {}
        self._asked_for_pods = float("-inf")
        self._said = ""

    def run(self, stop: threading.Event, interval_s: float) -> None:
        """Do rounds every `interval_s` seconds until `stop` is set, and a last one then."""
        due = time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + interval_s, time.monotonic())
            self.round_safely()
        self.round_safely()

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
        started = time.monotonic()
        self._attribution.directory = self._identities.directory
        drained = self._capture.drain()
        self._learn_names(started)
        for path, segment in self._capture.spool.pending():
            self._take(segment, time.monotonic())
            self._capture.spool.remove(path)
        self._note(drained, started)
        self.page = render(
            families(self.tally, self.status, self._attribution.rates, self._attribution.book.name)
        )

    def _learn_names(self, now: float) -> None:
        self._names.expire(now)
        for answer in self._capture.dns_answers():
            self.status.dns_answers += 1
            owner = self._attribution.owner(answer.cgroup, answer.client, now)
            self._names.learn(owner, answer.message, now)

    def _take(self, segment: Drained, now: float) -> None:
        pause_over = now - self._asked_for_pods > UNKNOWN_POD_PAUSE_S
        if pause_over and self._attribution.unknown_pods(segment, now):
            self._asked_for_pods = now
            self._identities.refresh(UNKNOWN_POD_WAIT_S)
            self._attribution.directory = self._identities.directory
        join = self._connections.join if self._connections else no_join
        before = self._lost.get((segment.boot, segment.epoch), Lost())
        lines = self._attribution.lines(segment, join, now=now, on=_today(), lost_before=before)
        self._lost = {(segment.boot, segment.epoch): segment.lost}
        self.tally.take(lines, now)
        self._count(segment, before)
        if self._lines:
            self._lines(lines)

    def _count(self, segment: Drained, before: Lost) -> None:
        status, lost = self.status, segment.lost
        status.lost_transmitted_bytes += lost.transmitted_bytes - before.transmitted_bytes
        status.lost_received_bytes += lost.received_bytes - before.received_bytes
        status.lost_packets += lost.transmitted_packets - before.transmitted_packets
        status.lost_packets += lost.received_packets - before.received_packets
        status.dns_lost += lost.dns - before.dns
        for spill in segment.overflows():
            status.overflow_packets += spill.transmitted_packets + spill.received_packets
        for entry in segment.entries():
            status.handshakes += entry.local_handshakes + entry.remote_handshakes

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
