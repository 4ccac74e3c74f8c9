"""A provider that runs, and a console behind a gate that trusts it."""

from datetime import timedelta

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from flowcost.access.gate import Gate
from flowcost.access.settings import Access, Grant, Issuer, Login, Proxy
from flowcost.secret import Secret
from flowcost.views import problems, sign_in
from flowcost.views.api import routes
from flowcost.views.authentication import Authentication
from flowcost.views.service import Service
from tests.access.provider import CLIENT, SECRET, Provider, running
from tests.api.conftest import NOW, PARTS

AUDIENCE = "https://costs.example.org"
GRANTS = (
    Grant(value="finops", tenant="t1", role="admin"),
    Grant(value="payments-team", tenant="t1", owners=("payments",)),
    Grant(value="elsewhere", tenant="t2"),
)


class Clock:
    """Time as the test wants it."""

    def __init__(self):
        self.at = NOW

    def __call__(self):
        return self.at

    def passes(self, **span):
        self.at += timedelta(**span)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="session")
def issuer():
    with running(Provider()) as found:
        yield found


@pytest.fixture
def provider(issuer, clock):
    """Return the provider as it was at first."""
    issuer.faults = {"now": clock.at}
    issuer.person = {"sub": "u-1", "email": "ann@example.org", "groups": ["finops"]}
    issuer.keys = issuer.keys[-1:]
    issuer.codes.clear()
    issuer.asked = dict.fromkeys(issuer.asked, 0)
    return issuer


@pytest.fixture
def settings(provider, tmp_path):
    secret = tmp_path / "client-secret"
    secret.write_text(f"{SECRET}\n")
    return Access(
        jwt=Issuer(issuer=provider.url, audience=AUDIENCE),
        oidc=Login(
            issuer=provider.url,
            client_id=CLIENT,
            client_secret=Secret(file=secret),
            public_url="https://costs.example.org",
        ),
        proxy=Proxy(peers=("10.9.0.0/24",)),
        grants=GRANTS,
    )


@pytest.fixture
def make_gate(tmp_path, clock):
    made = []

    def gate(settings, host="0.0.0.0"):
        made.append(Gate(tmp_path / ".serve", settings, host=host, now=clock))
        return made[-1]

    yield gate
    for each in made:
        each.close()


@pytest.fixture
def make_client(shop, clock):
    """Return a function that gives a browser or program in front of a gate."""

    def client(gate, peer="203.0.113.9", base="https://costs.example.org"):
        service = Service(ledger=shop, access=gate, now=clock, **dict.fromkeys(PARTS))
        app = Starlette(
            routes=[*routes(service), *sign_in.routes(service)],
            middleware=[Middleware(Authentication, service=service)],
            exception_handlers=problems.HANDLERS,
        )
        return TestClient(app, base_url=base, client=(peer, 4711), follow_redirects=False)

    return client


@pytest.fixture
def gate(make_gate, settings):
    return make_gate(settings)


@pytest.fixture
def client(make_client, gate):
    return make_client(gate)
