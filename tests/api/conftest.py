"""The shop's ledger behind the API, and people with every kind of right."""

import pytest
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from flowcost import clock
from flowcost.access.principal import Principal, Role
from flowcost.errors import UnauthenticatedError
from flowcost.views import problems
from flowcost.views.api import routes
from flowcost.views.authentication import Authentication
from flowcost.views.service import Service

NOW = clock.parse("2026-11-03T02:00:00Z")
VIEWER = Principal(tenant="t1", subject="ada")
PEOPLE = {
    "viewer": VIEWER,
    "editor": replace(VIEWER, role=Role.EDITOR),
    "admin": replace(VIEWER, role=Role.ADMIN),
    "payments": replace(VIEWER, owners=("payments",)),
    "nowhere": replace(VIEWER, namespaces=("no-such-namespace",)),
    "agents": replace(VIEWER, cluster="prod"),
    "stranger": replace(VIEWER, tenant="t2", role=Role.ADMIN),
}


class Named:
    """Bearer tokens that are names of `PEOPLE`."""

    is_open = False

    async def principal(self, asking):
        for value in asking.headers.get("authorization", ()):
            try:
                return PEOPLE[value.removeprefix("Bearer ")]
            except KeyError:
                raise UnauthenticatedError("no such token") from None
        return None


@pytest.fixture
def make_app():
    """Return a function that puts the API over a ledger."""

    def app(ledger, **parts):
        none = dict.fromkeys(("inbox", "live", "clusters", "budgets", "incidents"))
        service = Service(ledger=ledger, now=lambda: NOW, **none | {"access": Named()} | parts)
        return Starlette(
            routes=routes(service),
            middleware=[Middleware(Authentication, service=service)],
            exception_handlers=problems.HANDLERS,
        )

    return app


@pytest.fixture
def api(shop, make_app):
    """Return a function that asks the shop's API: `api(path, who="viewer", **query)`."""
    client = TestClient(make_app(shop))

    def ask(path, who="viewer", method="GET", headers=None, **query):
        asker = {"authorization": f"Bearer {who}"} if who else {}
        spelled = {name.rstrip("_"): value for name, value in query.items()}
        return client.request(method, path, params=spelled or None, headers=asker | (headers or {}))

    return ask
