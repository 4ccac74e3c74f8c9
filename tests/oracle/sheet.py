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


def tiers(
    sheet: list[Price], usage: str, operation: str, region: str, other: str, day: date
) -> list[tuple[int, Fraction]]:
    """Return (start in GiB, dollars per GiB) of the meter's tiers; empty if not on the sheet."""
    # `usage` is spelled with region codes in front: the meter is what remains.
    fit = [
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
    exact = [row for row in fit if "*" not in (row.region, row.other)]
    near = [row for row in fit if row.region != "*"]
    chosen = exact or near or fit
    longest = max((len(row.meter) for row in chosen), default=0)
    return sorted((row.from_gib, row.usd) for row in chosen if len(row.meter) == longest)


def marginal(steps: list[tuple[int, Fraction]]) -> Fraction | None:
    """Return the price of the next byte without knowing the account: the first that is not free."""
    return next((usd for _, usd in steps if usd), steps[0][1] if steps else None)


def climb(steps: list[tuple[int, Fraction]], before: int, amount: int, free_gib: int) -> Fraction:
    """Return the cost of `amount` bytes after `before` bytes of the month.

    The first `free_gib` cost nothing and lie inside the first tier.
    """
    total = Fraction(0)
    bounds = [(0, Fraction(0)), (free_gib, steps[0][1]), *steps[1:]] if free_gib else steps
    for index, (start, usd) in enumerate(bounds):
        end = bounds[index + 1][0] * GIB if index + 1 < len(bounds) else before + amount
        part = min(before + amount, end) - max(before, start * GIB)
        if part > 0:
            total += Fraction(part, GIB) * usd
    return total
