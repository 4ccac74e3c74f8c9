"""A price altered by a ten-billionth of a dollar, on one side only, must be noticed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest

from flowcost.model import Rate
from flowcost.price import NoRate, book_of, list_book

from . import sheet as prices
from .book import derive
from .engine import answer, difference
from .world import read

FOLDER = Path(__file__).parents[2] / "src" / "flowcost" / "scenarios"
NAMES = sorted(
    (path.parent.name for path in FOLDER.glob("*/scenario.toml")),
    key=lambda name: (FOLDER / name / "flows.csv").stat().st_size,
)
Priced = tuple[str, str, str, str, date]  # usage type, operation, region, second region, day


class Notes:
    """Which scenario priced what, and by which rows of the sheet; smallest folders first."""

    def __init__(self) -> None:
        self.name = ""
        self.priced: dict[Priced, list[str]] = {}
        self.rows: dict[prices.Price, list[str]] = {}
        self.tiered = {
            name for name in NAMES if read(FOLDER / name).options.get("tiering") == "account_meter"
        }

    def fit(self, sheet, *place):
        found = prices_fit(sheet, *place)
        self.priced.setdefault(place, []).append(self.name)
        for row in found:
            self.rows.setdefault(row, []).append(self.name)
        return found


prices_fit = prices.fit


@pytest.fixture(scope="module")
def notes() -> Notes:
    taken = Notes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prices, "fit", taken.fit)
        for taken.name in NAMES:
            derive(read(FOLDER / taken.name))
    return taken


def test_an_altered_rate_of_the_product_is_noticed(notes):
    everything = [rate for _, rate in list_book().rates()]
    users: dict[Rate, list[str]] = {}
    for (usage, operation, region, other, day), names in notes.priced.items():
        tiers = list_book().lookup(
            provider="aws", usage_type=usage, operation=operation, region=region,
            to_region=other, on=day,
        )  # fmt: skip
        if isinstance(tiers, NoRate):
            continue
        marginal = next((rate for rate in tiers if rate.price), tiers[0])
        for rate in tiers:
            due = names if rate is marginal else [name for name in names if name in notes.tiered]
            if due:
                users.setdefault(rate, []).extend(due)
    assert len(users) > 60
    unnoticed = [
        rate
        for rate, names in users.items()
        if not any(
            difference(
                derive(read(FOLDER / name)),
                answer(FOLDER / name, _raised(everything, rate)).expected,
            )
            for name in dict.fromkeys(names)
        )
    ]
    assert unnoticed == []


def _raised(everything: list[Rate], one: Rate):
    """Return a book whose rows for the meter hide the list's, with `one` a little dearer."""
    dearer = msgspec.structs.replace(one, price=one.price + Decimal("1e-10"))
    meter = (one.usage_type, one.operation, one.region, one.to_region)
    rows = [
        dearer if rate == one else rate
        for rate in everything
        if (rate.usage_type, rate.operation, rate.region, rate.to_region) == meter
    ]
    return book_of(rows, "altered", beneath=list_book())


def test_an_altered_row_of_the_sheet_is_noticed(notes):
    rows = prices.read()
    unnoticed = []
    for index, row in enumerate(rows):
        dearer = replace(row, usd=row.usd + Fraction(1, 10**10))
        altered = [*rows[:index], dearer, *rows[index + 1 :]]
        if not any(
            difference(derive(read(FOLDER / name), altered), derive(read(FOLDER / name), rows))
            for name in notes.rows.get(row, ())
        ):
            unnoticed.append(f"{row.meter} {row.operation} {row.region} from {row.from_gib} GiB")
    assert unnoticed == []
