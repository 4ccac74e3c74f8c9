"""A filter as tokens: what stands side by side under `and`, and how a click changes it.

Filters are trees here, never text: a value from the ledger cannot become syntax.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from msgspec import structs

from flowcost.errors import FilterError
from flowcost.ledger import filter as language
from flowcost.ledger import keys
from flowcost.ledger.filter import And, Compare, Expression, In, Not, Or

_OPPOSITE = {"local": "remote", "remote": "local", "source": "destination", "destination": "source"}


def terms(text: str) -> tuple[Expression, ...]:
    """Return what must all hold; nothing where the filter is blank or cannot be read."""
    try:
        tree = language.parse(text)
    except FilterError:
        return ()
    if tree is None:
        return ()
    return tree.terms if isinstance(tree, And) else (tree,)


def written(parts: Sequence[Expression]) -> str:
    """Return the filter in which all `parts` hold."""
    if not parts:
        return ""
    return language.show(parts[0] if len(parts) == 1 else And(tuple(parts)))


def fixed(text: str) -> dict[str, str]:
    """Return the keys a filter holds to one value each, in the order they were set."""
    return {
        term.key: term.value
        for term in terms(text)
        if isinstance(term, Compare) and term.operator == "="
    }


def held(text: str, values: Mapping[str, str]) -> str:
    """Return the filter with `key = value` for each pair; an earlier hold of a key gives way."""
    added = [Compare(key, "=", value) for key, value in values.items()]
    return written([*terms(released(text, values)), *added])


def released(text: str, names: Container[str]) -> str:
    """Return the filter that holds none of the keys `names` to one value."""
    return written(
        [
            term
            for term in terms(text)
            if not (isinstance(term, Compare) and term.operator == "=" and term.key in names)
        ]
    )


def without(text: str, index: int) -> str:
    """Return the filter without its term number `index`."""
    return written([term for number, term in enumerate(terms(text)) if number != index])


def swapped(text: str) -> str:
    """Return the filter as seen from the other end."""
    return written([_swapped(term) for term in terms(text)])


def opposite(key: str) -> str:
    """Return the key that says the same of the other end; keys of no end stay."""
    side, _, rest = key.partition(".")
    if side in _OPPOSITE:
        other = f"{_OPPOSITE[side]}.{rest}"
    elif side == "other":
        other = rest
    else:
        other = f"other.{key}"
    return other if keys.canonical(other) == other else key


def _swapped(term: Expression) -> Expression:
    match term:
        case Compare() | In():
            return structs.replace(term, key=opposite(term.key))
        case Not(inner):
            return Not(_swapped(inner))
        case And(parts):
            return And(tuple(map(_swapped, parts)))
        case Or(parts):
            return Or(tuple(map(_swapped, parts)))
