"""What to look at first: savings by amount, gaps by bytes, and the incidents of signals."""

from __future__ import annotations

from msgspec import Struct, structs
from starlette.requests import Request
from starlette.responses import Response

from flowcost.access.principal import Role
from flowcost.insights.budgets import visible
from flowcost.insights.incidents import Incident, IncidentState
from flowcost.ledger.findings import Noticed, findings
from flowcost.views.tables import binary, dollars
from flowcost.views.web import ladder
from flowcost.views.web.asked import Asked
from flowcost.views.web.controls import controls
from flowcost.views.web.frame import page
from flowcost.views.web.question import address, readable
from flowcost.views.web.window import moment

PAGE = "/findings"
UNSETTLED = (IncidentState.OPEN, IncidentState.ACKNOWLEDGED)


class Item(Struct, frozen=True, kw_only=True):
    """One finding as it is shown; `evidence` is the address of its charges."""

    severity: str
    code: str
    subject: str
    size: str
    amount: str
    exact: str
    hint: str
    where: str
    evidence: str
    saves: bool


class Shown(Struct, frozen=True, kw_only=True):
    """One incident as it is shown; `moves` are the states a reader may put it in."""

    incident: Incident
    opened: str
    last: str
    moves: tuple[str, ...]


def show(request: Request, asked: Asked) -> Response:
    """Answer with findings and open incidents."""
    bar = controls(asked, PAGE)
    if bar.trouble or asked.window is None:
        status = 400 if bar.trouble else 200
        return page(request, "findings.html", asked=asked, bar=bar, found=None, status=status)
    items = [_item(asked, noticed) for noticed in asked.answer(findings, asked.selection)]
    return page(
        request,
        "findings.html",
        asked=asked,
        bar=bar,
        found=True,
        savings=[item for item in items if item.saves],
        gaps=[item for item in items if not item.saves],
        incidents=_incidents(asked),
        may_move=asked.principal.role >= Role.EDITOR,
    )


def _item(asked: Asked, noticed: Noticed) -> Item:
    finding = noticed.finding
    cost = noticed.list_cost
    held = " and ".join(f"({text})" for text in (asked.question.filter, noticed.where) if text)
    question = structs.replace(asked.pinned(), filter=readable(held), by=("owner.team",))
    return Item(
        severity=finding.severity,
        code=finding.code,
        subject=finding.subject,
        size=binary(finding.bytes),
        amount="unpriced" if cost is None else dollars(cost),
        exact="" if cost is None else str(cost),
        hint=finding.hint,
        where=noticed.where,
        evidence=address(ladder.OVERVIEW, question),
        saves=noticed.saves,
    )


def _incidents(asked: Asked) -> list[Shown]:
    found = asked.service.incidents.incidents(asked.principal.tenant, states=UNSETTLED)
    return [
        Shown(
            incident=each,
            opened=moment(each.opened_at),
            last=_last(each),
            moves=tuple(state for state in IncidentState if state not in ("open", each.state)),
        )
        for each in found
        if visible(each.target, asked.principal)
    ]


def _last(incident: Incident) -> str:
    """Return who moved it last, and why; that it was opened is known."""
    if len(incident.changes) < 2:
        return ""
    change = incident.changes[-1]
    return f"{change.state} by {change.who}" + (f": {change.reason}" if change.reason else "")
