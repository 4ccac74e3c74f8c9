"""The live pipeline: the inbox becomes hours, hours become the ledger, again and again.

A round takes what waits into its hours (`pipeline.agent_shelf`) and attributes every hour whose
set of segments or flow logs is not the one its ledger was made from. Nothing else is remembered:
a round after a crash, a lost partition or a run of flow logs finds what is to be done by looking.

An hour is open until `lateness` after its end. While it is open, better knowledge of identities is
applied too; at its close for the last time. After that only late data changes it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from flowcost import clock, segment
from flowcost.access.principal import OPEN
from flowcost.clock import HOUR
from flowcost.errors import FlowcostError
from flowcost.ledger import Ledger
from flowcost.ledger.query import Selection, Table
from flowcost.pipeline.agent_shelf import AgentShelf, Index
from flowcost.pipeline.hour import Engine, attribute_hour, attributing
from flowcost.pipeline.log_hours import LogHours
from flowcost.pipeline.minutes import Minutes
from flowcost.price import RateBook
from flowcost.server.inbox import Inbox, Waiting
from flowcost.server.knowledge import Knowledge
from flowcost.server.retiring import Retiring
from flowcost.server.settings import Live as Settings
from flowcost.server.settings import Retention
from flowcost.sources.segments import Received
from flowcost.views.service import LiveState

LOG = logging.getLogger("flowcost.server")
LOOK_AGAIN = timedelta(hours=1)  # at hours that are closed, for what others changed
SHARE = 0.75  # of the time, at most, that rounds may take when they are long

Place = tuple[str, datetime]  # tenant, hour


class Live:
    """The pipeline over one ledger; `round` is one pass, `run` passes until it is told to stop."""

    def __init__(
        self,
        ledger: Ledger,
        inbox: Inbox,
        knowledge: Knowledge,
        rates: RateBook,
        *,
        settings: Settings | None = None,
        retention: Retention | None = None,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self._ledger, self._inbox, self._knowledge, self._rates = ledger, inbox, knowledge, rates
        self.settings, self._now = settings or Settings(), now
        self.shelf = AgentShelf(ledger.root)
        self.engine = Engine(
            memory=self.settings.memory,
            threads=self.settings.threads,
            spill=ledger.root / ".run" / "spill",
        )
        self._logs = LogHours(ledger.root)
        self._minutes = Minutes(self.shelf, self.engine, knowledge.layers, rates)
        self._retiring = Retiring(
            self.shelf, inbox, knowledge.layers, self.engine, retention or Retention()
        )
        inbox.oldest = self.oldest
        self._dirty: set[Place] = set()
        self._stale: set[Place] = set()  # open hours that newer knowledge bears upon
        self._folded: dict[Place, int] = {}  # segments that no ledger hour has yet
        self._posted: dict[str, datetime] = {}
        self._troubles: dict[Place, str] = {}
        self._looked = datetime.min.replace(tzinfo=UTC)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self.rounds = 0
        self.round_seconds = 0.0

    def start(self) -> None:
        """Begin to pass."""
        self._thread.start()

    def close(self) -> None:
        """Finish the hour at hand and stop."""
        self._stop.set()
        self._thread.join()

    def state(self, tenant: str) -> LiveState:
        """Return where the pipeline stands for one tenant."""
        waiting, size = self._inbox.waiting_of(tenant)
        with self._lock:
            folded = sum(count for (whose, _), count in self._folded.items() if whose == tenant)
            troubles = [text for (whose, _), text in self._troubles.items() if whose == tenant]
            posted = self._posted.get(tenant)
        shared = [self._inbox.trouble, *self._knowledge.troubles(), *self._retiring.troubles]
        if tenant != OPEN.tenant and any(shared):  # it names files, and other tenants
            shared = ["the server has troubles of its own; who runs it is told which"]
        return LiveState(
            posted_until=posted,
            closed_until=clock.hour_of(self._now() - self.settings.lateness),
            waiting=waiting + folded,
            waiting_bytes=size,
            troubles=tuple(text for text in (*troubles, *shared) if text),
        )

    def minutes(self, selection: Selection, by: Sequence[str]) -> Table:
        """Return costs by the minute; see `views.service.Live`."""
        return self._minutes.costs(selection, by)

    def oldest(self, tenant: str) -> datetime:
        """Return the start of the first window that a tenant may still post."""
        kept = self._ledger.shelves.retired().kept_from
        return max(kept, self._retiring.oldest(tenant, self._now()))

    def teach(self, inbox: Inbox) -> None:
        """Tell an inbox that lost its receipts what the hours hold."""
        inbox.learn(
            (
                (tenant, one.cluster, one.node, one.boot, one.epoch),
                one.window_end,
                one.runs,
            )
            for tenant, one in self.shelf.receipts()
        )

    def round(self) -> None:
        """Take in what waits, and bring every hour that needs it up to date."""
        started = time.monotonic()
        self._take_in()
        self._look()
        for place in self._due():
            if self._stop.is_set():
                break
            self._attempt(place)
        self._retiring.retire(self._now())
        self.rounds += 1
        self.round_seconds = time.monotonic() - started

    def _run(self) -> None:
        every = self.settings.every.total_seconds()
        pause = 0.0
        while not self._stop.wait(pause):
            started = time.monotonic()
            try:
                self.round()
            except Exception:
                LOG.exception("a round of the live pipeline failed; the next one tries again")
            took = time.monotonic() - started
            pause = max(every - took, took * (1 - SHARE) / SHARE, 0.1)
            pause = min(pause, max(every, took))

    # -- from the inbox to hours -------------------------------------------------------------------

    def _take_in(self) -> None:
        after, newest = 0, self._inbox.newest()
        # Only what was there when the round began: under load there is always more.
        while after < newest and not self._stop.is_set():
            chunk = list(self._inbox.waiting(after=after))
            if not chunk:
                return
            after = chunk[-1].id
            for place, waiting in _by_place(chunk):
                self._fold(place, waiting)

    def _fold(self, place: Place, waiting: list[Waiting]) -> None:
        tenant, hour = place
        try:
            received = [
                Received(tenant, one.key[1], segment.decode(one.body, "inbox"), one.body)
                for one in waiting
            ]
            with self.engine.connect() as con:
                before = self.shelf.index(tenant, hour)
                index = self.shelf.fold(con, tenant, hour, received)
        except Exception as error:  # noqa: BLE001 - one hour's trouble is not another's
            self._fail(place, error)
            return
        self._retiring.heard(tenant, hour)
        fresh = index.segments - (before.segments if before else 0)
        with self._lock:  # before they are forgotten: nobody may see a moment at which none waits
            self._dirty.add(place)
            self._folded[place] = self._folded.get(place, 0) + fresh
        self._inbox.forget([one.id for one in waiting])

    # -- from hours to the ledger ------------------------------------------------------------------

    def _look(self) -> None:
        """Find the hours whose ledger is not made from what they are."""
        self._logs.look()
        opened = self._opened()
        everywhere = not timedelta(0) <= self._now() - self._looked < LOOK_AGAIN
        for tenant in self.shelf.tenants():
            since = self._knowledge.news(tenant)
            for hour in self.shelf.hours(tenant):
                place = tenant, hour
                if hour >= opened and since is not None and since < hour + HOUR:
                    self._stale.add(place)
                if (everywhere or hour >= opened) and self._differs(place):
                    self._dirty.add(place)
        if everywhere:
            self._looked = self._now()

    def _opened(self) -> datetime:
        """Return the first hour that is open."""
        return clock.hour_of(self._now() - self.settings.lateness)

    def _differs(self, place: Place) -> bool:
        tenant, hour = place
        try:
            index = self.shelf.index(tenant, hour)
        except FlowcostError as error:
            self._fail(place, error)
            return False
        if index is None:
            return False
        expected = tuple(sorted((index.input, *self._logs.of(hour).inputs)))
        found = self._ledger.manifests(hour, hour + HOUR, tenant=tenant)
        return not found or any(manifest.inputs != expected for manifest in found)

    def _due(self) -> Iterator[Place]:
        """Yield the hours to attribute, the newest first: it is what people look at.

        Better knowledge is applied to the hour that runs, and to each other hour at its close.
        """
        running, opened = clock.hour_of(self._now()), self._opened()
        closing = {place for place in self._stale if place[1] < opened or place[1] >= running}
        yield from sorted(self._dirty | closing, key=lambda place: (place[1], place[0]),
                          reverse=True)  # fmt: skip

    def _attempt(self, place: Place) -> None:
        try:
            index = self._attribute(place)
        except Exception as error:  # noqa: BLE001 - one hour's trouble is not another's
            self._fail(place, error)
            return
        with self._lock:
            self._dirty.discard(place)
            self._stale.discard(place)
            self._folded.pop(place, None)
            self._troubles.pop(place, None)
            if index is not None:
                until = max(stream.window_end for stream in index.streams)
                instant = datetime.fromtimestamp(until // 1_000_000, UTC)
                self._posted[place[0]] = max(self._posted.get(place[0], instant), instant)

    def _attribute(self, place: Place) -> Index | None:
        tenant, hour = place
        with attributing(self._ledger.root), self.engine.connect() as con:
            index = self.shelf.index(tenant, hour)
            if index is None or not index.segments:
                return None
            attribute_hour(
                con,
                self._ledger,
                index,
                self._knowledge.layers(tenant, hour),
                self._rates,
                logs=self._logs.of(hour),
            )
        return index

    def _fail(self, place: Place, error: Exception) -> None:
        """Remember what is wrong with an hour; say it once."""
        tenant, hour = place
        text = f"{tenant} {clock.iso(hour)}: {error}"
        with self._lock:
            said = self._troubles.get(place)
            self._troubles[place] = text
        if said != text:
            LOG.error("%s", text, exc_info=not isinstance(error, FlowcostError | OSError))


def _by_place(chunk: list[Waiting]) -> Iterator[tuple[Place, list[Waiting]]]:
    found: dict[Place, list[Waiting]] = {}
    for one in chunk:
        hour = datetime.fromtimestamp(one.hour, UTC)
        found.setdefault((one.tenant, hour), []).append(one)
    yield from sorted(found.items())
