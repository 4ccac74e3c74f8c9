"""Splitting in the engine: `money.split`, group by group, as one query.

Parts are whole numbers, sum to the total of their group exactly, and ties go to the smaller row.
Totals times weights must stay below 2**127: 10**16 printed digits (a million dollars) times
2**60 bytes do.
"""

from __future__ import annotations

_HALF = 20  # bits that a cost is divided in, so that products of two sides stay below 2**62
_SMALL = 1 << 40  # a tebibyte, or a hundred dollars in printed digits


def split_sql(source: str) -> str:
    """Return a SELECT of `pool, row, part` that splits each pool's `total` by `weight`.

    `source` is a relation with the columns `pool`, `row`, `total` (the same in all rows of a
    pool, not negative), `weight` (not negative), `scale` (sum of the pool's weights) and `rows`
    (their number). Pools that need no remainder are passed through without a sort: nearly all
    are. A pool of zero weights gives all to its first row, so that nothing is lost.
    """
    return f"""
    WITH given AS MATERIALIZED ({source})
    SELECT pool, row, CAST(CASE WHEN rows = 1 THEN total ELSE weight END AS HUGEINT) AS part
    FROM given WHERE rows = 1 OR total = scale
    UNION ALL
    SELECT pool, row, CAST(CASE
               WHEN scale = 0 THEN CASE WHEN place = 1 THEN total ELSE 0 END
               ELSE floored + CASE WHEN place <= total - covered THEN 1 ELSE 0 END
           END AS HUGEINT)
    FROM (
        SELECT *, row_number() OVER (PARTITION BY pool ORDER BY remainder DESC, row) AS place,
               sum(floored) OVER (PARTITION BY pool) AS covered
        FROM (
            SELECT *,
                   CASE WHEN scale = 0 THEN 0
                        ELSE CAST(total AS HUGEINT) * weight // scale END AS floored,
                   CASE WHEN scale = 0 THEN 0
                        ELSE CAST(total AS HUGEINT) * weight % scale END AS remainder
            FROM given WHERE rows > 1 AND total <> scale
        )
    )
    """


def first_of_two_sql(total: str, part: str, whole: str) -> str:
    """Return SQL of a total's share for `part` of `whole`, the first of two: half up.

    Of two parts the largest remainder is just that. `whole` is above zero, `part` within it, and
    the total may be below zero. Nearly all numbers are small: then it is long division in two
    steps, because the engine's 128-bit division is twenty times slower.
    """
    cost = f"abs({total})"
    high, low = f"({cost} >> {_HALF}) * {part}", f"({cost} & {(1 << _HALF) - 1}) * {part}"
    rest = f"(({high}) % {whole} << {_HALF}) + {low}"
    small = (
        f"((({high}) // {whole}) << {_HALF}) + ({rest}) // {whole}"
        f" + CASE WHEN 2 * (({rest}) % {whole}) >= {whole} THEN 1 ELSE 0 END"
    )
    large = f"({cost}::HUGEINT * {part} * 2 + {whole}) // ({whole}::HUGEINT * 2)"
    fits = f"{cost} < {_SMALL} AND {whole} < {_SMALL}"
    return f"sign({total}) * CASE WHEN {fits} THEN {small} ELSE {large} END"
