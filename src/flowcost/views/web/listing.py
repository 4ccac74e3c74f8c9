"""A plain table of one or two keys: what has it, how much of the whole, and where that leads."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from flowcost.ledger import filter as language
from flowcost.ledger.filter import And
from flowcost.ledger.query import OTHER, costs
from flowcost.views.tables import plain, share
from flowcost.views.web import grid, ladder
from flowcost.views.web.asked import Asked
from flowcost.views.web.flows import narrowed
from flowcost.views.web.grid import BYTES, Cell, Grid, Head, Row
from flowcost.views.web.question import readable


def listing(
    asked: Asked,
    name: str,
    title: str,
    by: tuple[str, ...],
    *,
    text: str = "",
    where: str = "",
    heads: Sequence[str] = (),
    limit: int = 12,
    empty: str = "None.",
) -> Grid:
    """Return costs by `by`, largest in bytes first, with each row's share of the table's bytes."""
    inner = structs.replace(asked.question, filter=_both(asked.question.filter, where))
    asked = structs.replace(asked, question=inner, selection=asked.narrowed(inner.filter))
    table = asked.answer(costs, asked.selection, by=by, sort="-bytes", limit=limit)
    names = len(by)
    whole = sum(row[names] for row in table.rows)
    rows = []
    for row in table.rows:
        values, (size, cost, unpriced) = row[:names], row[names:]
        texts = {
            column.name: str(plain(column, value))
            for column, value in zip(table.columns, values, strict=False)
        }
        rest = OTHER in values or None in values
        href = "" if rest else narrowed(asked, texts, ladder.OVERVIEW)
        cells = [
            grid.word(column, value, href if index == 0 else "")
            for index, (column, value) in enumerate(zip(table.columns, values, strict=False))
        ]
        cells += [
            Cell(text=share(size, whole), number=True, bar=grid.part(size, whole)),
            grid.number(BYTES, size),
            grid.money(size, cost, unpriced),
        ]
        rows.append(Row(cells=tuple(cells)))
    return Grid(
        id=name,
        title=title,
        text=text,
        heads=(
            *(Head(label=label) for label in (heads or by)),
            Head(label="share of bytes", number=True),
            Head(label="bytes", number=True),
            Head(label="list cost", number=True),
        ),
        rows=tuple(rows),
        empty=empty,
    )


def _both(asked: str, where: str) -> str:
    """Return the filter in which both hold."""
    trees = [tree for tree in (language.parse(asked), language.parse(where)) if tree is not None]
    return (
        readable(language.show(trees[0] if len(trees) == 1 else And(tuple(trees)))) if trees else ""
    )
