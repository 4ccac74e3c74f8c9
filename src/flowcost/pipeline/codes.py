"""Columns of small numbers: whatever rows compare or group by is an Arrow column of integers.

A number refers to a place in a list, so looking something up for every row is a `take`, which costs
a nanosecond or two per row, where a join costs a hundred. Numbers are never null.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from flowcost.arrays import Digits, flat
from flowcost.errors import FlowcostError

_MOST = 1 << 62
_LIMIT = 1 << 63
SLICE = 1 << 18  # rows


class Distinct(Struct, frozen=True):
    """Which of the distinct combinations of `columns` each row has (`numbers`).

    `keys` are the combinations, packed; null where they had to be numbered anew for it.
    """

    columns: tuple[Digits, ...]
    numbers: Any
    keys: Any
    size: int

    @property
    def firsts(self) -> Any:  # noqa: ANN401 - Arrow
        """Return the first row that has each."""
        if not self.size:
            return self.numbers
        # Numbers are given in the order of first appearance: a first one exceeds all before it.
        before = pc.cumulative_max(self.numbers.slice(0, len(self.numbers) - 1))
        before = pa.concat_arrays([pa.array([-1], self.numbers.type), before])
        return pc.indices_nonzero(pc.greater(self.numbers, before))

    def digits(self) -> list[Any]:
        """Return the columns' numbers in each."""
        if self.keys is None:
            return [flat(column).take(self.firsts) for column, _ in self.columns]
        found: list[Any] = []
        left = self.keys
        for column, size in reversed(self.columns):
            if size <= 1:
                found.append(same(0, self.size, column.type))
                continue
            above = pc.divide(left, size)
            found.append(pc.subtract(left, pc.multiply(above, size)).cast(column.type))
            left = above
        return found[::-1]


def coded(column: Any) -> Digits:  # noqa: ANN401 - Arrow
    """Return a column of any type as numbers of its distinct values; null is one of them."""
    column = flat(column)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    numbers, size = column.indices.cast(pa.int32()), len(column.dictionary)
    if numbers.null_count:
        return numbers.fill_null(size), size + 1
    return numbers, size


def packed(columns: Sequence[Digits], rows: int) -> Digits:
    """Return columns as one column of 64-bit numbers, equal where all of them are.

    Where they need more than 62 bits, what was packed so far is numbered anew.
    """
    product = prod(size for _, size in columns)
    if product <= 1:
        return same(0, rows, pa.int64()), 1
    if product <= _MOST:
        parts = [
            _packed([(column.slice(start, SLICE), size) for column, size in columns])
            for start in range(0, rows, SLICE)
        ]
        return (pa.concat_arrays(parts) if parts else pa.array([], pa.int64())), product
    *before, last = columns
    first, size = packed(before, rows)
    found = first.dictionary_encode()
    return packed([(found.indices, min(size, len(found.dictionary))), last], rows)


def _packed(columns: Sequence[Digits]) -> Any:  # noqa: ANN401 - Arrow
    whole: Any = None
    for column, size in columns:
        if size > 1:
            digit = flat(column).cast(pa.int64())
            whole = digit if whole is None else pc.add(pc.multiply(whole, size), digit)
    return whole


def distinct(columns: Sequence[Digits], rows: int) -> Distinct:
    """Return which rows have equal numbers in all columns."""
    found = packed(columns, rows)[0].dictionary_encode()
    whole = prod(size for _, size in columns) <= _MOST
    keys = found.dictionary if whole else None
    return Distinct(tuple(columns), found.indices, keys, len(found.dictionary))


def same(value: object, rows: int, kind: Any = None) -> Any:  # noqa: ANN401 - Arrow
    """Return a column that says the same in every row."""
    return pa.repeat(pa.scalar(value, kind or pa.int32()), rows)


def slices(rows: pa.Table) -> Iterator[pa.Table]:
    """Yield rows in pieces, so that what is found of each row is never there for all at once."""
    for start in range(0, len(rows), SLICE):
        yield rows.slice(start, SLICE)


def united(parts: Sequence[tuple[pa.Table, pa.Table]], name: str) -> tuple[pa.Table, pa.Table]:
    """Return rows whose column `name` refers to rows of one table of their own, as one.

    What they refer to is there once in the table that is returned beside them.
    """
    every = pa.concat_tables([referred for _, referred in parts])
    alike = distinct([coded(column) for column in every.columns], len(every))
    rows, start = [], 0
    for part, referred in parts:
        numbers = alike.numbers.slice(start, len(referred)).take(flat(part[name]))
        start += len(referred)
        rows.append(part.set_column(part.column_names.index(name), name, numbers))
    return pa.concat_tables(rows).combine_chunks(), every.take(alike.firsts).combine_chunks()


def where(mask: Any, rows: pa.Table) -> pa.Table:  # noqa: ANN401 - Arrow
    """Return the rows that a mask chooses."""
    return rows if pc.all(mask, min_count=0).as_py() else rows.filter(mask)


def among(columns: Sequence[Digits], rows: int, chosen: Sequence[Any]) -> Any:  # noqa: ANN401 - Arrow
    """Return which rows have the numbers of some row of `chosen`, a set of like columns."""
    size = len(chosen[0])
    together = [
        (pa.concat_arrays([column.cast(pa.int64()), other.cast(pa.int64())]), most)
        for (column, most), other in zip(columns, chosen, strict=True)
    ]
    keys = packed(together, rows + size)[0]
    return pc.is_in(keys.slice(0, rows), value_set=keys.slice(rows).unique())


def summed(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Return `rows` of equal `keys` (columns of numbers) as one, `bytes` and `packets` summed.

    Raises:
        FlowcostError: a sum is beyond 64 bits.
    """
    measures = ("bytes", "packets")
    for name in measures:
        _check_sum(flat(rows[name]))
    found = rows.group_by(list(keys), use_threads=False).aggregate([(m, "sum") for m in measures])
    return (
        found.select([*keys, *(f"{name}_sum" for name in measures)])
        .rename_columns([*keys, *measures])
        .combine_chunks()
    )


def _check_sum(column: Any) -> None:  # noqa: ANN401 - Arrow
    """Refuse what Arrow would sum modulo 2**64."""
    if (pc.max(column).as_py() or 0) * len(column) < _LIMIT:
        return
    if pc.sum(column.cast(pa.decimal128(19, 0))).as_py() >= _LIMIT:
        raise FlowcostError(
            "the flows of one batch sum to more than 2**63 bytes or packets",
            hint="no network carries as much in an hour: look for a broken log",
        )
