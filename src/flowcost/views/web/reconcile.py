"""Against the bill: what the reconciliations on record found, newest first."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from flowcost.bill.history import Record, records
from flowcost.errors import ForbiddenError, NotFoundError
from flowcost.views.reconciliation import reconciliation
from flowcost.views.tables import share
from flowcost.views.web.asked import Asked
from flowcost.views.web.frame import page

PAGE = "/reconcile"


def show(request: Request, asked: Asked) -> Response:
    """Answer with one reconciliation, the newest if the address names none.

    Raises:
        ForbiddenError: a bill is about the whole tenant, and the asker sees a part of it.
        NotFoundError: the tenant has no such reconciliation.
    """
    if asked.principal.is_scoped:
        raise ForbiddenError(
            "a bill is about the whole tenant, and you see a part of it",
            hint="the overview shows your part at list prices",
        )
    known = records(asked.ledger, tenant=asked.principal.tenant)
    wanted = request.path_params.get("bill", "")
    if wanted and wanted not in {one.assembly for one in known}:
        raise NotFoundError("there is no such reconciliation")
    if not known:
        return page(request, "reconcile_page.html", asked=asked, bill=None)
    chosen = next((one for one in known if one.assembly == wanted), known[0])
    return page(
        request,
        "reconcile_page.html",
        asked=asked,
        bill=reconciliation(chosen, known),
        others=[
            (f"{PAGE}/{one.assembly}", _name(one), one.assembly == chosen.assembly) for one in known
        ],
    )


def in_words(asked: Asked) -> str:
    """Return how much of the newest bill has an owner, for the sentence on top; or nothing."""
    if asked.principal.is_scoped:
        return ""
    known = records(asked.ledger, tenant=asked.principal.tenant)
    if not known:
        return ""
    newest = known[0]
    owned = share(newest.billed - newest.residual, newest.billed)
    return f"{owned} of the bill of {newest.month:%B %Y} has an owner"


def _name(record: Record) -> str:
    return " ".join(filter(None, (f"{record.month:%Y-%m}", record.payer)))
