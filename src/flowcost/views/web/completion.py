"""What may stand at the cursor of a filter, as options of a list box."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import HTMLResponse

from flowcost.errors import FlowcostError
from flowcost.ledger.complete import complete
from flowcost.ledger.keys import find
from flowcost.ledger.query import costs
from flowcost.schema import Column
from flowcost.views.tables import plain
from flowcost.views.web.asked import Asked
from flowcost.views.web.frame import HEADERS, environment

VALUES = 200  # of a key, dearest first


def suggest(request: Request, asked: Asked) -> HTMLResponse:
    """Answer with the suggestions for `text` at `cursor`."""
    text = request.query_params.get("text", "")[:4000]
    cursor = request.query_params.get("cursor", "")
    at = min(int(cursor), len(text)) if cursor.isdecimal() else len(text)
    found = complete(text, at, lambda key: _values(asked, key))
    return HTMLResponse(
        environment().get_template("suggestions.html").render(suggestions=found), headers=HEADERS
    )


def _values(asked: Asked, key: str) -> Sequence[str]:
    """Return the values of a key in the asked time, dearest first."""
    if not key:
        return ()
    try:
        table = costs(asked.ledger, asked.narrowed(""), by=(key,), sort="-list_cost", limit=VALUES)
    except FlowcostError:
        return ()
    known = find(key)
    column = Column(known.name, known.type, known.doc)
    return [str(plain(column, row[0])) for row in table.rows if row[0] not in (None, "", "(other)")]
