"""What a page of the console asks, and the address that says so.

Enters: the parameters of a URL. Leaves: a `Question`, and its one canonical address. The law it
keeps: an address written once means the same question for ever. Version 1 is frozen below; other
defaults or meanings are a version 2, beside it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote_plus

from msgspec import Struct

from flowcost import clock
from flowcost.errors import FilterError, UsageError
from flowcost.ledger import filter as language
from flowcost.ledger import keys
from flowcost.ledger.ends import ATTRIBUTE_BY
from flowcost.ledger.query import LEGS

VERSION = "1"
MEASURES = ("cost", "bytes")
MOST_KEYS = 3
MOST_ROWS = 1000
LONGEST_FILTER = 4000
WHOLE = "all"

# The parameters of an address in their fixed order, and what each says.
PARAMETERS = {
    "v": "version of the address",
    "by": "group keys in order, at most three, with commas between",
    "filter": "filter expression",
    "last": "time back from the newest hour of the ledger: 24h, 7d, month or all",
    "from": "first UTC hour; instead of last",
    "to": "UTC hour after the last",
    "attribute_by": "which end pays",
    "legs": "all that is billed, or observed: only the metered ends that were seen",
    "measure": "what ranks and draws: cost or bytes",
    "compare": "off leaves the interval before out",
    "sort": "key or measure; - for descending",
    "top": "rows of the table; the rest is one row",
}

_LAST = re.compile(r"([1-9][0-9]{0,3})([hd])\Z")
# Left readable in an address; browsers send them as they are.
_SAFE = "/:,.~*()=!"


class Question(Struct, frozen=True, kw_only=True):
    """Which charges, grouped how, seen from whose end.

    `last` counts back from the newest hour of the ledger (`7d`, `24h`), `month` is the UTC
    calendar month of that hour, `all` is everything; it is empty where `start` and `end`, whole
    UTC hours, say the half-open interval. `filter` is kept as typed where it cannot be read.
    """

    filter: str = ""
    by: tuple[str, ...] = ("owner.team",)
    last: str = "7d"
    start: datetime | None = None
    end: datetime | None = None
    attribute_by: str = "local"
    legs: str = "all"
    measure: str = "cost"
    compare: bool = True
    sort: str = ""
    top: int = 25


_FIRST = Question()


def decode(query: str) -> Question:
    """Return the question of a query string; unknown parameters are passed over.

    Raises:
        UsageError: a version this Flowcost does not know, or a value that cannot be meant.
    """
    given: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=100):
        given.setdefault(name, []).append(value.strip())
    version = _one(given, "v", VERSION)
    if version != VERSION:
        raise UsageError(
            f"this address is of version {version}; this console reads version {VERSION}",
            hint="it was made by a newer Flowcost; ask for the link of this one",
        )
    start, end, last = _times(given)
    return Question(
        filter=readable(_one(given, "filter", "")),
        by=_keys([key for text in given.get("by", ()) for key in text.split(",")]),
        last=last,
        start=start,
        end=end,
        attribute_by=_choice(given, "attribute_by", ATTRIBUTE_BY),
        legs=_choice(given, "legs", LEGS),
        measure=_choice(given, "measure", MEASURES),
        compare=_choice(given, "compare", ("on", "off")) == "on",
        sort=_sort(_one(given, "sort", "")),
        top=_top(_one(given, "top", str(_FIRST.top))),
    )


def encode(question: Question) -> str:
    """Return the canonical query string: fixed order, defaults left out, version first."""
    said = [
        ("by", ",".join(question.by) if question.by != _FIRST.by else ""),
        ("filter", question.filter),
        ("last", question.last if question.last != _FIRST.last else ""),
        ("from", _hour(question.start)),
        ("to", _hour(question.end)),
        *(
            (name, getattr(question, name))
            for name in ("attribute_by", "legs", "measure")
            if getattr(question, name) != getattr(_FIRST, name)
        ),
        ("compare", "" if question.compare else "off"),
        ("sort", question.sort),
        ("top", str(question.top) if question.top != _FIRST.top else ""),
    ]
    pairs = [(name, value) for name, value in said if value]
    return "&".join(
        f"{name}={quote_plus(value, safe=_SAFE)}" for name, value in [("v", VERSION), *pairs]
    )


def address(page: str, question: Question) -> str:
    """Return the canonical address of a page; the bare page asks the first question."""
    return page if question == _FIRST else f"{page}?{encode(question)}"


def readable(text: str) -> str:
    """Return a filter in its one spelling, or as typed where it cannot be read."""
    if len(text) > LONGEST_FILTER:
        raise UsageError(f"the filter has {len(text)} characters", hint=f"at most {LONGEST_FILTER}")
    try:
        return language.show(language.parse(text))
    except FilterError:
        return text


def _one(given: dict[str, list[str]], name: str, otherwise: str) -> str:
    """Return the last value given, so that a form can override a hidden field."""
    values = [value for value in given.get(name, ()) if value]
    return values[-1] if values else otherwise


def _choice(given: dict[str, list[str]], name: str, allowed: Collection[str]) -> str:
    first = "on" if name == "compare" else getattr(_FIRST, name)
    value = _one(given, name, first)
    if value not in allowed:
        raise UsageError(f"{name}={value} is not known", hint=f"one of {', '.join(allowed)}")
    return value


def _keys(names: Sequence[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(keys.find(name).name for name in names if name.strip()))
    if len(found) > MOST_KEYS:
        raise UsageError(f"{len(found)} group keys", hint=f"at most {MOST_KEYS}")
    return found or _FIRST.by


def _sort(name: str) -> str:
    if not name:
        return ""
    sign, rest = ("-", name[1:]) if name.startswith("-") else ("", name)
    if rest in ("bytes", "list_cost", "unpriced_bytes"):
        return name
    return sign + keys.find(rest).name


def _top(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_ROWS:
        raise UsageError(f"top={text} is not a number of rows", hint=f"1 to {MOST_ROWS}")
    return int(text)


def _times(given: dict[str, list[str]]) -> tuple[datetime | None, datetime | None, str]:
    """Return start, end and preset; an interval beats a preset."""
    first, until = _one(given, "from", ""), _one(given, "to", "")
    last = _one(given, "last", _FIRST.last)
    if not first and not until:
        if last not in ("month", WHOLE) and not _LAST.match(last):
            raise UsageError(f"last={last} is not a time", hint="as 24h, 7d, month or all")
        return None, None, last
    start, end = (_instant(text) if text else None for text in (first, until))
    if end is not None and end != clock.hour_of(end):
        end = clock.hour_of(end) + clock.HOUR
    if start is not None:
        start = clock.hour_of(start)
    if start and end and start >= end:
        raise UsageError(
            f"from {clock.iso(start)} is not before to {clock.iso(end)}",
            hint="the interval is half-open: `to` is the hour after the last",
        )
    return start, end, ""


def _instant(text: str) -> datetime:
    try:
        found = clock.parse(text)
    except ValueError:
        hint = "as 2026-11-20 or 2026-11-20T13Z"
        raise UsageError(f"{text!r} is not a time", hint=hint) from None
    if not clock.EARLIEST <= found <= clock.LATEST:
        raise UsageError(f"{text!r} is no time of flow logs", hint="between 2010 and 2100")
    return found


def _hour(instant: datetime | None) -> str:
    if instant is None:
        return ""
    utc = instant.astimezone(UTC)
    return f"{utc:%Y-%m-%d}" if utc.hour == 0 else f"{utc:%Y-%m-%dT%HZ}"
