"""What agents posted grows old: first the rows as posted go, then the hour's sums.

What may still be posted, which receipts are kept and which hours go is decided here, from one
clock: the newest hour that a tenant has posted or now, whichever is earlier. So a server's clock
that jumps ahead refuses and deletes nothing, nor does a node's; and what came back after a long
silence is still taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from flowcost import clock
from flowcost.clock import HOUR
from flowcost.errors import FlowcostError
from flowcost.pipeline.agent_shelf import AgentShelf, Index
from flowcost.pipeline.hour import Engine, exact, resolution_of
from flowcost.resolve import Layer
from flowcost.server.inbox import Inbox
from flowcost.server.settings import Retention

EVERY = timedelta(minutes=10)


class Retiring:
    """Retention of the hours of one shelf.

    An hour goes in two steps, a pass apart: first its windows are refused, then, when none of its
    segments waits any more, it is dropped. What was dropped is on disk and stays refused, whatever
    the clock says later.
    """

    def __init__(
        self,
        shelf: AgentShelf,
        inbox: Inbox,
        layers: Callable[[str, datetime], Iterable[Layer]],
        engine: Engine,
        retention: Retention,
    ) -> None:
        self._shelf, self._inbox, self._layers = shelf, inbox, layers
        self._engine, self._retention = engine, retention
        self._newest: dict[str, datetime] = {}
        self._gone: dict[str, datetime] = {}
        self._announced: dict[str, datetime] = {}
        for tenant in shelf.tenants():
            self._gone[tenant] = shelf.dropped_before(tenant)
            for hour in shelf.hours(tenant)[-1:]:
                self.heard(tenant, hour)
        self._last: datetime | None = None
        self.troubles: list[str] = []

    def heard(self, tenant: str, hour: datetime) -> None:
        """Take note that an hour was posted."""
        self._newest[tenant] = max(hour, self._newest.get(tenant, hour))

    def oldest(self, tenant: str, now: datetime) -> datetime:
        """Return the start of the first window that may still be posted."""
        gone = self._gone.get(tenant, clock.EARLIEST)
        newest = self._newest.get(tenant)
        if newest is None:
            return gone
        return max(gone, min(now, newest + HOUR) - self._retention.late)

    def retire(self, now: datetime) -> None:
        """Drop what has outlived its retention, if it is time to look."""
        if self._last is not None and self._last <= now < self._last + EVERY:
            return
        self._last = now
        self.troubles = []
        waiting = self._inbox.hours()
        for tenant in self._shelf.tenants():
            oldest = self.oldest(tenant, now)
            refused = min(oldest, self._announced.get(tenant, clock.EARLIEST))
            self._announced[tenant] = oldest
            for hour in self._shelf.hours(tenant):
                try:
                    if hour + HOUR <= refused and (tenant, hour) not in waiting:
                        self._shelf.drop(tenant, hour)
                        self._gone[tenant] = self._shelf.dropped_before(tenant)
                    else:
                        self._age(tenant, hour, now)
                except (FlowcostError, OSError) as error:
                    self.troubles.append(f"retention of {tenant} {hour:%Y-%m-%dT%H}Z: {error}")
            self._inbox.prune(tenant, refused)

    def _age(self, tenant: str, hour: datetime, now: datetime) -> None:
        """Let go of the rows as posted of an hour that is old enough."""
        edge = min(now, self._newest.get(tenant, hour) + HOUR)
        if edge - (hour + HOUR) > self._retention.minutes:
            index = self._shelf.index(tenant, hour)
            if index is not None and not index.expired:
                self._expire(index)

    def _expire(self, index: Index) -> None:
        with self._engine.connect() as con:
            layers = self._layers(index.tenant, index.hour)
            resolution = resolution_of(con, self._shelf, index, layers)
            self._shelf.expire(con, index, exact(con, self._shelf, index, resolution))
