"""What is counted as it happens: requests, posted segments, the process itself.

One per server, handed around in `Service`; the middleware and the inbox below count into it, and
`/metrics` reads it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import Metric
from prometheus_client.process_collector import ProcessCollector
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flowcost.errors import BusyError
from flowcost.views import series

if TYPE_CHECKING:
    from flowcost.views.service import Inbox, Receipt

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)

disable_created_metrics()  # type: ignore[no-untyped-call] # process_start_time_seconds says it


class Instruments:
    """The counts of one server since it began."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        requests, duration = series.REQUESTS, series.DURATION
        self.requests = Counter(
            requests.name, requests.help, requests.labels, registry=self.registry
        )
        self.duration = Histogram(
            duration.name,
            duration.help,
            duration.labels,
            registry=self.registry,
            buckets=_SECONDS,
        )
        ProcessCollector(namespace=series.PROCESS, registry=self.registry)
        self._segments: Tally[tuple[str, str, str]] = Tally()
        self._bytes: Tally[tuple[str, str]] = Tally()
        self._lock = threading.Lock()

    def posted(self, tenant: str, cluster: str, outcome: str, size: int) -> None:
        """Count one posted segment; `size` is its encoded bytes."""
        with self._lock:
            self._segments[tenant, cluster, outcome] += 1
            if outcome == "accepted":
                self._bytes[tenant, cluster] += size

    def segments(self, tenant: str) -> Iterator[Metric]:
        """Yield what a tenant's agents have posted."""
        with self._lock:
            counts, sizes = dict(self._segments), dict(self._bytes)
        for one, found in ((series.SEGMENTS, counts), (series.SEGMENT_BYTES, sizes)):
            rows: list[series.Sample] = [(k, n) for k, n in found.items() if k[0] == tenant]
            yield one.family(sorted(rows))


class CountedInbox:
    """An inbox whose receipts and refusals are counted."""

    def __init__(self, inbox: Inbox, instruments: Instruments) -> None:
        self.inbox = inbox
        self.instruments = instruments

    def put(self, tenant: str, cluster: str, body: bytes) -> Receipt:
        """Return once the segment is durable, as `Inbox.put` does."""
        outcome = "refused"
        try:
            receipt = self.inbox.put(tenant, cluster, body)
            outcome = "accepted" if receipt.fresh else "repeated"
        except BusyError:
            outcome = "busy"
            raise
        finally:
            self.instruments.posted(tenant, cluster, outcome, len(body))
        return receipt


class Timed:
    """ASGI middleware, the outermost one: how long each answer took, by route."""

    def __init__(self, app: ASGIApp, instruments: Instruments) -> None:
        self.app = app
        self.instruments = instruments
        self._paths: dict[int, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and time it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        start = time.perf_counter()
        try:
            await self.app(scope, receive, sent)
        finally:
            seconds = time.perf_counter() - start
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = self._route(scope)
            self.instruments.requests.labels(method, route, str(status)).inc()
            self.instruments.duration.labels(method, route).observe(seconds)

    def _route(self, scope: Scope) -> str:
        """Return the path of the route as it was declared: there are few of those."""
        if not self._paths and "app" in scope:
            self._paths = dict(_declared(scope["app"].routes))
        return self._paths.get(id(scope.get("endpoint")), "(none)")


def _declared(routes: Iterable[BaseRoute], above: str = "") -> Iterator[tuple[int, str]]:
    for route in routes:
        if isinstance(route, Mount):
            yield id(route.app), f"{above}{route.path}/"
            yield from _declared(route.routes, above + route.path)
        elif isinstance(route, Route):
            yield id(route.endpoint), above + route.path
