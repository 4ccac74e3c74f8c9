"""Splitting in the engine: `money.split`, group by group, as one query.

Parts are whole numbers, sum to the total of their group exactly, and ties go to the smaller row.
Totals times weights must stay below 2**127: 10**16 printed digits (a million dollars) times
2**60 bytes do.
"""

from __future__ import annotations


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
