"""`/v1/costs` and what is asked around it: totals, conversations, trends.

The same questions as `flowcost costs`, with the same rows: bytes are integers, money a decimal
text, instants RFC 3339 in UTC.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated, cast

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace
from starlette.responses import Response

from flowcost import clock, money
from flowcost.errors import RequestError
from flowcost.ledger import keys, query
from flowcost.ledger import totals as ledger_totals
from flowcost.ledger.query import MEASURES, STEPS, Selection, Table
from flowcost.views.api.endpoint import Asked, canonical
from flowcost.views.api.parameters import Names, Window
from flowcost.views.tables import plain, render

MOST_ROWS = 10_000
FURTHEST = 10_000_000  # rows a cursor may pass over
MINUTE = "minute"
_OF_A_PAGE = ("cursor", "limit", "format")
MEDIA = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}

Value = str | int | None


class Described(Struct, frozen=True):
    """One column: `type` says how its values read (text, bytes, money, instant, day, address)."""

    name: str
    type: str
    doc: str


class Costs(Struct, frozen=True, kw_only=True):
    """Rows of costs.

    A row holds the group keys, then `bytes`, `list_cost` (a decimal text of dollars) and
    `unpriced_bytes`. `basis` is account_bill or per_leg. `next` is the cursor of the rows that
    follow; null if these are the last.
    """

    columns: tuple[Described, ...]
    rows: list[dict[str, Value]]
    basis: str
    attribute_by: str
    next: str | None


class Totals(Struct, frozen=True, kw_only=True):
    """What a selection adds up to, and how far it can be trusted; money is decimal text.

    `data_until` is exclusive. `rates_checked` are the first and last day on which the applied
    rates were read from their source. `days` counts UTC days with charges.
    """

    bytes: int
    list_cost: str
    unpriced_bytes: int
    attributed_bytes: int
    attributed_cost: str
    unknown_bytes: int
    days: int
    data_since: str | None
    data_until: str | None
    rates_checked: list[str] | None
    basis: str
    attribute_by: str


Limit = Annotated[int, Meta(description="rows at most", ge=1, le=MOST_ROWS)]
Cursor = Annotated[
    str, Meta(description="`next` of the page before; empty is the first page", max_length=200)
]
Sort = Annotated[
    str,
    Meta(
        description="a key of `by`, or a measure; `-` for descending",
        max_length=100,
        examples=["-list_cost"],
    ),
]
Format = Annotated[
    str, Meta(description="of the answer", extra_json_schema={"enum": ["json", "csv", "parquet"]})
]
Top = Annotated[
    int,
    Meta(description="largest rows; the rest is one row (other)", ge=1, le=MOST_ROWS),
]


class Paged(Window, frozen=True, kw_only=True):
    """A window of the ledger, a page at a time."""

    limit: Limit = 100
    cursor: Cursor = ""
    top: Top | None = None
    format: Format = "json"


class CostsAsked(Paged, frozen=True, kw_only=True):
    """What `/v1/costs` takes."""

    by: Annotated[Names, Meta(description="group keys; none is one row, the total")] = Names("path")
    step: Annotated[
        str,
        Meta(
            description="also group by this step of time, in ascending time",
            extra_json_schema={"enum": ["", *STEPS]},
        ),
    ] = ""
    sort: Sort = ""


class ConversationsAsked(Paged, frozen=True, kw_only=True):
    """What `/v1/conversations` takes."""

    sort: Sort = ""


class TrendsAsked(Paged, frozen=True, kw_only=True):
    """What `/v1/trends` takes."""

    by: Annotated[Names, Meta(description="group keys besides the step")] = Names("")
    step: Annotated[
        str,
        Meta(
            description="step of time; of minutes six hours at most, and only what agents saw",
            extra_json_schema={"enum": [MINUTE, *STEPS]},
        ),
    ] = "hour"


def costs(asked: Asked, takes: CostsAsked) -> Costs | Response:
    """Return costs by any keys, a page at a time."""
    by = (takes.step, *takes.by.names) if takes.step else takes.by.names
    if len(set(by)) < len(by):
        raise RequestError({"step": "is in `by` already"})
    default = takes.step or "-list_cost"
    return page(asked, takes, by, takes.sort or default)


def conversations(asked: Asked, takes: ConversationsAsked) -> Costs | Response:
    """Return who talks to whom by which billing path, dearest first."""
    return page(asked, takes, ("conversation", "path"), takes.sort or "-list_cost")


def trends(asked: Asked, takes: TrendsAsked) -> Costs | Response:
    """Return costs per step of time; a step without charges has no row."""
    if takes.step == MINUTE:
        return _by_the_minute(asked, takes)
    return page(asked, takes, (takes.step, *takes.by.names), takes.step)


def totals(asked: Asked, takes: Window) -> Totals:
    """Return what the selection adds up to."""
    selection = asked.selection(takes)
    found = ledger_totals.totals(asked.service.ledger, selection)
    checked = found.rates_checked
    return Totals(
        bytes=found.bytes,
        list_cost=money.exact(found.list_cost),
        unpriced_bytes=found.unpriced_bytes,
        attributed_bytes=found.attributed_bytes,
        attributed_cost=money.exact(found.attributed_cost),
        unknown_bytes=found.unknown_bytes,
        days=found.days,
        data_since=clock.iso(found.data_since) if found.data_since else None,
        data_until=clock.iso(found.data_until) if found.data_until else None,
        rates_checked=[day.isoformat() for day in checked] if checked else None,
        basis=selection.basis,
        attribute_by=selection.attribute_by,
    )


def _by_the_minute(asked: Asked, takes: TrendsAsked) -> Costs | Response:
    """Return a page of minutes, from what agents posted; their sum is the hour's of agents."""
    if takes.top is not None:
        raise RequestError({"top": "is no use by the minute"})
    offset = _offset(takes.cursor, question := canonical(takes, without=_OF_A_PAGE))
    selection = asked.selection(takes)
    if selection.end is None:
        running = clock.hour_of(asked.service.now())
        selection = replace(selection, end=running + clock.HOUR)
    table = asked.service.live.minutes(selection, takes.by.names)
    until = offset + takes.limit
    after = _cursor(until, question) if len(table.rows) > until else None
    return _written(replace(table, rows=table.rows[offset:until]), takes.format, selection, after)


