"""Rows in one order, whatever order they come in: by content alone.

Who was at each end comes first, so that rows of one pair of ends lie together; then what is said of
them; measures decide between rows that are otherwise equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flowcost.arrays import Digits, counted, flat
from flowcost.schema import Column

if TYPE_CHECKING:
    import pyarrow as pa

MEASURES = ("bytes", "packets", "quantity", "list_cost")
TEXTS = ("text", "address")
_FIRST = ("local_id", "local_address", "remote_id", "remote_address")
# Who carries a line follows from the ends and the rest of what is said.
_LAST = ("payer_account", "resource_id")
_MOST = 1 << 62


def keys(columns: Sequence[Column]) -> list[str]:
    """Return the columns that order rows before measures do, first ones first."""
    names = {column.name for column in columns}
    ids = [c.name for c in columns if c.type == "int" and c.name not in MEASURES]
    texts = [c.name for c in columns if c.type in TEXTS]
    middle = [name for name in (*ids, *texts) if name not in (*_FIRST, *_LAST)]
    return [name for name in (*_FIRST, *middle, *_LAST) if name in names]


def order(given: pa.Table, columns: Sequence[Column]) -> Any:  # noqa: ANN401 - Arrow
    """Return the positions of rows in their order."""
    names = keys(columns)
    first = ranks(given[names[0]])
    if first[1] == len(given):  # an id that no two rows share
        return by([first])
    digits = [first, *(ranks(given[name]) for name in names[1:])]
    return settled(given, columns, digits)


def settled(given: pa.Table, columns: Sequence[Column], digits: Sequence[Digits]) -> Any:  # noqa: ANN401
    """Return the positions of rows by `digits`, of equal ones by their measures."""
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    key = packed(digits, len(given))
    found = pc.array_sort_indices(key)
    equal = ties(key.take(found))
    if not len(equal):
        return found
    rows = found.take(equal)
    of = given.take(rows)
    measures = [ranks(of[c.name]) for c in columns if c.name in MEASURES]
    return replaced(found, equal, rows.take(by([ranks(key.take(rows)), *measures])))


def ties(ordered: Any) -> Any:  # noqa: ANN401 - Arrow
    """Return the positions of ordered numbers that are equal to a neighbour."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415

    if len(ordered) < 2:
        return pa.array([], pa.uint64())
    alike = pc.equal(ordered.slice(1), ordered.slice(0, len(ordered) - 1))
    no = pa.array([False])
    return pc.indices_nonzero(pc.or_(pa.concat_arrays([no, alike]), pa.concat_arrays([alike, no])))


def replaced(column: Any, places: Any, values: Any) -> Any:  # noqa: ANN401 - Arrow
    """Return a column with other values at some places."""
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    return pc.replace_with_mask(column, _at(places, len(column)), values)


def by(digits: Sequence[Digits]) -> Any:  # noqa: ANN401 - Arrow
    """Return the positions of rows ordered by columns of numbers, equal ones as they are."""
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    return pc.array_sort_indices(packed(digits, len(digits[0][0])))


def ranks(column: Any) -> Digits:  # noqa: ANN401 - Arrow
    """Return each value's place among the sorted values that occur; null is the first."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415

    column = flat(column)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    indices, words = column.indices, column.dictionary
    used = indices.dictionary_encode()  # a dictionary may hold words twice, or for nothing
    found = words.take(used.dictionary).dictionary_encode()
    places = pc.array_sort_indices(pc.array_sort_indices(found.dictionary))
    rank = places.take(found.indices).take(used.indices).cast(pa.int64())
    if not rank.null_count:
        return rank, len(places)
    return pc.fill_null(pc.add(rank, 1), 0), len(places) + 1


def packed(digits: Sequence[Digits], rows: int) -> Any:  # noqa: ANN401 - Arrow
    """Return one column of 64-bit numbers that orders rows as all digits do."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415

    whole, product = pa.repeat(pa.scalar(0, pa.int64()), rows), 1
    for digit, size in digits:
        if size <= 1:
            continue
        if product * size > _MOST:
            whole, product = ranks(whole)
        whole = (
            pc.add(pc.multiply(whole, size), digit.cast(pa.int64()))
            if product > 1
            else (digit.cast(pa.int64()))
        )
        product *= size
    return whole


def without(column: Any, places: Any) -> Any:  # noqa: ANN401 - Arrow
    """Return a column but for the values at some places."""
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    return column.filter(pc.invert(_at(places, len(column))))


def _at(places: Any, rows: int) -> Any:  # noqa: ANN401 - Arrow
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    numbers = counted(rows)
    return pc.is_in(numbers, value_set=places.cast(numbers.type))
