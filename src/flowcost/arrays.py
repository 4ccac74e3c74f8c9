"""Arrow columns of small numbers, as every room that moves rows has them.

A number refers to a place in a list, and is never null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

Digits = tuple[Any, int]  # a column of numbers below a size


def flat(column: Any) -> Any:  # noqa: ANN401 - Arrow
    """Return a column as one array; one that is one already is not copied."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    return column.combine_chunks()


def sized(column: Any) -> Digits:  # noqa: ANN401 - Arrow
    """Return a column of numbers with the least size that holds them."""
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    return column, int(pc.max(column).as_py() or 0) + 1


def counted(rows: int) -> pa.Array:
    """Return 0, 1, 2 and so on, in 32 bits."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    return pc.subtract(pc.cumulative_sum(pa.repeat(pa.scalar(1, pa.int32()), rows)), 1)
