"""Segments leave the outbox, oldest first, as the server takes them.

Nothing is deleted before the server says it is durable. What goes wrong is counted and said once
when it changes; the next attempt waits longer each time, up to a minute, and as long as the server
asks for. A segment the server keeps failing on while it takes the next one is passed over for a
while, so that it does not hold up the others.
"""

from __future__ import annotations

import http.client
import logging
import random
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from flowcost import clock, segment
from flowcost.agent.endpoint import Answer, Endpoint
from flowcost.agent.outbox import Entry, Outbox
from flowcost.errors import FlowcostError, SourceError, UnreachableError
from flowcost.segment import Acknowledgement

LOG = logging.getLogger("flowcost.agent")
PATH = "/v1/segments"
HEADERS = {"Content-Type": segment.CONTENT_TYPE, "Content-Encoding": "deflate"}

FIRST_S, LONGEST_S = 1.0, 60.0  # pauses after failures, doubling
REFUSED_S = 300.0  # longest pause after an answer that only a human can change
ASKED_S = 3600.0  # longest pause a server may ask for
STUBBORN = 6  # failures of one segment in a row before the next one is tried
PASSED_OVER_S = 300.0
_SLOW = {http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE}


class Posting(Struct):
    """How posting fares; counters since the agent began. `failures` are by reason."""

    segments: int = 0
    bytes: int = 0
    failures: dict[str, int] = {}
    last_success: float = 0.0  # monotonic seconds
    said: str = ""


