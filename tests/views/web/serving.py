"""A console over a ledger, as a server would assemble it: who asks is decided outside."""

import socket
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.testclient import TestClient

from flowcost.access.principal import Principal, Role
from flowcost.views import problems
from flowcost.views.authentication import Authentication
from flowcost.views.service import LiveState, Service
from flowcost.views.web import routes

NOW = datetime(2026, 11, 3, 3, tzinfo=UTC)
VIEWER = Principal(tenant="t1", subject="ann@example.org")
ADMIN = Principal(tenant="t1", subject="root@example.org", role=Role.ADMIN)


class Nothing:
    """A server that has heard of nothing yet."""

    def states(self, tenant, month=None):
        return []

    def incidents(self, tenant, *, states=()):
        return []

    def state(self, tenant):
        return LiveState(posted_until=None, closed_until=None, waiting=0, waiting_bytes=0)


def service(ledger, now=NOW, **parts):
    """Return what the views stand on; `parts` replace what has heard of nothing."""
    names = ("inbox", "live", "clusters", "budgets", "incidents")
    nothing = {name: Nothing() for name in names}
    return Service(**{**nothing, "ledger": ledger, "now": lambda: now, **parts})


class Known:
    """Access that knows who asks; None is nobody."""

    is_open = False

    def __init__(self, principal, provider=None):
        self.who, self.provider = principal, provider

    async def principal(self, asking):
        return self.who


def console(ledger, principal=VIEWER, provider=None, *, with_access=False, **parts):
    """Return the console as an ASGI application; with its access, to change who asks."""
    access = Known(principal, provider)
    stands_on = service(ledger, access=access, **parts)
    app = Starlette(
        routes=[*routes(stands_on), Route("/broken", _broken)],
        middleware=[Middleware(Authentication, service=stands_on)],
        exception_handlers=problems.HANDLERS,
    )
    return (app, access) if with_access else app


def _broken(request):
    raise RuntimeError("/srv/secret: internals")


def visitor(app, **options):
    """Return a client that asks as a browser does."""
    return TestClient(app, headers={"accept": "text/html"}, **options)


@contextmanager
def running(app):
    """Serve `app` on loopback and yield its address."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
