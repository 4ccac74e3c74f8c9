"""Against the bill: where a reconciliation stands, or how to make one."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from flowcost.views.web.asked import Asked
from flowcost.views.web.frame import page

PAGE = "/reconcile"


def show(request: Request, asked: Asked) -> Response:
    """Answer with how to hold the ledger against a bill."""
    return page(request, "reconcile.html", asked=asked)
