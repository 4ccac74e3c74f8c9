"""Where a question goes: to a ledger on this machine, or to a server that has one.

Both give the same tables, so that a command does not know which of them answered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from flowcost import address, clock, money
from flowcost.agent.endpoint import Endpoint
from flowcost.errors import (
    FilterError,
    NotPermittedError,
    UnreachableError,
    UsageError,
)
from flowcost.ledger import Ledger, query
from flowcost.ledger import explain as explaining
from flowcost.ledger import totals as ledger_totals
from flowcost.ledger.complete import Suggestion
from flowcost.ledger.explain import Explanation, RateUsed
from flowcost.ledger.query import Selection, Table
from flowcost.ledger.totals import Totals
from flowcost.schema import Column
from flowcost.views.completions import completions

PAGE = 10_000  # rows that the server gives at once
MOST_BYTES = 64 << 20  # of one answer

T = TypeVar("T")


class Questions(Protocol):
    """What commands ask."""

    def costs(
        self, selection: Selection, *, by: Sequence[str], sort: str, limit: int | None
    ) -> Table:
        """Return costs by any keys; see `ledger.query.costs`."""
        ...

    def totals(self, selection: Selection) -> Totals:
        """Return what the selection adds up to."""
        ...

    def explain(self, selection: Selection, *, top: int) -> Sequence[Explanation]:
        """Return the dearest charges with everything they follow from."""
        ...

    def complete(self, selection: Selection, text: str) -> Sequence[Suggestion]:
        """Return what may stand at the end of the filter `text`."""
        ...


class Here:
    """A ledger on this machine."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def costs(
        self, selection: Selection, *, by: Sequence[str], sort: str, limit: int | None
    ) -> Table:
        """Return costs by any keys."""
        return query.costs(self.ledger, selection, by=by, sort=sort, limit=limit)

    def totals(self, selection: Selection) -> Totals:
        """Return what the selection adds up to."""
        return ledger_totals.totals(self.ledger, selection)

    def explain(self, selection: Selection, *, top: int) -> Sequence[Explanation]:
        """Return the dearest charges."""
        return explaining.explain(self.ledger, selection, top=top)

    def complete(self, selection: Selection, text: str) -> Sequence[Suggestion]:
        """Return what may stand at the end of the filter `text`."""
        return completions(self.ledger, selection, text, len(text))


class There:
    """A server, asked over its API; the tenant is the token's.

    Raises:
        UsageError: `url` is no URL of a server.
    """

    def __init__(
        self, url: str, token_file: Path | None = None, ca_file: Path | None = None
    ) -> None:
        self._endpoint = Endpoint(
            url,
            what="Flowcost server",
            token_file=token_file,
            ca_file=ca_file,
            timeout_s=120.0,
            most_bytes=MOST_BYTES,
        )

    def costs(
        self, selection: Selection, *, by: Sequence[str], sort: str, limit: int | None
    ) -> Table:
        """Return costs by any keys, all pages of them."""
        asked = {**_window(selection), "by": ",".join(by), "sort": sort}
        asked |= {"limit": str(PAGE)} if limit is None else {"top": str(limit)}
        columns: tuple[Column, ...] = ()
        rows: list[tuple[Any, ...]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._get("/v1/costs", asked | ({"cursor": cursor} if cursor else {}), _Page)
            columns = tuple(Column(each.name, each.type, each.doc) for each in page.columns)
            rows += [
                tuple(_value(column, row[column.name]) for column in columns) for row in page.rows
            ]
            cursor = page.next
        return Table(columns, tuple(rows))

    def totals(self, selection: Selection) -> Totals:
        """Return what the selection adds up to."""
        found = self._get("/v1/totals", _window(selection), dict[str, Any])
        for name in ("list_cost", "attributed_cost"):
            found[name] = money.numerator(found[name])
        return msgspec.convert(
            {name: found[name] for name in Totals.__struct_fields__ if name in found}, Totals
        )

    def explain(self, selection: Selection, *, top: int) -> Sequence[Explanation]:
        """Return the dearest charges."""
        asked = _window(selection) | {"top": str(top)}
        found = self._get("/v1/explain", asked, _Explanations)
        return [
            Explanation(
                **msgspec.structs.asdict(each)
                | {"list_cost": None if each.list_cost is None else money.numerator(each.list_cost)}
            )
            for each in found.charges
        ]

    def complete(self, selection: Selection, text: str) -> Sequence[Suggestion]:
        """Return what may stand at the end of the filter `text`."""
        asked = {**_window(selection), "filter": "", "text": text}
        return self._get("/v1/filter/complete", asked, _Completions).suggestions

    def close(self) -> None:
        """Close the connection."""
        self._endpoint.close()

    def _get(self, path: str, asked: dict[str, str], kind: Callable[..., T] | type[T]) -> T:
        answer = self._endpoint.ask("GET", f"{path}?{urlencode(asked)}")
        if answer.status != 200:
            raise _refusal(self._endpoint.url, answer.status, answer.body)
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except msgspec.MsgspecError as error:
            raise UnreachableError(
                f"Flowcost server {self._endpoint.url}: an answer that this release cannot read"
                f" ({error})",
                hint="use the release of the server",
            ) from None


class _Described(Struct, frozen=True):
    name: str
    type: str
    doc: str


class _Page(Struct, frozen=True):
    columns: tuple[_Described, ...]
    rows: list[dict[str, Any]]
    next: str | None


class _Explained(Struct, frozen=True, kw_only=True):
    path: str
    rule: str
    confidence: str
    evidence: tuple[str, ...]
    facts: dict[str, Any]
    charge: dict[str, Any]
    local: dict[str, str]
    remote: dict[str, str]
    rate: RateUsed | None
    list_cost: str | None
    arithmetic: str


class _Explanations(Struct, frozen=True):
    charges: list[_Explained]


class _Completions(Struct, frozen=True):
    suggestions: tuple[Suggestion, ...]


class _Problem(Struct, frozen=True):
    detail: str = ""
    hint: str = ""
    position: int | None = None


def _window(selection: Selection) -> dict[str, str]:
    """Return a selection as parameters; the server bounds it by who asks."""
    if selection.tenant:
        raise UsageError(
            "--tenant and --server do not go together", hint="a server takes it from the token"
        )
    found = {
        "filter": selection.where,
        "attribute_by": selection.attribute_by,
        "legs": selection.legs,
    }
    if selection.start:
        found["from"] = clock.iso(selection.start)
    if selection.end:
        found["to"] = clock.iso(selection.end)
    return found


def _value(column: Column, value: Any) -> Any:  # noqa: ANN401 - of any column
    """Return a value of the API as the ledger gives it: the inverse of `views.tables.plain`."""
    if not isinstance(value, str):
        return value
    match column.type:
        case "money":
            return money.numerator(value)
        case "instant":
            return datetime.fromisoformat(value).replace(tzinfo=None)
        case "day":
            return date.fromisoformat(value)
        case "address":
            return address.pack(value)
        case _:
            return value


def _refusal(url: str, status: int, body: bytes) -> Exception:
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem()
    what = problem.detail or f"answers {status}"
    if status == 400 and problem.position is not None:
        return FilterError(what, position=problem.position, hint=problem.hint)
    if status == 400:
        return UsageError(what, hint=problem.hint)
    message = f"Flowcost server {url}: {what}"
    if status in (401, 403):
        hint = "name a token with --token-file; flowcost serve token create makes one"
        return NotPermittedError(message, hint=hint if status == 401 else problem.hint)
    return UnreachableError(message, hint=problem.hint)
