"""An endpoint is a row: method, path, who may, what it takes, what it gives.

Routing, decoding of parameters, conditional answers, OpenAPI, the reference and the tests of
rights are all made from these rows; a handler is a plain function from question to answer.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec
from anyio.to_thread import run_sync
from msgspec import Struct
from msgspec.structs import asdict
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from flowcost import __version__
from flowcost.access.origin import SAFE
from flowcost.access.principal import Principal, Role
from flowcost.errors import FlowcostError, ForbiddenError, LedgerError
from flowcost.ledger.query import Selection
from flowcost.ledger.state import state
from flowcost.views import problems
from flowcost.views.api import guard
from flowcost.views.api.parameters import Moment, Names, Span, Window, decode, decode_body
from flowcost.views.api.queue import Intake, Queue, read
from flowcost.views.service import Service

_log = logging.getLogger("flowcost.access")

AT_ONCE = 4  # questions to the ledger; each uses every core for its own
WAITING = 64  # questions that may wait for one of them
BODY = 64 << 10


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question: who asks, and of what; `desk` answers it."""

    principal: Principal
    service: Service
    request: Request
    desk: Desk

    def selection(self, window: Window) -> Selection:
        """Return the selection of a window, bounded by who asks."""
        return guard.bounded(self.principal, window, self.service)


