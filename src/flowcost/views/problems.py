"""Errors over HTTP: one problem+json shape (RFC 9457) for every route.

`type` names the line of `docs/reference/errors.md` that explains the error. An error that is the
server's own fault says so and nothing else: paths and internals stay in its log.
"""

from __future__ import annotations

import logging
from http import HTTPStatus

import msgspec
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from flowcost import errors
from flowcost.errors import FlowcostError

TYPE = "application/problem+json"
REFERENCE = "docs/reference/errors.md"
PROGRAMS = ("/v1/", "/metrics", "/healthz")  # nobody reads these with their eyes

STATUS: dict[type[FlowcostError], HTTPStatus] = {
    errors.UsageError: HTTPStatus.BAD_REQUEST,
    errors.FilterError: HTTPStatus.BAD_REQUEST,
    errors.RequestError: HTTPStatus.BAD_REQUEST,
    errors.UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    errors.ForbiddenError: HTTPStatus.FORBIDDEN,
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    errors.TooLargeError: HTTPStatus(413),
    errors.SegmentError: HTTPStatus(422),
    errors.SourceError: HTTPStatus(422),
    errors.TooManyError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.BusyError: HTTPStatus.SERVICE_UNAVAILABLE,
}

# RFC 9110 renamed these; Python 3.13 follows it.
_RENAMED = {413: "Content Too Large", 422: "Unprocessable Content"}

_log = logging.getLogger("flowcost.views")


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong with a request.

    `parameters` says of each parameter (or body field) what is wrong with it; `position` is the
    offending column of a filter, from 0.
    """

    type: str
    title: str
    status: int
    detail: str
    hint: str = ""
    position: int | None = None
    parameters: dict[str, str] = {}


def phrase(status: HTTPStatus) -> str:
    """Return the words of a status."""
    return _RENAMED.get(status, status.phrase)


def describe(error: FlowcostError) -> Problem:
    """Return the problem of an error; what the asker cannot change is not described."""
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), None)
    if status is None:
        return _own_fault(error.code)
    parameters: dict[str, str] = {}
    if isinstance(error, errors.FilterError):
        parameters = {"filter": error.message.splitlines()[0]}
    elif isinstance(error, errors.RequestError):
        parameters = error.parameters
    return Problem(
        type=f"{REFERENCE}#{error.code}",
        title=phrase(status),
        status=status,
        detail=error.message,
        hint=error.hint,
        position=getattr(error, "position", None),
        parameters=parameters,
    )


def response(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """Return a problem as a response."""
    body = msgspec.json.encode(problem)
    given = {"cache-control": "no-store"} | (headers or {})
    return Response(body, status_code=problem.status, media_type=TYPE, headers=given)


async def refuse(request: Request, error: Exception) -> Response:
    """Return the response to a request that raised `error` (a handler for Starlette)."""
    return refusal(request, error)


def refusal(request: Request, error: Exception) -> Response:
    """Return an error as who asks can read it: a page for people, else problem+json."""
    if isinstance(error, HTTPException):
        return _told(request, _of_router(error), dict(error.headers or {}))
    if not isinstance(error, FlowcostError):
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _told(request, _own_fault(errors.InternalError.code), {})
    problem = describe(error)
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s %s: %s", request.method, request.url.path, error)
    headers = {}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = 'Bearer realm="flowcost"'
    if isinstance(error, errors.BusyError):
        headers["retry-after"] = str(error.retry_after_s)
    return _told(request, problem, headers)


def _told(request: Request, problem: Problem, headers: dict[str, str]) -> Response:
    for_people = "text/html" in request.headers.get("accept", "")
    if not for_people or request.url.path.startswith(PROGRAMS):
        return response(problem, headers)
    from flowcost.views.web import trouble  # noqa: PLC0415 - programs need no templates

    return trouble.show(request, problem, headers)


# For `Starlette(exception_handlers=...)`.
HANDLERS = {FlowcostError: refuse, HTTPException: refuse, Exception: refuse}


def _of_router(error: HTTPException) -> Problem:
    status = HTTPStatus(error.status_code)
    code = "not-found" if status == HTTPStatus.NOT_FOUND else "request"
    detail = {404: "there is nothing at this address", 405: "this address has other methods"}
    return Problem(
        type=f"{REFERENCE}#{code}",
        title=phrase(status),
        status=status,
        detail=detail.get(status, error.detail),
    )


def _own_fault(code: str) -> Problem:
    return Problem(
        type=f"{REFERENCE}#{code}",
        title=HTTPStatus.INTERNAL_SERVER_ERROR.phrase,
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
        detail="the server could not answer; its log says why",
    )