def page(asked: Asked, takes: Paged, by: tuple[str, ...], sort: str) -> Costs | Response:
    """Return one page of the costs by some keys, in the format that is asked for."""
    _check_sort(sort, by)
    question = canonical(takes, without=_OF_A_PAGE)
    offset = _offset(takes.cursor, question)
    selection = asked.selection(takes)
    ledger = asked.service.ledger
    if takes.top is not None:
        if takes.cursor:
            raise RequestError({"top": "has no pages: leave out the cursor"})
        table, more = query.costs(ledger, selection, by=by, sort=sort, limit=takes.top), False
    else:
        wide = query.costs(
            ledger, selection, by=by, sort=sort, limit=takes.limit + 1, offset=offset
        )
        more = len(wide.rows) > takes.limit
        table = replace(wide, rows=wide.rows[: takes.limit])
    after = _cursor(offset + takes.limit, question) if more else None
    return _written(table, takes.format, selection, after)


def _written(table: Table, form: str, selection: Selection, after: str | None) -> Costs | Response:
    if form != "json":
        headers = {"flowcost-next": after} if after else {}
        body = render(table.columns, table.rows, form)
        return Response(body, media_type=MEDIA[form], headers=headers)
    return Costs(
        columns=tuple(Described(each.name, each.type, each.doc) for each in table.columns),
        rows=[
            {
                column.name: cast("Value", plain(column, value))
                for column, value in zip(table.columns, row, strict=True)
            }
            for row in table.rows
        ],
        basis=selection.basis,
        attribute_by=selection.attribute_by,
        next=after,
    )


def _check_sort(sort: str, by: tuple[str, ...]) -> None:
    allowed = (*by, *(measure.name for measure in MEASURES))
    name = sort.removeprefix("-")
    if name not in allowed and keys.canonical(name) not in allowed:
        raise RequestError({"sort": f"one of {', '.join(allowed)}, with - for descending"})


def _cursor(offset: int, question: str) -> str:
    content = msgspec.json.encode((offset, _digest(question)))
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _offset(cursor: str, question: str) -> int:
    if not cursor:
        return 0
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        content = base64.b64decode(padded, altchars=b"-_", validate=True)
        offset, of_question = msgspec.json.decode(content, type=tuple[int, str])
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise RequestError({"cursor": "not one that this server gave"}) from None
    if of_question != _digest(question):
        raise RequestError({"cursor": "belongs to another question"})
    if not 0 <= offset <= FURTHEST:
        raise RequestError({"cursor": "beyond the last page"})
    return offset


def _digest(question: str) -> str:
    return hashlib.sha256(question.encode()).hexdigest()[:16]
