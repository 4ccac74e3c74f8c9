"""Which address shows which page, in its one spelling, and what an error looks like."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from flowcost.errors import FlowcostError
from flowcost.views.answers import Answers
from flowcost.views.problems import refusal
from flowcost.views.service import Service
from flowcost.views.web import (
    budgets,
    charge,
    charges,
    clusters,
    completion,
    conversations,
    cost,
    coverage,
    findings,
    incidents,
    overview,
    rates,
    reconcile,
    same,
)
from flowcost.views.web.asked import Asked, asked
from flowcost.views.web.frame import HEADERS, THEMES, page
from flowcost.views.web.question import address

Show = Callable[[Request, Asked], Response]

# Pages of one question each; their address is canonical.
PAGES: dict[str, Show] = {
    "/": overview.show,
    "/conversations": conversations.show,
    "/charges": charges.show,
    "/cost": cost.show,
    "/findings": findings.show,
    "/budgets": budgets.show,
    "/coverage": coverage.show,
    "/rates": rates.show,
    "/reconcile": reconcile.show,
    "/clusters": clusters.show,
}
# Answers that take more than a question.
PARTS: dict[str, Show] = {
    "/charges/{id}": charge.show,
    "/costs.{form}": same.download,
    "/complete": completion.suggest,
    "/reconcile/{bill}": reconcile.show,
}


def routes(service: Service) -> list[BaseRoute]:
    """Return the routes of all pages."""
    answer = partial(_answer, service=service, answers=Answers())
    return [
        *(Route(path, partial(answer, show=show, canonical=True)) for path, show in PAGES.items()),
        *(Route(path, partial(answer, show=show)) for path, show in PARTS.items()),
        Route("/help", _help),
        Route("/theme", _theme, methods=["POST"]),
        Route("/incidents/{id}", partial(_moved, service=service), methods=["POST"]),
    ]


def _answer(
    request: Request,
    *,
    service: Service,
    answers: Answers,
    show: Show,
    canonical: bool = False,
) -> Response:
    try:
        found = asked(request, service, answers)
        if canonical:
            spelled = address(request.url.path, found.question)
            if spelled != _given(request):
                return RedirectResponse(spelled, 303, HEADERS)
        return show(request, found)
    except FlowcostError as error:
        return refusal(request, error)


def _given(request: Request) -> str:
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path


def _help(request: Request) -> Response:
    return page(request, "help.html")


async def _moved(request: Request, *, service: Service) -> Response:
    try:
        form = await incidents.form_of(request)
        return await run_in_threadpool(incidents.move, request, service, form)
    except FlowcostError as error:
        return refusal(request, error)


async def _theme(request: Request) -> Response:
    """Keep the choice of colours and go back; only to an address of our own."""
    try:
        form = await incidents.form_of(request)
    except FlowcostError as error:
        return refusal(request, error)
    theme, back = form.get("theme", ""), form.get("back", "/")
    parts = urlsplit(back)
    own = back.startswith("/") and not (parts.scheme or parts.netloc) and "\\" not in back
    answer = RedirectResponse(back if own and not back.startswith("//") else "/", 303, HEADERS)
    if theme in THEMES:
        answer.set_cookie("theme", theme, max_age=31_536_000, samesite="lax")
    return answer