class Poster:
    """Posts an outbox to a server; `run` on a thread of its own, or `step` by hand.

    `jitter` returns a number in [0, 1): agents that lost their server together must not come back
    together.
    """

    def __init__(
        self,
        outbox: Outbox,
        endpoint: Endpoint,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.status = Posting(failures={})
        self._outbox, self._endpoint, self._jitter = outbox, endpoint, jitter
        self._more = threading.Event()
        self._stop = threading.Event()
        self._row = 0  # failures in a row
        self._stubborn: dict[str, int] = {}
        self._suspects: set[str] = set()  # failed while a later one was taken
        self._passed_over: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="poster", daemon=True)

    def start(self) -> None:
        """Post from now on."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something new; a pause after a failure goes on all the same."""
        self._more.set()

    def close(self, wait_s: float) -> None:
        """Stop; what can be posted at once is, for `wait_s` seconds at most."""
        self._stop.set()
        self._more.set()
        if self._thread.is_alive():
            self._thread.join(wait_s)
        self._endpoint.close()

    def _run(self) -> None:
        while True:
            pause = self.step()
            if pause is None:
                if self._stop.is_set():
                    return
                self._more.wait(LONGEST_S)
                self._more.clear()
            elif pause and self._stop.wait(pause):
                return

    def step(self) -> float | None:
        """Post one segment; return the seconds to wait before the next, None if nothing waits."""
        entry = self._next()
        if entry is None:
            return None
        try:
            body = self._outbox.body(entry)
            answer = self._endpoint.ask("POST", PATH, headers=HEADERS, body=body)
            return self._heard(entry, answer, len(body))
        except UnreachableError as error:
            return self._failed(entry, "unreachable", error.message)
        except FlowcostError as error:
            return self._failed(entry, "not_permitted", error.message, human=True)
        except OSError as error:
            where = self._outbox.path(entry)
            return self._failed(entry, "disk", f"{where}: {error.strerror}", human=True)

    def _next(self) -> Entry | None:
        """Return the oldest segment, or the second while the oldest is passed over."""
        waiting = self._outbox.postable()[:2]
        if len(waiting) == 2 and self._turned_to_second(waiting[0].name):
            return waiting[1]
        return waiting[0] if waiting else None

    def _turned_to_second(self, name: str) -> bool:
        if time.monotonic() < self._passed_over.get(name, 0.0):
            return True
        failures = self._stubborn.get(name, 0)
        return name not in self._suspects and failures >= STUBBORN and failures % 2 == 1

    def _heard(self, entry: Entry, answer: Answer, size: int) -> float:
        status = answer.status
        if status in {http.client.OK, http.client.CREATED} and _acknowledges(answer, entry):
            return self._succeeded(entry, size)
        if status == http.client.REQUEST_ENTITY_TOO_LARGE:
            self._split(entry)
            return 0.0
        if status == http.client.UNPROCESSABLE_ENTITY:
            self._count("422")
            self._refuse(entry, answer.body[:200].decode(errors="replace"))
            return 0.0
        told = _retry_after(answer) if status in _SLOW else 0.0
        words = f"{self._endpoint.what} {self._endpoint.url}: answered {status}"
        if status in {http.client.OK, http.client.CREATED}:
            words += " without acknowledging the segment"
        human = 400 <= status < 500 and status not in _SLOW
        return self._failed(entry, str(status), words, at_least=told, human=human)

    def _succeeded(self, entry: Entry, size: int) -> float:
        self._outbox.acknowledged(entry)
        status = self.status
        status.segments += 1
        status.bytes += size
        status.last_success = time.monotonic()
        self._row = 0
        self._stubborn.pop(entry.name, None)
        self._passed_over.pop(entry.name, None)
        self._suspects.discard(entry.name)
        for name in self._stubborn:
            if name < entry.name:
                self._suspects.add(name)
        if status.said:
            LOG.info("%s: takes segments again; %d wait", self._endpoint.url, len(self._outbox))
            status.said = ""
        return 0.0

    def _failed(
        self, entry: Entry, reason: str, words: str, *, at_least: float = 0.0, human: bool = False
    ) -> float:
        """Count and say a failure once; return how long to wait."""
        self._count(reason)
        if reason.startswith("5"):
            self._stubborn[entry.name] = self._stubborn.get(entry.name, 0) + 1
            if entry.name in self._suspects:
                self._suspects.discard(entry.name)
                self._passed_over[entry.name] = time.monotonic() + PASSED_OVER_S
        if words != self.status.said:
            LOG.warning("%s\n  segments are kept in %s", words, self._outbox.directory)
            self.status.said = words
        longest = REFUSED_S if human else LONGEST_S
        pause = min(longest, FIRST_S * 2 ** min(self._row, 20))
        self._row += 1
        return float(max(at_least, pause / 2) + pause / 2 * self._jitter())

    def _count(self, reason: str) -> None:
        self.status.failures[reason] = self.status.failures.get(reason, 0) + 1

    def _refuse(self, entry: Entry, words: str) -> None:
        LOG.warning(
            "%s: refuses a segment, which is set aside in %s: %s",
            self._endpoint.url,
            self._outbox.quarantine,
            words,
        )
        self._outbox.refused(entry)

    def _split(self, entry: Entry) -> None:
        """Replace a segment that is too large by its halves."""
        self._count("413")
        try:
            whole = self._outbox.read(entry)
        except SourceError as error:
            self._refuse(entry, error.message)
            return
        flows = list(whole.flows)
        if len(flows) < 2:
            self._refuse(entry, "too large, and a single flow")
            return
        replacement = self._outbox.replacing(self._outbox.path(entry))
        middle = len(flows) // 2
        for half in (flows[:middle], flows[middle:]):
            uids = {flow.local_uid for flow in half}
            part = replace(
                whole,
                epoch=self._outbox.epoch,
                sequence=self._outbox.next_sequence(),
                pods=tuple(pod for pod in whole.pods if pod.uid in uids),
                flows=segment.pack(half),
            )
            replacement.stage(part)
        replacement.commit()


def _acknowledges(answer: Answer, entry: Entry) -> bool:
    try:
        told = msgspec.json.decode(answer.body, type=Acknowledgement)
    except msgspec.MsgspecError:
        return False
    return told.acknowledged == entry.identity


def _retry_after(answer: Answer) -> float:
    """Return the seconds the server asks to wait (RFC 9110 section 10.2.3)."""
    text = answer.headers.get("Retry-After", "")
    if text.isdecimal():
        return min(ASKED_S, float(text))
    try:
        at = parsedate_to_datetime(text)
        return min(ASKED_S, max(0.0, (at - clock.now()).total_seconds()))
    except (TypeError, ValueError):  # no date, or one without a zone
        return 0.0