Handler = Callable[[Asked, Any], Any]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One method of one path.

    `role` is the least one that may ask, None for a cluster's agents. `takes` is the struct of
    its parameters (those named in `path` come from there, the rest from the query), `body` that
    of its JSON body. `handler` returns a `gives`, or a finished response. `conditional` answers
    carry an ETag of the ledger's state. `anybody` means agents too. A `raw` handler is a coroutine
    that reads the request itself, a body of the media type `consumes`.
    """

    method: str
    path: str
    operation: str
    summary: str
    role: Role | None
    handler: Handler
    gives: type[Struct]
    takes: type[Struct] = Nothing
    body: type[Struct] | None = None
    status: HTTPStatus = HTTPStatus.OK
    conditional: bool = False
    anybody: bool = False
    raw: bool = False
    consumes: str = ""
    formats: tuple[str, ...] = ()
    refusals: tuple[HTTPStatus, ...] = ()


class Desk:
    """Answers questions a few at a time, so that many askers cannot exhaust the machine."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.questions = Queue(AT_ONCE, WAITING)
        self.intake = Intake()

    async def answer(self, endpoint: Endpoint, request: Request) -> Response:
        """Return the response of one endpoint to one request."""
        try:
            answer = await self._answer(endpoint, request)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody hears it
        except FlowcostError as error:
            answer = await problems.refuse(request, error)
        asker = getattr(request.state, "principal", None)
        if asker is not None and _is_notable(endpoint, answer):
            await run_sync(_note, endpoint, request, asker, answer.status_code)
        return answer

    async def _answer(self, endpoint: Endpoint, request: Request) -> Response:
        asker = _asker(endpoint, request)
        asked = Asked(principal=asker, service=self.service, request=request, desk=self)
        given = [*request.path_params.items(), *request.query_params.multi_items()]
        takes: Any = decode(given, endpoint.takes)
        if endpoint.raw:
            return _finished(endpoint, await endpoint.handler(asked, takes))
        if endpoint.body is not None:
            takes = (takes, decode_body(await read(request, BODY), endpoint.body))
        return await self.questions.run(asker.tenant, _ask, endpoint, asked, takes)

    def route(self, of_path: Mapping[str, Endpoint]) -> Route:
        """Return the route of a path: method -> endpoint."""

        async def chosen(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            return await self.answer(of_path[method], request)

        first = next(iter(of_path.values()))
        return Route(first.path, chosen, methods=list(of_path), name=first.operation)


def routes(endpoints: Sequence[Endpoint], service: Service) -> list[Route]:
    """Return the routes of endpoints, which share one desk."""
    desk = Desk(service)
    paths: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    return [desk.route(of_path) for of_path in paths.values()]


def _asker(endpoint: Endpoint, request: Request) -> Principal:
    if endpoint.anybody:
        return guard.principal_of(request)
    if endpoint.role is not None:
        return guard.require(request, endpoint.role)
    asker = guard.principal_of(request)
    if not asker.is_agent and not guard.service_of(request).access.is_open:
        raise ForbiddenError(
            "only a cluster's agents may do this",
            hint="use the token of the cluster: flowcost serve token create",
        )
    return asker


def _is_notable(endpoint: Endpoint, answer: Response) -> bool:
    """Return whether something was changed, or refused to somebody known."""
    changes = endpoint.method not in SAFE and endpoint.role is not None
    return changes or answer.status_code == HTTPStatus.FORBIDDEN


def _note(endpoint: Endpoint, request: Request, asker: Principal, status: int) -> None:
    gate, peer = guard.service_of(request).access, guard.peer_of(request)
    tenant, who, action, at = asker.tenant, asker.subject, endpoint.operation, gate.now()
    if status == HTTPStatus.FORBIDDEN:
        gate.audit.refused(
            tenant=tenant, who=who, action=action, result="forbidden", at=at, peer=peer
        )
        return
    try:
        target, result = request.url.path, str(status)
        gate.audit.record(
            tenant=tenant, who=who, action=action, target=target, result=result, at=at, peer=peer
        )
    except LedgerError as error:  # it is done all the same
        _log.error("not in the audit log: %s by %s of %s: %s", action, who, tenant, error)


def _ask(endpoint: Endpoint, asked: Asked, takes: Any) -> Response:  # noqa: ANN401 - its struct
    tag = _tag(endpoint, asked, takes) if endpoint.conditional else ""
    headers = {"etag": tag, "vary": "Authorization, Cookie"} if tag else {}
    if tag and tag in _tags(asked.request.headers.get("if-none-match", "")):
        return Response(
            status_code=HTTPStatus.NOT_MODIFIED, headers=headers | {"cache-control": _CACHE}
        )
    found = _finished(endpoint, endpoint.handler(asked, takes))
    found.headers.update(headers)
    return found


_CACHE = "private, no-cache"  # may be kept, and is asked about again


def _finished(endpoint: Endpoint, answer: object) -> Response:
    if not isinstance(answer, Response):
        body = b"" if endpoint.status == HTTPStatus.NO_CONTENT else msgspec.json.encode(answer)
        answer = Response(body, status_code=endpoint.status, media_type="application/json")
    answer.headers.setdefault("cache-control", _CACHE if endpoint.conditional else "no-store")
    return answer


def _tag(endpoint: Endpoint, asked: Asked, takes: Struct) -> str:
    """Return the entity tag: who asks what, of which state of the ledger, of which release."""
    start, end = takes.hours(asked.service.now()) if isinstance(takes, Window) else (None, None)
    asker = asked.principal
    ledger = state(asked.service.ledger, start, end, tenant=asker.tenant)
    who = (asker.tenant, asker.namespaces, asker.owners)
    today = asked.service.now().date()  # ages are counted in days
    what = (__version__, endpoint.operation, canonical(takes), start, end, today)
    return f'W/"{hashlib.sha256(repr((ledger, who, what)).encode()).hexdigest()[:32]}"'


def canonical(takes: Struct, without: tuple[str, ...] = ()) -> str:
    """Return parameters as one text: equal questions have equal texts."""
    plain: dict[str, object] = {}
    for name, value in asdict(takes).items():
        match value:
            case Moment():
                plain[name] = value.at.isoformat()
            case Span():
                plain[name] = value.length.total_seconds()
            case Names():
                plain[name] = value.names
            case _:
                plain[name] = value
    return repr(sorted((name, value) for name, value in plain.items() if name not in without))


def _tags(header: str) -> set[str]:
    return {tag.strip() for tag in header.split(",")}
