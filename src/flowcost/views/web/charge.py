"""One charge, explained: verdict, rule, evidence, rate with its source and date, arithmetic."""

from __future__ import annotations

from msgspec import structs
from starlette.requests import Request
from starlette.responses import Response

from flowcost.errors import NotFoundError
from flowcost.ledger.explain import Explanation, explain
from flowcost.views.explanations import document
from flowcost.views.tables import dollars
from flowcost.views.web import ladder, terms
from flowcost.views.web.asked import Asked
from flowcost.views.web.charges import TOLD_BY, charge_id
from flowcost.views.web.frame import page
from flowcost.views.web.question import Question, address
from flowcost.views.web.window import hour_of_day

SOUGHT = 5000  # charges of one hour among which one is found again
_SHOWN = ("usage_type", "operation", "resource_id", "payer_account", "region", "leg")


def show(request: Request, asked: Asked) -> Response:
    """Answer with a charge of the hour that the address names.

    Raises:
        NotFoundError: the hour has no such charge, or not any more.
    """
    wanted = request.path_params["id"]
    for each in explain(asked.ledger, asked.selection, top=SOUGHT):
        if charge_id(each) == wanted:
            return _page(request, asked, each)
    raise NotFoundError(
        "there is no such charge in this hour",
        hint="late data rewrites its hour: look for it among the charges of the hour again",
    )


def _page(request: Request, asked: Asked, each: Explanation) -> Response:
    around = _around(asked)
    facts = document(each)["facts"]
    return page(
        request,
        "charge.html",
        asked=asked,
        each=each,
        cost="unpriced" if each.list_cost is None else dollars(each.list_cost),
        hour=hour_of_day(asked.window.start) if asked.window else "",
        meter=[(name, str(each.charge[name])) for name in _SHOWN if each.charge[name]],
        facts=[(k, v) for k, v in facts.items() if v not in ("", None)]
        if isinstance(facts, dict)
        else [],
        crumbs=[*ladder.crumbs(around), ladder.Crumb("", "Charges", address("/charges", around))],
        up=address("/charges", around),
    )


def _around(asked: Asked) -> Question:
    """Return the question that led to the charge, without what told it apart."""
    return structs.replace(asked.question, filter=terms.released(asked.question.filter, TOLD_BY))
