"""A filter becomes an SQL condition: keys are looked up, values are bound, never text."""

from __future__ import annotations

import re

from flowcost.ledger import keys
from flowcost.ledger.filter import And, Compare, Expression, In, Not, Or


def sql(found: Expression | None, attribute_by: str = "local") -> tuple[str, list[object]]:
    """Return a condition that is never null, and the values to bind to its `?`."""
    match found:
        case None:
            return "TRUE", []
        case Not(term):
            inner, values = sql(term, attribute_by)
            return f"NOT {inner}", values
        case And(terms) | Or(terms):
            parts = [sql(term, attribute_by) for term in terms]
            word = " AND " if isinstance(found, And) else " OR "
            return f"({word.join(text for text, _ in parts)})", [v for _, vs in parts for v in vs]
        case In(key, members):
            return sql(_either(key, members), attribute_by)
        case Compare(key, operator, value):
            return _comparison(keys.find(key, attribute_by), operator, value)


def _either(key: str, members: tuple[str, ...]) -> Expression:
    terms = tuple(Compare(key, "=", value) for value in members)
    return terms[0] if len(terms) == 1 else Or(terms)


def _comparison(key: keys.Key, operator: str, value: str) -> tuple[str, list[object]]:
    bound = list(key.literal(operator, value))
    if operator in ("!=", "!~"):
        text, bound = _comparison(key, operator[1], value)
        return f"NOT {text}", bound
    if operator == "~":
        return f"coalesce({key.sql} LIKE ? ESCAPE '\\', FALSE)", [like(value)]
    if key.type == "address":
        return f"coalesce({key.sql} BETWEEN ? AND ?, FALSE)", bound
    return f"coalesce({key.sql} {operator} ?, FALSE)", bound


def like(glob: str) -> str:
    r"""Return the LIKE pattern (escape `\`) of a glob of `*` and `?`."""
    escaped = re.sub(r"([%_\\])", r"\\\1", glob)
    return escaped.replace("*", "%").replace("?", "_")
