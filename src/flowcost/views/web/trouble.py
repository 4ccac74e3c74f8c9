"""What an error looks like to a person: what is wrong, the way out, and a way to sign in.

Programs get problem+json; `problems.refuse` decides who asks. A page says no more than the problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from flowcost.views.problems import Problem
from flowcost.views.web.frame import page

_TITLES = {
    400: "This cannot be asked",
    401: "Sign in",
    403: "Not yours to see",
    404: "Nothing there",
    500: "The server could not answer",
    503: "Too busy just now",
}


def show(request: Request, problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a page for a problem."""
    service = getattr(request.state, "service", None)
    provider = getattr(service.access, "provider", None) if service else None
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    own = request.method == "GET" and not request.url.path.startswith("/login")
    return page(
        request,
        "trouble.html",
        status=problem.status,
        title=_TITLES.get(problem.status, problem.title),
        message=problem.detail,
        hint=problem.hint,
        sign_in=f"/login?next={quote(here if own else '/', safe='')}" if provider else "",
        headers={**(headers or {}), "Cache-Control": "no-store"},
    )
