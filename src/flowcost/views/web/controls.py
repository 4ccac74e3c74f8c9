"""The bar that asks: filter tokens, group chips, time, who pays, money or bytes; all are links.

Every control is the address of the question it would ask, so the page works without scripts.
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import parse_qsl

from msgspec import Struct, structs

from flowcost.errors import FilterError
from flowcost.ledger import filter as language
from flowcost.ledger import keys
from flowcost.ledger.ends import ATTRIBUTE_BY_DOCS
from flowcost.views.web import ladder, terms
from flowcost.views.web.asked import Asked
from flowcost.views.web.question import MOST_KEYS, Question, address, encode
from flowcost.views.web.window import PRESETS

# Offered first; every other key can be typed.
COMMON = (
    "owner.team",
    "k8s.namespace.name",
    "k8s.workload.name",
    "owner",
    "path",
    "other.owner",
    "conversation",
    "usage_type",
    "rate",
    "region",
    "payer_account",
    "k8s.cluster.name",
    "stage",
    "service.name",
)


class Choice(Struct, frozen=True, kw_only=True):
    """One choice of a control: the address that takes it."""

    label: str
    href: str
    current: bool = False
    title: str = ""


class Chip(Struct, frozen=True, kw_only=True):
    """A group key or filter token: without it, and moved one place to the left."""

    label: str
    remove: str
    left: str = ""


class Trouble(Struct, frozen=True, kw_only=True):
    """Why a filter cannot be read; `position` is its column, from 0."""

    message: str
    position: int
    hint: str


class Controls(Struct, frozen=True, kw_only=True):
    """Everything the bar shows."""

    tokens: list[Chip]
    chips: list[Chip]
    add: list[Choice]
    presets: list[Choice]
    payers: list[Choice]
    legs: list[Choice]
    measures: list[Choice]
    compare: Choice
    swap: Choice
    clear: str
    keys: tuple[str, ...]
    start: str
    end: str
    hidden: list[tuple[str, str]]
    trouble: Trouble | None


def controls(asked: Asked, page: str = ladder.OVERVIEW) -> Controls:
    """Return the bar of a page."""
    question = asked.question

    def to(**changed: object) -> str:
        return address(page, structs.replace(question, **changed))

    return Controls(
        tokens=[
            Chip(
                label=language.show(term),
                remove=to(filter=terms.without(question.filter, index)),
            )
            for index, term in enumerate(terms.terms(question.filter))
        ],
        chips=_chips(question, page),
        add=[
            Choice(label=name, href=to(by=(*question.by, name)), title=keys.find(name).doc)
            for name in COMMON
            if name not in question.by and len(question.by) < MOST_KEYS
        ],
        presets=[
            Choice(
                label=label,
                href=to(last=last, start=None, end=None),
                current=question.last == last,
            )
            for last, label in PRESETS
        ],
        payers=[
            Choice(
                label=name.replace("_", " "),
                href=to(attribute_by=name),
                current=name == question.attribute_by,
                title=doc,
            )
            for name, doc in ATTRIBUTE_BY_DOCS.items()
        ],
        legs=[
            Choice(
                label=label,
                href=to(legs=legs),
                current=legs == question.legs,
                title=title,
            )
            for legs, label, title in (
                ("all", "all legs", "the account's bill: every metered end, seen or implied"),
                ("observed", "observed", "only the metered ends that were seen"),
            )
        ],
        measures=[
            Choice(
                label=label,
                href=to(measure=measure, sort=""),
                current=measure == question.measure,
            )
            for measure, label in (("cost", "money"), ("bytes", "bytes"))
        ],
        compare=Choice(
            label="compare",
            title="with the interval of equal length before",
            href=to(compare=not question.compare),
            current=question.compare,
        ),
        swap=Choice(
            label="swap ends",
            href=to(
                filter=terms.swapped(question.filter),
                by=tuple(map(terms.opposite, question.by)),
            ),
            title="ask the same of the other end",
        ),
        clear=to(filter=""),
        keys=tuple(keys.keys()),
        start=_field(asked.window.start if asked.window else None),
        end=_field(asked.window.end if asked.window else None),
        hidden=_hidden(question),
        trouble=trouble(question.filter),
    )


def trouble(text: str) -> Trouble | None:
    """Return why a filter cannot be read, or None."""
    try:
        language.parse(text)
    except FilterError as error:
        return Trouble(message=error.message, position=error.position, hint=error.hint)
    return None


def _chips(question: Question, page: str) -> list[Chip]:
    found = []
    for index, name in enumerate(question.by):
        rest = tuple(key for key in question.by if key != name)
        moved = list(question.by)
        if index:
            moved[index - 1], moved[index] = moved[index], moved[index - 1]
        found.append(
            Chip(
                label=name,
                remove=address(page, structs.replace(question, by=rest)) if rest else "",
                left=address(page, structs.replace(question, by=tuple(moved))) if index else "",
            )
        )
    return found


def _hidden(question: Question) -> list[tuple[str, str]]:
    """Return what a form must repeat besides the filter."""
    return [pair for pair in parse_qsl(encode(question)) if pair[0] != "filter"]


def _field(instant: datetime | None) -> str:
    """Return an instant as a form's date field holds it; the page says that it is UTC."""
    return instant.strftime("%Y-%m-%dT%H:%M") if instant else ""
