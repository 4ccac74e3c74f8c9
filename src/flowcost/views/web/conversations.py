"""The dearest conversations: both directions and every metered leg between two ends."""

from __future__ import annotations

from msgspec import structs
from starlette.requests import Request
from starlette.responses import Response

from flowcost.ledger.totals import totals
from flowcost.views.web.asked import Asked
from flowcost.views.web.breakdown import breakdown
from flowcost.views.web.changes import compared
from flowcost.views.web.controls import controls
from flowcost.views.web.frame import page
from flowcost.views.web.same import same

PAGE = "/conversations"
KEYS = ("conversation", "path")


def show(request: Request, asked: Asked) -> Response:
    """Answer with conversations by billing path."""
    bar = controls(asked, PAGE)
    if bar.trouble or asked.window is None:
        status = 400 if bar.trouble else 200
        return page(request, "conversations.html", asked=asked, bar=bar, rows=None, status=status)
    found = asked.answer(totals, asked.selection)
    if not found.days:
        return page(request, "nothing.html", asked=asked, bar=bar, action=PAGE)
    rows = compared(asked, asked.before, by=KEYS)
    by_keys = structs.replace(asked, question=structs.replace(asked.question, by=KEYS))
    return page(
        request,
        "conversations.html",
        asked=asked,
        bar=bar,
        found=found,
        rows=breakdown(asked, found, rows, page=PAGE, by=KEYS),
        same=same(request, by_keys, PAGE),
    )
