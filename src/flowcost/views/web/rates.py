"""The dated prices behind the figures: where each was published, when it was read, what it made."""

from __future__ import annotations

from datetime import date

from starlette.requests import Request
from starlette.responses import Response

from flowcost.ledger.rates_used import Applied, rates_used
from flowcost.views.tables import share
from flowcost.views.web import grid
from flowcost.views.web.asked import Asked
from flowcost.views.web.controls import controls
from flowcost.views.web.flows import narrowed
from flowcost.views.web.frame import page
from flowcost.views.web.grid import BYTES, MONEY, Cell, Grid, Head, Row

PAGE = "/rates"
OLD = 90  # days after which a price wants another look

_HEADS = (
    Head(label="meter"),
    Head(label="operation"),
    Head(label="region"),
    Head(label="price", number=True),
    Head(label="valid from"),
    Head(label="book"),
    Head(label="checked"),
    Head(label="metered", number=True),
    Head(label="list cost", number=True),
    Head(label="share", number=True),
    Head(label="source"),
)


def show(request: Request, asked: Asked) -> Response:
    """Answer with every rate that priced a charge."""
    bar = controls(asked, PAGE)
    if bar.trouble or asked.window is None:
        status = 400 if bar.trouble else 200
        return page(request, "rates.html", asked=asked, bar=bar, rows=None, status=status)
    found = asked.answer(rates_used, asked.selection)
    whole = sum(each.list_cost for each in found)
    today = asked.now.date()
    ages = [(today - each.rate.checked_on).days for each in found if each.rate]
    return page(
        request,
        "rates.html",
        asked=asked,
        bar=bar,
        rows=Grid(
            id="rates",
            title="Rates",
            heads=_HEADS,
            rows=tuple(_row(asked, each, whole, today) for each in found),
        ),
        oldest=max(ages, default=0),
        old=OLD,
    )


def _row(asked: Asked, each: Applied, whole: int, today: date) -> Row:
    metered = (
        grid.number(BYTES, each.quantity)
        if each.unit == "bytes"
        else Cell(text=f"{each.quantity} {each.unit}", exact=str(each.quantity), number=True)
    )
    tail = (
        metered,
        grid.number(MONEY, each.list_cost if each.rate else None),
        Cell(text=share(each.list_cost, whole), number=True, bar=grid.part(each.list_cost, whole)),
    )
    rate = each.rate
    if rate is None:
        blank = Cell(text="")
        head = Cell(text="(unpriced)", href=narrowed(asked, {"rate": "(unpriced)"}))
        return Row(cells=(head, *(blank,) * 6, *tail, blank))
    age = (today - rate.checked_on).days
    return Row(
        cells=(
            Cell(
                text=rate.usage_type or "nothing metered",
                href=narrowed(asked, {"usage_type": rate.usage_type}),
                tone="name",
            ),
            Cell(text=rate.operation),
            Cell(text=" to ".join(filter(None, (rate.region, rate.to_region)))),
            Cell(text=f"{rate.price} {rate.currency}/{rate.per}", number=True),
            Cell(text=rate.effective_from.isoformat()),
            Cell(text=rate.book),
            Cell(text=f"{rate.checked_on}, {age} d", tone="unsure" if age > OLD else ""),
            *tail,
            _source(rate.source_url),
        ),
    )


def _source(url: str) -> Cell:
    """Return where a price was published; a book can name a file, which is no link."""
    href = url if url.startswith("https://") else ""
    return Cell(text=url.removeprefix("https://"), tone="words", href=href)
