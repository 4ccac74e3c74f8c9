"""Who pays whom: from the paying owner over the billing path to the other end."""

from __future__ import annotations

from msgspec import structs

from flowcost.ledger.query import OTHER, costs
from flowcost.ledger.totals import Totals
from flowcost.views.tables import share
from flowcost.views.web import grid, ladder, terms
from flowcost.views.web.asked import Asked
from flowcost.views.web.grid import BYTES, Cell, Grid, Head, Row
from flowcost.views.web.question import address
from flowcost.views.web.same import sort_of

FLOWS = 24  # links of the sankey that a reader can still tell apart
REASONS = 400  # rates and rules of these links; each has a few
KEYS = ("owner", "path", "other.owner")

_HEADS = (
    Head(label="owner"),
    Head(label="billing path"),
    Head(label="other end"),
    Head(label="list cost", number=True),
    Head(label="share", number=True),
    Head(label="bytes", number=True),
    Head(label="unpriced bytes", number=True),
    Head(label="rate"),
)


def flows(asked: Asked, found: Totals) -> Grid:
    """Return the largest flows; each row knows the rates and rules of its charges."""
    by_bytes = asked.question.measure == "bytes"
    sort = sort_of(structs.replace(asked.question, sort=""))
    table = asked.answer(costs, asked.selection, by=KEYS, sort=sort, limit=FLOWS)
    why = _reasons(asked, sort)
    whole = found.bytes if by_bytes else found.list_cost
    return Grid(
        id="flows",
        title="Who pays whom",
        text="From the paying owner over the billing path to the other end.",
        heads=_HEADS,
        rows=tuple(_row(asked, row, whole, why.get(tuple(row[:3]), [])) for row in table.rows),
        chart="sankey",
    )


def _row(asked: Asked, row: tuple[object, ...], whole: int, why: list[tuple[str, str]]) -> Row:
    *ends, size, cost, unpriced = row
    held = dict(zip(KEYS, map(str, ends), strict=True))
    amount = int(str(size if asked.question.measure == "bytes" else cost))
    words = (
        Cell(text=value, href=narrowed(asked, {key: value}), tone="path" if key == "path" else "")
        for key, value in held.items()
    )
    return Row(
        cells=(
            *words,
            grid.money(int(str(size)), int(str(cost)), int(str(unpriced))),
            Cell(text=share(amount, whole), number=True, bar=grid.part(amount, whole)),
            grid.number(BYTES, size),
            grid.number(BYTES, unpriced),
            _rates(why),
        ),
        narrow=narrowed(asked, held),
        hint=tuple(f"{rate}, rule {rule}" for rate, rule in why[:4]),
    )


def _rates(why: list[tuple[str, str]]) -> Cell:
    """Return the rates in short; the whole of each, with its date and rule, as the title."""
    short = list(dict.fromkeys(rate.partition(" (")[0] or rate for rate, _ in why))
    prices, _, unit = short[-1].partition(" ") if short else ("", "", "")
    if prices and all(rate.endswith(f" {unit}") for rate in short):
        short = [*(rate.removesuffix(f" {unit}") for rate in short[:-1]), short[-1]]
    title = "\n".join(f"{rate}, rule {rule}" for rate, rule in why)
    return Cell(text=" + ".join(short), title=title)


def narrowed(asked: Asked, values: dict[str, str], page: str = ladder.OVERVIEW) -> str:
    """Return the address of a page with only these values; nothing for a sum of others."""
    if OTHER in values.values():
        return ""
    where = terms.held(asked.question.filter, values)
    return address(page, structs.replace(asked.question, filter=where))


def _reasons(asked: Asked, sort: str) -> dict[tuple[object, ...], list[tuple[str, str]]]:
    """Return the rates and rules of each flow, dearest first."""
    keys = (*KEYS, "rate", "rule")
    table = asked.answer(costs, asked.selection, by=keys, sort=sort, limit=REASONS, offset=0)
    found: dict[tuple[object, ...], list[tuple[str, str]]] = {}
    for owner, path, other, rate, rule, *_ in table.rows:
        found.setdefault((owner, path, other), []).append((rate, rule))
    return found
