"""The same question elsewhere: files, the command line, curl, SQL, and a link that stays.

A file holds what `flowcost costs` and `/v1/costs` answer to the same question, byte for byte.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from urllib.parse import quote

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from flowcost import clock
from flowcost.errors import NotFoundError
from flowcost.ledger.query import MEASURES, costs
from flowcost.ledger.statement import statement
from flowcost.views.tables import render
from flowcost.views.web.asked import Asked
from flowcost.views.web.frame import HEADERS
from flowcost.views.web.question import Question, address

FORMS = {
    "csv": ("CSV", "text/csv; charset=utf-8"),
    "json": ("JSON", "application/json"),
    "parquet": ("Parquet", "application/vnd.apache.parquet"),
}
PATH = "/costs"
MOST = 200_000  # rows of a file


class File(Struct, frozen=True):
    """A file to download; a text can be copied too."""

    label: str
    href: str
    is_text: bool


class Text(Struct, frozen=True):
    """A text to copy."""

    name: str
    label: str
    text: str


class Same(Struct, frozen=True):
    """Everything offered; `share` shows the same to everybody, later too."""

    files: list[File]
    texts: list[Text]
    share: str


def same(request: Request, asked: Asked, page: str) -> Same:
    """Return what a page's question is elsewhere."""
    pinned = asked.pinned()
    texts = [
        Text("cli", "CLI", command(asked)),
        Text("curl", "curl", curl(str(request.base_url), asked)),
    ]
    pruned = asked.ledger.shelves.retired()
    if asked.window is not None and not pruned.has(asked.window.start):
        sql = statement(asked.selection, by=asked.question.by, sort=sort_of(asked.question))
        texts.append(Text("sql", "SQL", sql))
    return Same(
        files=[
            File(label, address(f"{PATH}.{form}", pinned), is_text=form != "parquet")
            for form, (label, _) in FORMS.items()
        ],
        texts=texts,
        share=address(page, pinned),
    )


def sort_of(question: Question, by: Sequence[str] = ()) -> str:
    """Return the order of rows by `by`, else by the question's keys, as `query.costs` takes it.

    A key that rows are not grouped by any more orders nothing.
    """
    name = question.sort.removeprefix("-")
    known = {*(by or question.by), *(measure.name for measure in MEASURES)}
    if name in known:
        return question.sort
    return "-bytes" if question.measure == "bytes" else "-list_cost"


def command(asked: Asked) -> str:
    """Return the command line that prints the same rows; it names no server's tenant or scope."""
    words = ["flowcost", "costs", "--by", ",".join(asked.question.by)]
    for option, value in _options(asked):
        words += [f"--{option.replace('_', '-')}", value]
    return shlex.join([*words, "--format", "csv"])


def curl(base: str, asked: Asked) -> str:
    """Return the call of the API that answers the same rows."""
    said = [("by", ",".join(asked.question.by)), *_options(asked), ("format", "csv")]
    query = "&".join(f"{name}={quote(value, safe=',:.~*')}" for name, value in said)
    url = shlex.quote(f"{base}v1/costs?{query}&limit=10000")
    return f'curl -H "Authorization: Bearer $FLOWCOST_TOKEN" {url}'


def _options(asked: Asked) -> list[tuple[str, str]]:
    """Return what the command line and the API both take."""
    selection, question = asked.selection, asked.question
    said = [
        ("filter", question.filter),
        ("from", clock.iso(selection.start) if selection.start else ""),
        ("to", clock.iso(selection.end) if selection.end else ""),
        ("attribute_by", "" if question.attribute_by == "local" else question.attribute_by),
        ("legs", "" if question.legs == "all" else question.legs),
        ("sort", "" if sort_of(question) == "-list_cost" else sort_of(question)),
    ]
    return [(name, value) for name, value in said if value]


def download(request: Request, asked: Asked) -> Response:
    """Answer with the rows of a question as a file; beyond `MOST` the rest is one row.

    Raises:
        NotFoundError: no such format.
    """
    form = request.path_params["form"]
    if form not in FORMS:
        raise NotFoundError(f"no format {form}", hint=f"one of {', '.join(FORMS)}")
    question = asked.question
    sort = sort_of(question)
    table = costs(asked.ledger, asked.selection, by=question.by, sort=sort, limit=MOST)
    body = render(table.columns, table.rows, form)
    name = f"flowcost-{'-'.join(question.by)}.{form}"
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(body, headers=headers, media_type=FORMS[form][1])
