"""Group keys: what a view can group and filter by, derived from `schema` and a few expressions.

A key is a name, a type, a sentence and an SQL expression over the aliases in `JOINS`. Identity
attributes stand at every end of a charge: `local.` and `remote.` (as observed), `source.` and
`destination.` (by direction), `other.` (opposite the payer), and bare: the end that
`attribute_by` says pays. An attribute an end does not have is `(unattributed)`: an account, never
an omission.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from functools import cache

from flowcost import address, clock
from flowcost.errors import UsageError
from flowcost.ledger.ends import (
    ADDRESSES,
    ATTRIBUTE_BY,
    LOCAL,
    REMOTE,
    SHOWN,
    SIDES,
    UNATTRIBUTED,
    at,
)
from flowcost.money import GIB
from flowcost.schema import CHARGES

UNPRICED = "(unpriced)"

# alias -> its join; a query takes the ones its expressions name.
_ENDS = f"(SELECT *, {SHOWN} AS shown FROM identities)"
JOINS = {
    "local_end": f"LEFT JOIN {_ENDS} AS local_end ON local_end.identity_id = c.local_id",
    "remote_end": f"LEFT JOIN {_ENDS} AS remote_end ON remote_end.identity_id = c.remote_id",
    "verdict": "LEFT JOIN verdicts AS verdict ON verdict.verdict_id = c.verdict_id",
    "rate": "LEFT JOIN rates AS rate ON rate.rate_id = c.rate_id",
}

# An observation's bytes stand on one of its charges; these keys tell its charges apart, so a view
# that uses one counts metered quantities instead.
METER_KEYS = frozenset(
    {
        "usage_type",
        "operation",
        "resource_id",
        "leg",
        "unit",
        "payer_account",
        "provenance",
        "rate",
    }
)


@dataclass(frozen=True)
class Key:
    """One group key; `empty` is what its value says where there is nothing."""

    name: str
    type: str
    doc: str
    sql: str
    empty: str = ""

    @property
    def counts_quantities(self) -> bool:
        """Return whether a view with this key counts metered quantities, not flow bytes."""
        return self.name in METER_KEYS

    def literal(self, operator: str, text: str) -> tuple[object, ...]:
        """Return the values to bind for `key operator text`; two for an address block.

        Raises:
            ValueError: the key cannot hold the value or does not know the operator.
        """
        if self.type == "text":
            return (text or self.empty,)
        if operator in ("~", "!~"):
            raise ValueError(f"{self.name} has no glob; compare with = > >= < <= or in")
        if self.type == "address":
            if operator not in ("=", "!="):
                raise ValueError(f"{self.name} has no order; use = or != with an address or block")
            return address.network(text)
        try:
            if self.type == "day":
                return (date.fromisoformat(text),)
            return (clock.parse(text).replace(tzinfo=None),)
        except ValueError:
            like = "a day like 2026-11-20" if self.type == "day" else "a time like 2026-11-20T13"
            raise ValueError(f"{text!r} is not {like}") from None


def joins(*sql: str) -> str:
    """Return the joins that the expressions `sql` need."""
    return " ".join(
        join for alias, join in JOINS.items() if any(f"{alias}." in text for text in sql)
    )


_CONVERSATION = (
    f"least({LOCAL['name'][0]}, {REMOTE['name'][0]}) || ' <-> ' ||"
    f" greatest({LOCAL['name'][0]}, {REMOTE['name'][0]})"
)

_PLAIN = (
    *(
        Key(
            column.name,
            column.type,
            column.doc,
            f"c.{column.name}" if column.type == "instant" else f"coalesce(c.{column.name}, '')",
        )
        for column in CHARGES
        if column.group_key
    ),
    Key("day", "day", "UTC day of use", "CAST(c.hour AS DATE)"),
    Key(
        "month",
        "text",
        "UTC calendar month of use (2026-11)",
        "substr(CAST(CAST(c.hour AS DATE) AS VARCHAR), 1, 7)",
    ),
    *(
        Key(f"{side}.address", "address", f"{SIDES[side]}: address, where it has no identity", sql)
        for side, sql in ADDRESSES.items()
    ),
    Key("rule", "text", "rule that decided the path", "coalesce(verdict.rule, '')"),
    Key(
        "rate",
        "text",
        "rate applied: price, unit, book, region, first day",
        "CASE WHEN c.rate_id IS NULL THEN '(unpriced)' ELSE rate.price || ' ' || rate.currency ||"
        f" '/' || CASE rate.unit_bytes WHEN {GIB} THEN 'GiB' ELSE rate.unit END ||"
        " ' (' || concat_ws(' ', rate.book, nullif(rate.region, ''),"
        " nullif(rate.to_region, ''), CAST(rate.effective_from AS VARCHAR)) || ')' END",
        UNPRICED,
    ),
    Key("conversation", "text", "the two ends by name, either way round", _CONVERSATION),
)


@cache
def keys(attribute_by: str = "local") -> dict[str, Key]:
    """Return every key by its name, in the order documents list them.

    Raises:
        UsageError: `attribute_by` is not one of `ATTRIBUTE_BY`.
    """
    if attribute_by not in ATTRIBUTE_BY:
        raise UsageError(
            f"cannot attribute by {attribute_by!r}", hint=f"one of {', '.join(ATTRIBUTE_BY)}"
        )
    found = {key.name: key for key in _PLAIN}
    for side, words in SIDES.items():
        for attribute, (_, doc) in LOCAL.items():
            name = f"{side}.{attribute}" if side else attribute
            sql = at(side, attribute, attribute_by)
            empty = "unknown" if attribute == "kind" else UNATTRIBUTED
            found[name] = Key(name, "text", f"{words}: {doc}", sql, empty)
    return found


@cache
def _spellings() -> dict[str, str]:
    return {_fold(name): name for name in keys()}


def _fold(name: str) -> str:
    return name.strip().lower().replace("_", ".")


def canonical(name: str) -> str | None:
    """Return the canonical spelling of a key (`.` and `_` are alike), or None."""
    return _spellings().get(_fold(name))


def nearest(name: str) -> str:
    """Return the most similar key, or an empty text where none is similar."""
    close = get_close_matches(_fold(name), _spellings(), n=1)
    return _spellings()[close[0]] if close else ""


def find(name: str, attribute_by: str = "local") -> Key:
    """Return the key `name`.

    Raises:
        UsageError: there is no such key; the hint names a similar one.
    """
    known = canonical(name)
    if known is None:
        similar = nearest(name)
        hint = f"did you mean {similar}?" if similar else "docs/costs.md lists all group keys"
        raise UsageError(f"unknown group key {name!r}", hint=hint)
    return keys(attribute_by)[known]
