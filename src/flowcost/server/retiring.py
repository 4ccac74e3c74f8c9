"""What agents posted grows old: first the rows as posted go, then the hour's sums."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

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

    Ages are counted from the newest hour that was posted or from now, whichever is earlier: a
    server's clock that jumps ahead deletes nothing, a node's that does neither.
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
        self._last: datetime | None = None
        self.troubles: list[str] = []

    def oldest(self, now: datetime) -> datetime:
        """Return the start of the first window that may still be posted."""
        return now - self._retention.late

    def retire(self, now: datetime) -> None:
        """Drop what has outlived its retention, if it is time to look."""
        if self._last is not None and self._last <= now < self._last + EVERY:
            return
        self._last = now
        self.troubles = []
        for tenant in self._shelf.tenants():
            hours = self._shelf.hours(tenant)
            edge = min(now, hours[-1] + HOUR) if hours else now
            for hour in hours:
                age = edge - (hour + HOUR)
                try:
                    self._age(tenant, hour, age)
                except (FlowcostError, OSError) as error:
                    self.troubles.append(f"retention of {tenant} {hour:%Y-%m-%dT%H}Z: {error}")
        self._inbox.prune(self.oldest(now) - 2 * HOUR)

    def _age(self, tenant: str, hour: datetime, age: timedelta) -> None:
        # An hour more than is refused: what is in the inbox already still finds its hour.
        if age > self._retention.late + 2 * HOUR:
            self._shelf.drop(tenant, hour)
        elif age > self._retention.minutes:
            index = self._shelf.index(tenant, hour)
            if index is not None and not index.expired:
                self._expire(index)

    def _expire(self, index: Index) -> None:
        with self._engine.connect() as con:
            layers = self._layers(index.tenant, index.hour)
            resolution = resolution_of(con, self._shelf, index, layers)
            self._shelf.expire(con, index, exact(con, self._shelf, index, resolution))
