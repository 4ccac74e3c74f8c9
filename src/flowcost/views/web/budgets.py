"""Budgets: what may be spent in a calendar month, and what is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

from msgspec import structs
from starlette.requests import Request
from starlette.responses import Response

from flowcost import clock
from flowcost.insights.budgets import KEYS, BudgetKind, BudgetState, visible
from flowcost.views.tables import share
from flowcost.views.web import grid, ladder, terms
from flowcost.views.web.asked import Asked
from flowcost.views.web.frame import page
from flowcost.views.web.grid import BYTES, MONEY, Cell, Grid, Head, Row
from flowcost.views.web.question import Question, address
from flowcost.views.web.window import following

PAGE = "/budgets"

_HEADS = (
    Head(label="budget"),
    Head(label="state"),
    Head(label="spent", number=True),
    Head(label="of", number=True),
    Head(label="part", number=True),
    Head(label="left", number=True),
    Head(label="unpriced bytes", number=True),
)


def show(request: Request, asked: Asked) -> Response:
    """Answer with the budgets of this month and the one before."""
    month = clock.month_of(asked.now)
    before = clock.month_of(_start(month) - clock.HOUR)
    now = states(asked, month)
    return page(
        request,
        "budgets.html",
        asked=asked,
        tables=[
            table(now, month, "this month"),
            table(states(asked, before), before, "last month"),
        ],
        exceeded=sum(state.exceeded for state in now),
    )


def states(asked: Asked, month: date) -> list[BudgetState]:
    """Return the budgets that the principal may see, in one month."""
    found = asked.service.budgets.states(asked.principal.tenant, month)
    return [each for each in found if visible(f"{each.kind}:{each.name}", asked.principal)]


def table(found: Sequence[BudgetState], month: date, words: str) -> Grid:
    """Return budgets as a table."""
    return Grid(
        id=f"budgets-{words.replace(' ', '-')}",
        title=f"{month:%B %Y}, {words}",
        heads=_HEADS,
        rows=tuple(_row(state, month) for state in found),
        empty="No budgets.",
    )


def _row(state: BudgetState, month: date) -> Row:
    start = _start(month)
    question = Question(
        filter=terms.held("", {KEYS[BudgetKind(state.kind)]: state.name}),
        last="",
        start=start,
        end=following(start, "month"),
    )
    return Row(
        cells=(
            Cell(text=f"{state.kind}: {state.name}", href=address(ladder.OVERVIEW, question)),
            _badge(state),
            grid.number(MONEY, state.spent),
            grid.number(MONEY, state.limit),
            Cell(
                text=share(state.spent, state.limit),
                number=True,
                bar=min(grid.part(state.spent, state.limit), grid.BAR),
                tone="over" if state.exceeded else "",
            ),
            _left(state),
            grid.number(BYTES, state.unpriced_bytes),
        )
    )


def _left(state: BudgetState) -> Cell:
    left = state.limit - state.spent
    if left >= 0:
        return grid.number(MONEY, left)
    over = grid.number(MONEY, -left)
    return structs.replace(over, text=f"over by {over.text}", exact=f"-{over.exact}", tone="over")


def _badge(state: BudgetState) -> Cell:
    if state.exceeded:
        return Cell(text="exceeded", tone="badge-error")
    if state.crossed:
        return Cell(text=f"{max(state.crossed)} % reached", tone="badge-warning")
    return Cell(text="within", tone="badge-good")


def _start(month: date) -> datetime:
    return datetime(month.year, month.month, 1, tzinfo=UTC)
