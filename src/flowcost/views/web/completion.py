"""What may stand at the cursor of a filter, as options of a list box."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse

from flowcost.views.completions import completions
from flowcost.views.web.asked import Asked
from flowcost.views.web.frame import HEADERS, environment


def suggest(request: Request, asked: Asked) -> HTMLResponse:
    """Answer with the suggestions for `text` at `cursor`."""
    text = request.query_params.get("text", "")[:4000]
    cursor = request.query_params.get("cursor", "")
    at = min(int(cursor), len(text)) if cursor.isdecimal() else len(text)
    found = completions(asked.ledger, asked.selection, text, at)
    return HTMLResponse(
        environment().get_template("suggestions.html").render(suggestions=found), headers=HEADERS
    )
