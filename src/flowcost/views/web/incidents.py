"""A person moves an incident: acknowledged, resolved, or dismissed with a reason."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from flowcost.access.origin import refuse_other_sites
from flowcost.access.principal import Role
from flowcost.errors import NotFoundError, TooLargeError
from flowcost.insights.budgets import visible
from flowcost.views.api.guard import require
from flowcost.views.authentication import asking
from flowcost.views.service import Service
from flowcost.views.web.frame import HEADERS

MOST = 4096  # bytes of a form


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a small form that one of our own pages sent.

    Raises:
        ForbiddenError: another site sent it, in the name of who is signed in here.
        TooLargeError: it is not small.
    """
    refuse_other_sites(asking(request))
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST:
            raise TooLargeError(f"the form has more than {MOST} bytes")
    return dict(parse_qsl(body.decode("utf-8", "replace")))


def move(request: Request, service: Service, form: dict[str, str]) -> Response:
    """Move an incident and go back to the findings.

    Raises:
        UnauthenticatedError: nobody said who asks.
        ForbiddenError: a lesser role than editor.
        NotFoundError: no such incident that the asker may see.
        UsageError: an unknown state, or a dismissal without a reason.
    """
    asker = require(request, Role.EDITOR)
    wanted = request.path_params["id"]
    known = service.incidents.incidents(asker.tenant)
    seen = [each for each in known if each.id == wanted and visible(each.target, asker)]
    state, reason = form.get("state", ""), form.get("reason", "").strip()
    moved = seen and service.incidents.move(
        asker.tenant, wanted, state, who=asker.subject, reason=reason
    )
    if not moved:
        raise NotFoundError("there is no such incident", hint="it may belong to another team")
    return RedirectResponse("/findings#incidents", 303, HEADERS)
