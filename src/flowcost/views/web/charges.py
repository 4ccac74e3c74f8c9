"""The charges of a selection, dearest first: the last step before the explanation of one."""

from __future__ import annotations

from datetime import datetime

from msgspec import structs
from starlette.requests import Request
from starlette.responses import Response

from flowcost import clock
from flowcost.content import content_id
from flowcost.ledger.explain import Explanation, explain
from flowcost.ledger.totals import totals
from flowcost.views.explanations import document
from flowcost.views.web import grid, ladder, terms
from flowcost.views.web.asked import Asked
from flowcost.views.web.controls import controls
from flowcost.views.web.frame import page
from flowcost.views.web.grid import BYTES, MONEY, Cell, Grid, Head, Row
from flowcost.views.web.question import MOST_ROWS, address
from flowcost.views.web.window import hour_of_day

# What tells the charges of one hour and conversation apart, in a filter.
TOLD_BY = ("path", "usage_type", "operation", "leg", "provenance")

_HEADS = (
    Head(label="hour (UTC)"),
    Head(label="meter"),
    Head(label="operation"),
    Head(label="leg"),
    Head(label="from end"),
    Head(label="to end"),
    Head(label="metered", number=True),
    Head(label="rate"),
    Head(label="list cost", number=True),
    Head(label="sure"),
)


def show(request: Request, asked: Asked) -> Response:
    """Answer with the dearest charges."""
    bar = controls(asked, ladder.CHARGES)
    if bar.trouble or asked.window is None:
        status = 400 if bar.trouble else 200
        return page(request, "charges.html", asked=asked, bar=bar, rows=None, status=status)
    found = asked.answer(totals, asked.selection)
    if not found.days:
        return page(request, "nothing.html", asked=asked, bar=bar, action=ladder.CHARGES)
    pruned = asked.ledger.shelves.retired()
    explained = asked.answer(explain, asked.selection, top=asked.question.top + 1)
    return page(
        request,
        "charges.html",
        asked=asked,
        bar=bar,
        found=found,
        rows=_grid(asked, explained),
        pruned=pruned.hours if pruned.has(asked.window.start) else "",
        crumbs=ladder.crumbs(asked.question),
        up=ladder.up(asked.question),
    )


def charge_id(explained: Explanation) -> str:
    """Return the id of a charge: its content, so that it is the same on every machine."""
    return f"{content_id(document(explained)):016x}"


def _grid(asked: Asked, explained: list[Explanation]) -> Grid:
    question = asked.question
    top = question.top
    more = structs.replace(question, top=min(top * 4, MOST_ROWS))
    return Grid(
        id="charges",
        title="Charges",
        heads=_HEADS,
        rows=tuple(_row(asked, each) for each in explained[:top]),
        more=address(ladder.CHARGES, more) if len(explained) > top < MOST_ROWS else "",
    )


def _row(asked: Asked, each: Explanation) -> Row:
    charge = each.charge
    hour = charge["hour"]
    rate = f"{each.rate.price} {each.rate.currency}/{each.rate.per}" if each.rate else "(unpriced)"
    bytes_metered = charge["unit"] == "bytes"
    quantity = int(str(charge["quantity"]))
    return Row(
        cells=(
            Cell(text=hour_of_day(hour) if isinstance(hour, datetime) else str(hour)),
            Cell(text=str(charge["usage_type"]) or f"none ({each.path})"),
            Cell(text=str(charge["operation"])),
            Cell(text=" ".join(filter(None, (str(charge["leg"]), _implied(charge))))),
            Cell(text=_name(each.local)),
            Cell(text=_name(each.remote)),
            grid.number(BYTES, quantity)
            if bytes_metered
            else Cell(text=f"{quantity} {charge['unit']}", exact=str(quantity), number=True),
            Cell(text=rate),
            grid.number(MONEY, each.list_cost),
            Cell(text=each.confidence, tone="quiet"),
        ),
        href=_href(asked, each),
    )


def _href(asked: Asked, each: Explanation) -> str:
    """Return the address of a charge; the question around it finds it again quickly."""
    hour = each.charge["hour"]
    if not isinstance(hour, datetime):
        return ""
    values = {"path": each.path} | {name: str(each.charge[name]) for name in TOLD_BY[1:]}
    question = structs.replace(
        asked.question,
        filter=terms.held(asked.question.filter, values),
        last="",
        start=hour,
        end=hour + clock.HOUR,
    )
    return address(f"{ladder.CHARGES}/{charge_id(each)}", question)


def _implied(charge: dict[str, object]) -> str:
    return "implied" if charge["provenance"] == "implied" else ""


def _name(end: dict[str, str]) -> str:
    """Return an end at a glance, as the key `name` does."""
    workload = "/".join(filter(None, (end.get("k8s.namespace.name"), end.get("k8s.workload.name"))))
    for name in (
        workload if "k8s.workload.name" in end else "",
        end.get("service.name"),
        end.get("k8s.pod.name"),
        end.get("dns.name"),
        " ".join(filter(None, (end.get("cloud.service"), end.get("cloud.region"))))
        if "cloud.service" in end
        else "",
        end.get("cloud.resource_id"),
        end.get("address"),
        end.get("kind"),
    ):
        if name:
            return name
    return "(unattributed)"
