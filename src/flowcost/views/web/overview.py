"""The overview: one sentence, then when, who pays whom, and by what it is grouped."""

from __future__ import annotations

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from flowcost.ledger.totals import Totals, totals
from flowcost.views.tables import binary, dollars, plain, share
from flowcost.views.web import ladder, reconcile
from flowcost.views.web.asked import Asked
from flowcost.views.web.breakdown import breakdown, movers
from flowcost.views.web.changes import compared
from flowcost.views.web.controls import controls
from flowcost.views.web.flows import flows
from flowcost.views.web.frame import page
from flowcost.views.web.grid import MONEY
from flowcost.views.web.same import same
from flowcost.views.web.timeline import timeline

MOVERS = 8


class Sentence(Struct, frozen=True, kw_only=True):
    """The words of the sentence on top; `trend` is up, down or nothing."""

    total: str
    exact: str
    bytes: str
    change: str
    trend: str
    attributed: str
    unknown: str
    unpriced: str


def show(request: Request, asked: Asked) -> Response:
    """Answer with the overview."""
    bar = controls(asked)
    if bar.trouble or asked.window is None:
        status = 400 if bar.trouble else 200
        return page(request, "overview.html", asked=asked, bar=bar, sentence=None, status=status)
    found = asked.answer(totals, asked.selection)
    if not found.days:
        return page(request, "nothing.html", asked=asked, bar=bar, action=ladder.OVERVIEW)
    before = asked.answer(totals, asked.before) if asked.before else None
    comparable = asked.before if before and before.days else None
    rows = compared(asked, comparable, by=asked.question.by)
    return page(
        request,
        "overview.html",
        asked=asked,
        bar=bar,
        sentence=sentence(found, before if comparable else None),
        found=found,
        trend=timeline(asked, asked.window),
        flows=flows(asked, found),
        rows=breakdown(asked, found, rows),
        movers=movers(asked, rows.moves[:MOVERS]),
        comparable=comparable is not None,
        reconciled=reconcile.in_words(asked),
        crumbs=ladder.crumbs(asked.question),
        up=ladder.up(asked.question),
        same=same(request, asked, ladder.OVERVIEW),
    )


def sentence(found: Totals, before: Totals | None) -> Sentence:
    """Return what the sentence on top says; `before` is None without a comparison."""
    change, trend = "", ""
    if before is not None:
        difference = found.list_cost - before.list_cost
        trend = "up" if difference > 0 else "down" if difference < 0 else ""
        change = f"{trend} {dollars(abs(difference))}" if trend else "unchanged"
        if trend and before.list_cost:
            change += f" ({share(abs(difference), before.list_cost)})"
    priced = found.list_cost > 0
    attributed = (
        f"{share(found.attributed_cost, found.list_cost)} of the cost has an owner"
        if priced
        else f"{share(found.attributed_bytes, found.bytes)} of the bytes have an owner"
    )
    return Sentence(
        total=dollars(found.list_cost),
        exact=str(plain(MONEY, found.list_cost)),
        bytes=binary(found.bytes),
        change=change,
        trend=trend,
        attributed=attributed,
        unknown=share(found.unknown_bytes, found.bytes),
        unpriced=binary(found.unpriced_bytes) if found.unpriced_bytes else "",
    )
