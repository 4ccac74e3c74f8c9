"""Who asks, once per request: one middleware puts the principal on every request's state.

It decides nothing about rights; a route asks `views.api.guard` for those. Without credentials a
request goes on without a principal, so that a page can offer to sign in.
"""

from __future__ import annotations

from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from flowcost.access.asking import Asking
from flowcost.errors import FlowcostError
from flowcost.views import problems
from flowcost.views.service import Service


class Authentication:
    """ASGI middleware: sets `state.principal` (if any) and `state.service`."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse credentials that do not hold."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["service"] = self.service
        state["principal"] = None
        try:
            state["principal"] = await self.service.access.principal(asking(HTTPConnection(scope)))
        except FlowcostError as error:
            refusal = await problems.refuse(Request(scope), error)
            await refusal(scope, receive, send)
            return
        await self.app(scope, receive, send)


def asking(connection: HTTPConnection) -> Asking:
    """Return what a request says about who sends it."""
    headers: dict[str, list[str]] = {}
    for name, value in connection.headers.items():
        headers.setdefault(name, []).append(value)
    return Asking(
        headers={name: tuple(values) for name, values in headers.items()},
        cookies=dict(connection.cookies),
        peer=connection.client.host if connection.client else "",
        method=str(connection.scope["method"]),
        path=str(connection.scope["path"]),
    )
