"""Signing in and out of the console: pages that send a browser to the provider and back.

What is remembered of a sign-in under way is kept here, by its state; the browser holds the same
state in a cookie, so that nobody can end a sign-in that another browser began.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from flowcost.access.gate import Gate
from flowcost.access.origin import refuse_other_sites
from flowcost.access.provider import CALLBACK, Provider
from flowcost.access.roles import principal_of
from flowcost.access.sessions import COOKIE, LOGIN_COOKIE, LOGIN_LASTS
from flowcost.errors import FlowcostError, NotFoundError, UnauthenticatedError
from flowcost.views import problems
from flowcost.views.authentication import asking
from flowcost.views.service import Service

LOGIN = "/login"
LOGOUT = "/logout"


def routes(service: Service) -> list[BaseRoute]:
    """Return the pages of signing in; without a provider they say that there is none."""
    gate = service.access
    return [
        Route(LOGIN, _told(gate, _begin), methods=["GET"], name="login"),
        Route(CALLBACK, _told(gate, _end), methods=["GET"], name="callback"),
        Route(LOGOUT, _told(gate, _sign_out), methods=["POST"], name="logout"),
    ]


Page = Callable[[Gate, Request], Awaitable[Response]]


def _told(gate: Gate, page: Page) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await page(gate, request)
        except FlowcostError as error:
            return await problems.refuse(request, error)

    return answer


async def _begin(gate: Gate, request: Request) -> Response:
    """Send the browser to the provider."""
    provider = _provider(gate)
    target = own_path(request.query_params.get("next", "/"))
    login = await run_in_threadpool(gate.sessions.begin, target, gate.now())
    answer = RedirectResponse(await provider.address(login), HTTPStatus.SEE_OTHER)
    _set(answer, LOGIN_COOKIE, login.state, provider, seconds=int(LOGIN_LASTS.total_seconds()))
    return answer


async def _end(gate: Gate, request: Request) -> Response:
    """Take back who signed in, and open their session."""
    provider = _provider(gate)
    state, code = (request.query_params.get(name, "") for name in ("state", "code"))
    mine = request.cookies.get(LOGIN_COOKIE, "")
    if not state or not hmac.compare_digest(state.encode(), mine.encode()):
        raise UnauthenticatedError("this browser did not begin this sign-in", hint="try again")
    login = await run_in_threadpool(gate.sessions.take, state, gate.now())
    if login is None:
        raise UnauthenticatedError("this sign-in has ended already", hint="try again")
    if not code:
        reason = request.query_params.get("error", "no code")[:100]
        raise UnauthenticatedError(f"the provider did not sign you in: {reason}")
    claims = await provider.claims(code, login)
    peer = request.client.host if request.client else ""
    subject = str(claims.get("email") or claims["sub"])
    principal = principal_of(claims, subject, gate.settings.grants)
    lasts = provider.settings.session

    def open_session() -> str:
        secret = gate.sessions.open(principal, gate.now(), lasts)
        gate.audit.record(
            tenant=principal.tenant,
            who=principal.subject,
            action="signIn",
            at=gate.now(),
            peer=peer,
        )
        return secret

    secret = await run_in_threadpool(open_session)
    answer = RedirectResponse(login.target, HTTPStatus.SEE_OTHER)
    _set(answer, COOKIE, secret, provider, seconds=int(lasts.total_seconds()))
    answer.delete_cookie(LOGIN_COOKIE)
    return answer


async def _sign_out(gate: Gate, request: Request) -> Response:
    """End the session."""
    refuse_other_sites(asking(request), gate.settings.oidc.public_url)
    secret = request.cookies.get(COOKIE, "")
    if secret:
        await run_in_threadpool(gate.sessions.end, secret)
    answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE)
    return answer


def own_path(text: str) -> str:
    """Return `text` if it is a path of this server, else `/`: no way leads to another site."""
    local = text.startswith("/") and not text.startswith(("//", "/\\"))
    return text if local and text.isprintable() and "\\" not in text else "/"


def _provider(gate: Gate) -> Provider:
    if gate.provider is None:
        raise NotFoundError(
            "this server has no provider to sign in with", hint="configure [access.oidc]"
        )
    return gate.provider


def _set(answer: Response, name: str, value: str, provider: Provider, *, seconds: int) -> None:
    answer.set_cookie(
        name,
        value,
        max_age=seconds,
        path="/",
        secure=provider.settings.public_url.startswith("https:"),
        httponly=True,
        samesite="lax",
    )
    answer.headers["cache-control"] = "no-store"
