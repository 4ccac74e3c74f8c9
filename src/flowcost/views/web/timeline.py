"""When: a row per step of time and a column per billing path, gaps included."""

from __future__ import annotations

from datetime import UTC, date, datetime

from msgspec import structs

from flowcost import clock
from flowcost.ledger.query import trend
from flowcost.views.web import grid, ladder
from flowcost.views.web.asked import Asked
from flowcost.views.web.grid import BYTES, MONEY, Cell, Grid, Head, Row
from flowcost.views.web.question import address
from flowcost.views.web.window import Window, following, steps

_GAP = Cell(text="no data", number=True, tone="quiet")


def timeline(asked: Asked, window: Window, page: str = ladder.OVERVIEW) -> Grid:
    """Return what each step of the interval cost; a step without data says so."""
    by_bytes = asked.question.measure == "bytes"
    column = BYTES if by_bytes else MONEY
    at = _amounts(asked, window, by_bytes=by_bytes)
    whole: dict[str, int] = {}
    for amounts in at.values():
        for path, amount in amounts.items():
            whole[path] = whole.get(path, 0) + amount
    paths = sorted((path for path, amount in whole.items() if amount), key=lambda p: -whole[p])
    before = _earlier(asked, window, by_bytes=by_bytes)
    rows = []
    for index, start in enumerate(steps(window)):
        found, end = at.get(start), following(start, window.step)
        question = structs.replace(asked.question, last="", start=start, end=end)
        cells = [Cell(text=_when(start, window.step), href=address(page, question))]
        if found is None:
            cells += [_GAP] * (len(paths) + 1)
        else:
            cells += [grid.number(column, found.get(path, 0)) for path in paths]
            cells.append(grid.number(column, sum(found.values())))
        if before:
            cells.append(grid.number(column, before[index]) if index in before else _GAP)
        rows.append(Row(cells=tuple(cells), interval=(clock.iso(start), clock.iso(end))))
    return Grid(
        id="trend",
        title=f"{'Bytes' if by_bytes else 'Cost'} per {window.step}",
        heads=(
            Head(label=f"{window.step} (UTC)"),
            *(Head(label=path, number=True, name="path") for path in paths),
            Head(label="all paths", number=True, name="all"),
            *([Head(label="interval before", number=True, name="before")] if before else []),
        ),
        rows=tuple(rows),
        chart="histogram",
    )


def _amounts(asked: Asked, window: Window, *, by_bytes: bool) -> dict[datetime, dict[str, int]]:
    table = asked.answer(trend, asked.selection, step=window.step, by=("path",))
    found: dict[datetime, dict[str, int]] = {}
    for when, path, size, cost, _ in table.rows:
        found.setdefault(_instant(when), {})[path] = size if by_bytes else cost
    return found


def _earlier(asked: Asked, window: Window, *, by_bytes: bool) -> dict[int, int]:
    """Return what each step cost in the interval before, by its place in the interval."""
    retired = asked.ledger.shelves.retired()
    if asked.before is None or (window.step == "hour" and retired.has(window.before)):
        return {}  # days that have lost their hours cannot be told hour by hour
    earlier = steps(structs.replace(window, start=window.before, end=window.start))
    places = {start: index for index, start in enumerate(earlier)}
    found = {}
    for when, size, cost, _ in asked.answer(trend, asked.before, step=window.step).rows:
        place = places.get(_instant(when))
        if place is not None:
            found[place] = size if by_bytes else cost
    return found


def _instant(when: object) -> datetime:
    """Return the start of a step as the ledger names it: an hour, a day, or `2026-11`."""
    match when:
        case datetime():
            return when.replace(tzinfo=UTC)
        case date():
            return datetime(when.year, when.month, when.day, tzinfo=UTC)
        case _:
            return datetime.fromisoformat(f"{when}-01").replace(tzinfo=UTC)


def _when(start: datetime, step: str) -> str:
    if step == "month":
        return f"{start:%b %Y}"
    return f"{start.day} {start:%b %H:%M}" if step == "hour" else f"{start.day} {start:%b}"
