"""Cells are numbers: a point's number and an hour's number side by side in 64 bits.

An hour's number counts hours since 1970; twenty bits hold those until 2089.
"""

from __future__ import annotations

HOUR_BITS = 20
MICROSECONDS = 3_600_000_000  # in an hour
_MASK = (1 << HOUR_BITS) - 1


def hour_sql(number: str) -> str:
    """Return SQL of the instant of an hour's number."""
    return f"make_timestamp(CAST({number} AS BIGINT) * {MICROSECONDS})"


def number_sql(instant: str) -> str:
    """Return SQL of the number of the hour that holds an instant."""
    return f"epoch_us({instant}) // {MICROSECONDS}"


def point_of_sql(cell: str) -> str:
    """Return SQL of the point of a cell."""
    return f"({cell} >> {HOUR_BITS})"


def hour_of_sql(cell: str) -> str:
    """Return SQL of the hour's number of a cell."""
    return f"({cell} & {_MASK})"
