"""What changed between two intervals, exact for every row that is shown.

Only the dearest rows of each interval are read whole; a row that is among them in one interval
alone is looked up in the other, so that no change is against a guess of nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from msgspec import Struct, structs

from flowcost.ledger import filter as language
from flowcost.ledger.filter import And, In
from flowcost.ledger.keys import find
from flowcost.ledger.query import OTHER, Selection, Table, costs
from flowcost.schema import Column
from flowcost.views.tables import plain
from flowcost.views.web.asked import Asked
from flowcost.views.web.same import sort_of

CANDIDATES = 100  # rows of either interval among which the largest changes are sought

Keys = tuple[Any, ...]


class Amount(Struct, frozen=True):
    """What a row adds up to in one interval."""

    bytes: int
    list_cost: int
    unpriced_bytes: int


NOTHING = Amount(0, 0, 0)


class Move(Struct, frozen=True, kw_only=True):
    """A row of two intervals."""

    keys: Keys
    now: Amount
    before: Amount


class Comparison(Struct, frozen=True):
    """The rows of an interval, what each was before, and the largest changes."""

    now: Table
    before: dict[Keys, Amount]
    moves: list[Move]
    compared: bool = True


def compared(asked: Asked, before: Selection | None, *, by: tuple[str, ...]) -> Comparison:
    """Return the rows of what is asked, the rest as `(other)`, against those of `before`.

    Money or bytes ranks rows and changes; `before` is None where nothing is to compare with.
    """
    sort, top = sort_of(asked.question, by), asked.question.top
    measure = "bytes" if asked.question.measure == "bytes" else "list_cost"
    ranked = f"-{measure}"
    most = max(top, CANDIDATES)
    table = asked.answer(costs, asked.selection, by=by, sort=sort, limit=most)
    if before is None:
        return Comparison(_cut(table, top), {}, [], compared=False)
    now = _amounts(table)
    was = _amounts(asked.answer(costs, before, by=by, sort=ranked, limit=CANDIDATES))
    was |= _looked_up(asked, before, by, known=was, of=now)
    both = now | _looked_up(asked, asked.selection, by, known=now, of=was)
    return Comparison(_cut(table, top), was, _moves(both, was, measure))


def _looked_up(
    asked: Asked,
    selection: Selection,
    by: tuple[str, ...],
    *,
    known: dict[Keys, Amount],
    of: Collection[Keys],
) -> dict[Keys, Amount]:
    """Return the rows `of` another interval in one of which only the rows `known` were read."""
    cut_off = any(OTHER in keys or keys[0] is None for keys in known)
    wanted = {k for k in of if k not in known and OTHER not in k and k[0] is not None}
    if not cut_off or not wanted:
        return {}
    key = find(by[0])
    column = Column(key.name, key.type, key.doc)
    values = sorted({str(plain(column, keys[0])) for keys in wanted})
    one_of = In(by[0], tuple(values))
    tree = language.parse(selection.where)
    where = language.show(one_of if tree is None else And((tree, one_of)))
    table = asked.answer(costs, structs.replace(selection, where=where), by=by)
    return {keys: amount for keys, amount in _amounts(table).items() if keys in wanted}


def _amounts(table: Table) -> dict[Keys, Amount]:
    return {tuple(row[:-3]): Amount(*row[-3:]) for row in table.rows}


def _cut(table: Table, top: int) -> Table:
    """Return the first `top` rows and the rest as one."""
    shown, rest = table.rows[:top], table.rows[top:]
    if not rest:
        return table
    names = len(table.columns) - 3
    other = tuple(OTHER if c.type == "text" else None for c in table.columns[:names])
    sums = tuple(sum(row[names + index] for row in rest) for index in range(3))
    return Table(table.columns, (*shown, (*other, *sums)))


def _moves(now: dict[Keys, Amount], before: dict[Keys, Amount], measure: str) -> list[Move]:
    found = [
        Move(keys=keys, now=now.get(keys, NOTHING), before=before.get(keys, NOTHING))
        for keys in {*now, *before}
        if OTHER not in keys
    ]
    return sorted(
        (move for move in found if _size(move, measure)),
        key=lambda move: (-_size(move, measure), tuple(map(str, move.keys))),
    )


def _size(move: Move, measure: str) -> int:
    now, before = (getattr(side, measure) for side in (move.now, move.before))
    return abs(int(now) - int(before))
