"""`/metrics` of the server, for one tenant: the ledger, the pipeline, budgets, the process.

Whoever scrapes is a principal like any other, with their tenant and their scopes. Names and words
are in `views.series`; where late data makes a total fall, it is a gauge.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

from msgspec import Struct
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from flowcost import __version__, clock
from flowcost.access.principal import Principal, Role
from flowcost.errors import FlowcostError
from flowcost.insights.budgets import visible
from flowcost.insights.incidents import IncidentState
from flowcost.ledger.query import Selection
from flowcost.views import problems, series
from flowcost.views.api import guard
from flowcost.views.instruments import Instruments
from flowcost.views.ledger_metrics import LedgerMetrics, seconds
from flowcost.views.service import ClusterState, Service

_WATCH_STATES = ("none", "syncing", "watching", "broken")
_COMPRESSED = 1024  # bytes from which an answer is worth compressing


class Page(Struct, frozen=True):
    """The families of one scrape, as the client library writes them."""

    families: tuple[Metric, ...]

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        return self.families


Collector.register(Page)


def routes(service: Service) -> list[BaseRoute]:
    """Return the route of `/metrics`."""
    ledger = LedgerMetrics(service.ledger, service.now)

    def scraped(request: Request) -> Response:
        asker = guard.require(request, Role.VIEWER)
        page = Page(tuple(families(service, ledger, asker)))
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        body = encode(page)
        headers = {"vary": "accept-encoding"}
        if "gzip" in request.headers.get("accept-encoding", "") and len(body) > _COMPRESSED:
            body, headers["content-encoding"] = gzip.compress(body, 1), "gzip"
        return Response(body, headers=headers, media_type=kind)

    async def endpoint(request: Request) -> Response:
        try:
            return await run_in_threadpool(scraped, request)
        except FlowcostError as error:
            return await problems.refuse(request, error)

    return [Route("/metrics", endpoint, name="metrics")]


def families(service: Service, ledger: LedgerMetrics, asker: Principal) -> Iterator[Metric]:
    """Yield every metric that `asker` may see."""
    tenant = asker.tenant
    live = service.live.state(tenant)
    selection = Selection(tenant=tenant, within=guard.within(asker))
    yield from ledger.families(selection, live.closed_until)
    yield from service.instruments.segments(tenant)
    for one, number in (
        (series.WAITING, live.waiting),
        (series.WAITING_BYTES, live.waiting_bytes),
        (series.TROUBLES, len(live.troubles)),
    ):
        yield one.family([((tenant,), number)])
    yield series.POSTED_UNTIL.family(_instant((tenant,), live.posted_until))
    yield series.CLOSED_UNTIL.family(_instant((tenant,), live.closed_until))
    yield from _clusters(tenant, service.clusters.states(tenant))
    yield from _budgets(service, asker)
    yield from _signals(service, asker)
    yield from _process(service.instruments)


def _clusters(tenant: str, states: Iterable[ClusterState]) -> Iterator[Metric]:
    found = list(states)
    yield series.NODES.family(((tenant, each.cluster), each.nodes) for each in found)
    yield series.PODS.family(((tenant, each.cluster), each.pods) for each in found)
    yield series.LAST_SEGMENT.family(
        sample for each in found for sample in _instant((tenant, each.cluster), each.last_segment)
    )
    yield series.WATCH.family(
        ((tenant, each.cluster, state), int(each.watch == state))
        for each in found
        for state in _WATCH_STATES
    )


def _budgets(service: Service, asker: Principal) -> Iterator[Metric]:
    month = clock.month_of(service.now())
    states = [
        state
        for state in service.budgets.states(asker.tenant, month)
        if visible(f"{state.kind}:{state.name}", asker)
    ]
    measures: tuple[tuple[series.Series, list[series.Number]], ...] = (
        (series.LIMIT, [series.usd(state.limit) for state in states]),
        (series.SPENT, [series.usd(state.spent) for state in states]),
        (series.UNPRICED, [state.unpriced_bytes for state in states]),
        (series.EXCEEDED, [int(state.exceeded) for state in states]),
    )
    for one, numbers in measures:
        yield one.family(
            ((asker.tenant, state.kind, state.name), number)
            for state, number in zip(states, numbers, strict=True)
        )


def _signals(service: Service, asker: Principal) -> Iterator[Metric]:
    tenant = asker.tenant
    counts = Counter(
        incident.state
        for incident in service.incidents.incidents(tenant)
        if visible(incident.target, asker)
    )
    yield series.INCIDENTS.family(((tenant, state), counts[state]) for state in IncidentState)
    places = service.incidents.destinations(tenant)
    yield series.DELIVERIES.family(
        ((tenant, each.name, outcome), number)
        for each in places
        for outcome, number in (("delivered", each.delivered), ("failed", each.failed))
    )
    yield series.UNDELIVERED.family(((tenant, each.name), each.waiting) for each in places)


def _process(instruments: Instruments) -> Iterator[Metric]:
    yield from instruments.registry.collect()
    yield series.INFO.family([((__version__,), 1)])


def _instant(labels: tuple[str, ...], instant: datetime | None) -> Iterator[series.Sample]:
    """Yield a sample where there is an instant: never is no number."""
    if instant is not None:
        yield labels, seconds(instant)
