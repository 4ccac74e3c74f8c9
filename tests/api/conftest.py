"""The shop's ledger behind the API, and people with every kind of right."""

import pytest
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from flowcost.access.gate import Gate
from flowcost.access.principal import Principal, Role
from flowcost.views import problems
from flowcost.views.api import routes
from flowcost.views.authentication import Authentication
from flowcost.views.service import Service
from tests.api.behind import NOW, Clusters, Live, alerting

VIEWER = Principal(tenant="t1", subject="ada")
PEOPLE = {
    "viewer": VIEWER,
    "editor": replace(VIEWER, role=Role.EDITOR),
    "admin": replace(VIEWER, role=Role.ADMIN),
    "payments": replace(VIEWER, owners=("payments",)),
    "nowhere": replace(VIEWER, role=Role.ADMIN, namespaces=("no-such-namespace",)),
    "agents": replace(VIEWER, cluster="prod"),
    "stranger": replace(VIEWER, tenant="t2", role=Role.ADMIN),
}
PARTS = ("inbox", "live", "clusters", "budgets", "incidents")


class Door:
    """A gate with a token for each of `PEOPLE`, and how they spell it."""

    def __init__(self, folder):
        self.gate = Gate(folder, host="0.0.0.0", now=lambda: NOW)
        self.tokens = {}
        for name, principal in PEOPLE.items():
            _, self.tokens[name] = self.gate.tokens.create(principal, name, by="test", now=NOW)

    def headers(self, who):
        return {"authorization": f"Bearer {self.tokens.get(who, who)}"} if who else {}


@pytest.fixture(scope="session")
def door(tmp_path_factory):
    """Return the door that all tests go through which change nothing about it."""
    found = Door(tmp_path_factory.mktemp("door"))
    yield found
    found.gate.close()


@pytest.fixture
def own_door(tmp_path):
    """Return a door of the test's own."""
    found = Door(tmp_path / "door")
    yield found
    found.gate.close()


def app_of(ledger, gate, **parts):
    """Return the API over a ledger."""
    service = Service(ledger=ledger, access=gate, now=lambda: NOW, **dict.fromkeys(PARTS) | parts)
    return Starlette(
        routes=routes(service),
        middleware=[Middleware(Authentication, service=service)],
        exception_handlers=problems.HANDLERS,
    )


def asker(client, door):
    """Return a function that asks: `api(path, who="viewer", **query)`."""

    def ask(path, who="viewer", method="GET", headers=None, content=None, json=None, **query):
        spelled = {name.rstrip("_"): value for name, value in query.items()}
        return client.request(
            method,
            path,
            params=spelled or None,
            headers=door.headers(who) | (headers or {}),
            content=content,
            json=json,
        )

    return ask


@pytest.fixture(scope="session")
def budgets(shop, tmp_path_factory):
    """Return the shop's budgets, two of which are exceeded."""
    with alerting(shop, tmp_path_factory.mktemp("signals")) as found:
        yield found


@pytest.fixture
def parts(budgets):
    """Return what stands behind the API besides the ledger."""
    return {"live": Live(), "clusters": Clusters(), "budgets": budgets, "incidents": budgets}


@pytest.fixture
def api(shop, door, parts):
    """Return a function that asks the shop's API."""
    return asker(TestClient(app_of(shop, door.gate, **parts)), door)


@pytest.fixture
def own_api(shop, own_door):
    """Return the same, with tokens that the test may change."""
    return asker(TestClient(app_of(shop, own_door.gate)), own_door)
