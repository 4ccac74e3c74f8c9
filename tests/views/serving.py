"""A server's views over the shop's ledger, with budgets, clusters and people of every kind."""

from datetime import timedelta
from decimal import Decimal

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from flowcost.insights.alerting import Alerting
from flowcost.insights.budgets import Budget
from flowcost.views import metrics, problems
from flowcost.views.authentication import Authentication
from flowcost.views.instruments import Timed
from flowcost.views.service import ClusterState, LiveState, Service
from tests.api.conftest import NOW, Door

BUDGETS = (
    Budget(kind="team", name="storefront", monthly_usd=Decimal("0.10"), tenant="t1"),
    Budget(kind="path", name="cross_az", monthly_usd=Decimal(5), tenant="t1"),
    Budget(kind="namespace", name="shop", monthly_usd=Decimal(5), tenant="t2"),
)


class Live:
    def state(self, tenant):
        if tenant != "t1":
            return LiveState(posted_until=None, closed_until=None, waiting=0, waiting_bytes=0)
        closed = NOW - timedelta(hours=2)
        return LiveState(
            posted_until=NOW, closed_until=closed, waiting=3, waiting_bytes=999, troubles=("a",)
        )


class Clusters:
    def states(self, tenant):
        if tenant != "t1":
            return ()
        return (
            ClusterState(cluster="prod", nodes=2, last_segment=NOW, watch="watching", pods=7),
            ClusterState(cluster="old", nodes=0, last_segment=None),
        )


class Stack:
    """A service over a ledger, with the alerting and the door that stand behind it."""

    def __init__(self, ledger, folder, settings=None):
        self.alerting = Alerting(
            ledger,
            folder / "signals.sqlite",
            budgets=BUDGETS,
            settings=settings,
            now=lambda: NOW,
        )
        self.door = Door(folder / "door")
        self.service = Service(
            ledger=ledger,
            inbox=None,
            live=Live(),
            clusters=Clusters(),
            budgets=self.alerting,
            incidents=self.alerting,
            now=lambda: NOW,
            access=self.door.gate,
        )

    def close(self):
        self.alerting.stop()
        self.door.gate.close()


def application(service):
    """Return `/metrics` and a few routes that answer."""

    async def thing(request):
        return PlainTextResponse(request.path_params.get("id", ""))

    return Starlette(
        routes=[
            *metrics.routes(service),
            Route("/things/{id}", thing, methods=["GET", "DELETE"]),
            Mount("/static", routes=[Route("/{file}", PlainTextResponse("x"))]),
        ],
        middleware=[
            Middleware(Timed, instruments=service.instruments),
            Middleware(Authentication, service=service),
        ],
        exception_handlers=problems.HANDLERS,
    )
