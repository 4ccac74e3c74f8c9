"""The way down: total, team, namespace, workload, conversation, charges, and the way back."""

from __future__ import annotations

from collections.abc import Container

from msgspec import Struct, structs

from flowcost.views.web import terms
from flowcost.views.web.question import Question, address

# What each step down tells apart, and its word in a breadcrumb.
LEVELS = (
    ("owner.team", "team"),
    ("k8s.namespace.name", "namespace"),
    ("k8s.workload.name", "workload"),
    ("conversation", "conversation"),
)
_WORDS = dict(LEVELS)
OVERVIEW, CHARGES = "/", "/charges"


class Crumb(Struct, frozen=True):
    """One step of the way down: what it is, its value, and where it was."""

    word: str
    value: str
    href: str


def down(question: Question, values: dict[str, str]) -> str:
    """Return the address one step below the rows that hold `values`."""
    where = terms.held(question.filter, values)
    return below(structs.replace(question, filter=where, sort="", top=Question().top))


def below(question: Question) -> str:
    """Return the address of the next level a question does not hold yet."""
    level = next_level(question)
    if level is None:
        return address(CHARGES, question)
    return address(OVERVIEW, structs.replace(question, by=(level,)))


def next_level(question: Question) -> str | None:
    """Return the key that tells the next level apart; None where only charges are left."""
    held = terms.fixed(question.filter)
    deepest = max((n for n, (key, _) in enumerate(LEVELS) if key in held), default=-1)
    return LEVELS[deepest + 1][0] if deepest + 1 < len(LEVELS) else None


def crumbs(question: Question) -> list[Crumb]:
    """Return the steps a filter has taken, the total first."""
    held = [(key, value) for key, value in terms.fixed(question.filter).items() if key in _WORDS]
    taken = sorted(held, key=lambda pair: list(_WORDS).index(pair[0]))
    total = structs.replace(_released(question, _WORDS), by=Question().by)
    found = [Crumb("total", "Total", address(OVERVIEW, total))]
    for index, (key, value) in enumerate(taken):
        later = dict(taken[index + 1 :])
        found.append(Crumb(_WORDS[key], value, below(_released(question, later))))
    return found


def up(question: Question) -> str:
    """Return the address one step above, or nothing at the top."""
    steps = crumbs(question)
    return steps[-2].href if len(steps) > 1 else ""


def _released(question: Question, names: Container[str]) -> Question:
    """Return the question without the holds on the keys `names`."""
    return structs.replace(question, filter=terms.released(question.filter, names), sort="")
