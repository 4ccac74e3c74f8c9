"""By whom: the rows of a question's group keys, each with its change and the step below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, structs

from flowcost.ledger import keys
from flowcost.ledger.query import OTHER, Table
from flowcost.ledger.totals import Totals
from flowcost.schema import Column
from flowcost.views.tables import human, plain, share
from flowcost.views.web import grid, ladder
from flowcost.views.web.asked import Asked
from flowcost.views.web.changes import NOTHING, Comparison, Move
from flowcost.views.web.flows import narrowed
from flowcost.views.web.grid import BYTES, MONEY, Cell, Grid, Head, Row
from flowcost.views.web.question import MOST_ROWS, Question, address
from flowcost.views.web.same import sort_of


class Mover(Struct, frozen=True, kw_only=True):
    """A row that changed; `news` says that it is new or gone."""

    label: str
    change: Cell
    title: str
    href: str
    news: str


def breakdown(
    asked: Asked,
    found: Totals,
    rows: Comparison,
    *,
    page: str = ladder.OVERVIEW,
    by: tuple[str, ...] = (),
) -> Grid:
    """Return the rows of the group keys `by`, else of the question's own."""
    by = by or asked.question.by
    question, table = asked.question, rows.now
    by_bytes = question.measure == "bytes"
    names = len(by)
    whole = found.bytes if by_bytes else found.list_cost
    columns = table.columns[:names]
    shown = []
    for row in table.rows:
        values, (size, cost, unpriced) = row[:names], row[names:]
        rest = OTHER in values or None in values
        texts = _texts(columns, values)
        amount = size if by_bytes else cost
        cells = [
            grid.word(column, value, "" if rest else narrowed(asked, {column.name: text}, page))
            for column, value, text in zip(columns, values, texts.values(), strict=True)
        ]
        cells += [
            grid.money(size, cost, unpriced),
            Cell(text=share(amount, whole), number=True, bar=grid.part(amount, whole)),
        ]
        if rows.compared:
            was = rows.before.get(tuple(values), NOTHING)
            before = was.bytes if by_bytes else was.list_cost
            cells.append(Cell(text="", number=True) if rest else _change(question, amount, before))
        cells += [grid.number(BYTES, size), grid.number(BYTES, unpriced)]
        href = "" if rest else ladder.down(question, texts)
        shown.append(Row(cells=tuple(cells), href=href))
    metered = any(keys.find(name).counts_quantities for name in by)
    more = structs.replace(question, top=min(question.top * 4, MOST_ROWS))
    return Grid(
        id="rows",
        title="By " + ", ".join(by),
        heads=_heads(question, table, by, page, compared=rows.compared),
        rows=tuple(shown),
        note="Bytes are what each meter counted; one byte can run several." if metered else "",
        more=address(page, more) + "#rows" if _is_cut(table, question) else "",
    )


def movers(asked: Asked, moves: Sequence[Move]) -> list[Mover]:
    """Return the largest changes, as they are shown."""
    question = asked.question
    by_bytes = question.measure == "bytes"
    column = BYTES if by_bytes else MONEY
    found = []
    for move in moves:
        now, was = ((a.bytes if by_bytes else a.list_cost) for a in (move.now, move.before))
        named = [keys.find(name) for name in question.by]
        columns = [Column(key.name, key.type, key.doc) for key in named]
        texts = _texts(columns, move.keys)
        found.append(
            Mover(
                label=" · ".join(texts.values()),
                change=_change(question, now, was),
                title=f"from {human(column, was)} to {human(column, now)}",
                href=ladder.down(question, texts),
                news="new" if not was else "gone" if not now else "",
            )
        )
    return found


def _texts(columns: Sequence[Column], values: Sequence[Any]) -> dict[str, str]:
    """Return the values as a filter writes them."""
    return {
        column.name: str(plain(column, value))
        for column, value in zip(columns, values, strict=True)
    }


def _change(question: Question, now: int, was: int) -> Cell:
    column = BYTES if question.measure == "bytes" else MONEY
    return grid.moved(column, now - was, f"from {human(column, was)}")


def _is_cut(table: Table, question: Question) -> bool:
    return len(table.rows) > question.top and question.top < MOST_ROWS


def _heads(
    question: Question, table: Table, by: tuple[str, ...], page: str, *, compared: bool
) -> tuple[Head, ...]:
    names = len(by)
    cost, size, unpriced = (
        next(c for c in table.columns[names:] if c.name == name)
        for name in ("list_cost", "bytes", "unpriced_bytes")
    )
    change = Head(label="change", number=True, doc="against the interval before")
    return (
        *(_head(question, column, column.name, by, page) for column in table.columns[:names]),
        _head(question, cost, "list cost", by, page),
        Head(label="share", number=True),
        *([change] if compared else []),
        _head(question, size, "bytes", by, page),
        _head(question, unpriced, "unpriced bytes", by, page),
    )


def _head(question: Question, column: Column, label: str, by: tuple[str, ...], page: str) -> Head:
    """Return a head that sorts: a measure first downwards, a key first upwards; then turned."""
    number = column.type in ("bytes", "money")
    now, name = sort_of(question, by), column.name
    direction = ""
    if now.removeprefix("-") == name:
        direction = "descending" if now.startswith("-") else "ascending"
    down = direction == "ascending" or (number and direction != "descending")
    turned = structs.replace(question, sort=f"-{name}" if down else name)
    return Head(
        label=label,
        name=name,
        number=number,
        sorted=direction,
        doc=column.doc,
        href=address(page, turned) + "#rows",
    )
