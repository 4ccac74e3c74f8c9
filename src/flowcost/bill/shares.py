"""Splitting in the engine: `money.split`, group by group, as one query.

Parts are whole numbers, sum to the total of their group exactly, and ties go to the smaller id.
Totals times weights must stay below 2**127: 10**16 printed digits (a million dollars) times
2**60 bytes do.
"""

from __future__ import annotations


def largest_remainder(source: str, *, group: str, row: str, total: str, weight: str) -> str:
    """Return a SELECT of `group, row, part` that splits each group's `total` by `weight`.

    Args:
        source: a relation (table name or parenthesised SELECT) with the four columns.
        group: column that names the group.
        row: column that orders and names the rows of a group.
        total: column with the total, the same in all rows of a group, not negative.
        weight: column with the weight, not negative; a group of zero weights gives all to its
            first row, so that nothing is lost.
    """
    return f"""
    SELECT {group}, {row}, CAST(CASE
               WHEN scale = 0 THEN CASE WHEN place = 1 THEN {total} ELSE 0 END
               ELSE floored + CASE WHEN place <= {total} - given THEN 1 ELSE 0 END
           END AS HUGEINT) AS part
    FROM (
        SELECT *, row_number() OVER (PARTITION BY {group} ORDER BY remainder DESC, {row}) AS place,
               sum(floored) OVER (PARTITION BY {group}) AS given
        FROM (
            SELECT *,
                   CASE WHEN scale = 0 THEN 0
                        ELSE CAST({total} AS HUGEINT) * {weight} // scale END AS floored,
                   CASE WHEN scale = 0 THEN 0
                        ELSE CAST({total} AS HUGEINT) * {weight} % scale END AS remainder
            FROM (
                SELECT {group}, {row}, {total}, {weight},
                       sum({weight}) OVER (PARTITION BY {group}) AS scale
                FROM {source}
            )
        )
    )
    """
