"""The oracle's own prices, typed from AWS's public pages into `sheet.csv`, as fractions.

Rows name a meter without its region code. `*` stands for any region or operation; a row that
names the place wins over one that does not. `since` is the first day for which a public source
shows the price, `from_gib` the start of a tier in units of 2**30 bytes.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path

GIB = 2**30
FREE_EGRESS_GIB = 100


@dataclass(frozen=True)
class Price:
    """One row of the sheet."""

    meter: str
    operation: str
    region: str
    other: str
    since: date
    until: date
    from_gib: int
    usd: Fraction


def read(path: Path | None = None) -> list[Price]:
    """Return the sheet's rows."""
    with (path or Path(__file__).with_name("sheet.csv")).open(newline="") as file:
        return [
            Price(
                row["meter"],
                row["operation"],
                row["region"],
                row["other"],
                date.fromisoformat(row["since"]),
                date.fromisoformat(row["until"] or "9999-12-31"),
                int(row["from_gib"]),
                Fraction(row["usd"]),
            )
            for row in csv.DictReader(file)
        ]


def fit(
    sheet: list[Price], usage: str, operation: str, region: str, other: str, day: date
) -> list[Price]:
    """Return the meter's rows on `day`, one per tier; empty if the meter is not on the sheet."""
    # `usage` is spelled with region codes in front: the meter is what remains.
    fitting = [
        row
        for row in sheet
        if (usage == row.meter or usage.endswith("-" + row.meter))
        and usage[: -len(row.meter)].count("-") <= 1 + bool(other)
        and row.operation in ("*", operation)
        and row.region in ("*", region)
        and row.other in ("*", other)
        and bool(row.other) == bool(other)
        and row.since <= day < row.until
    ]
    exact = [row for row in fitting if "*" not in (row.region, row.other)]
    near = [row for row in fitting if row.region != "*"]
    chosen = exact or near or fitting
    longest = max((len(row.meter) for row in chosen), default=0)
    return sorted(
        (row for row in chosen if len(row.meter) == longest), key=lambda row: row.from_gib
    )


def marginal(rows: list[Price]) -> Price | None:
    """Return the price of the next byte without knowing the account: the first that is not free."""
    return next((row for row in rows if row.usd), rows[0] if rows else None)


def climb(rows: list[Price], before: int, amount: int, free: int) -> Fraction:
    """Return the cost of `amount` bytes after `before` bytes of the month.

    Of these the first `free` cost nothing; they count as used in the tier they fall into.
    """
    total = Fraction(0)
    begin, end = before + min(free, amount), before + amount
    for index, row in enumerate(rows):
        top = rows[index + 1].from_gib * GIB if index + 1 < len(rows) else end
        part = min(end, top) - max(begin, row.from_gib * GIB)
        if part > 0:
            total += Fraction(part, GIB) * row.usd
    return total
