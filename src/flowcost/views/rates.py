"""Rates as rows: the columns that `flowcost rates` prints, and how a rate fills them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from flowcost.model import Rate
from flowcost.schema import Column

KEY_COLUMNS = (
    Column("usage_type", "text", "provider usage type"),
    Column("operation", "text", "provider operation; empty for any"),
    Column("region", "text", "region that prices it"),
    Column("to_region", "text", "destination of an inter-region meter"),
)
_TIER = (
    Column("tier_from", "bytes", "start of the tier in the month"),
    Column("tier_to", "bytes", "end of the tier, exclusive; empty if open"),
)
_PRICE = (
    Column("price", "text", "decimal price per unit"),
    Column("unit", "text", "billing unit"),
    Column("currency", "text", "ISO 4217"),
)
_FROM = Column("effective_from", "day", "first day of validity")
_TO = Column("effective_to", "day", "day after the last; empty if open")
_CHECKED = Column("checked_on", "day", "newest publication the price was seen in")
_AGE = Column("age_days", "int", "days since it was checked")
_SOURCE = Column("source_url", "text", "where the price is published")
_BOOK = Column("book", "text", "rate book")
_MARGINAL = Column("marginal", "flag", "the rate applied where tiers are not counted")

LIST_SHOWN = (*KEY_COLUMNS, *_TIER, *_PRICE, _FROM, _TO, _CHECKED, _BOOK)
LIST_COLUMNS = (
    *LIST_SHOWN,
    Column("unit_bytes", "int", "quantities in a unit"),
    Column("sku", "text", "provider SKU, if seen"),
    _SOURCE,
    _AGE,
    Column("provider", "text", "cloud"),
)
SHOW_COLUMNS = (*LIST_COLUMNS, _MARGINAL)
SHOW_SHOWN = (*KEY_COLUMNS[:3], *_TIER, *_PRICE[:2], _MARGINAL, _FROM, _AGE, _SOURCE, _BOOK)
CHECK_COLUMNS = (
    _BOOK,
    Column("rates", "int", "rows"),
    Column("usage_types", "int", "distinct usage types"),
    Column("regions", "int", "distinct regions"),
    Column("oldest_check", "day", "oldest publication"),
    Column("newest_check", "day", "newest publication"),
    Column("age_days", "int", "days since the newest"),
)
DIFF_COLUMNS = (
    Column("change", "text", "added, removed or changed"),
    *KEY_COLUMNS,
    _TIER[0],
    Column("old", "text", "price before"),
    Column("new", "text", "price after"),
)


def rate_row(book: str, rate: Rate, today: date) -> dict[str, object]:
    """Return a rate by column name; the price as a decimal text."""
    fields = {name: getattr(rate, name) for name in rate.__struct_fields__}
    age = (today - rate.checked_on).days
    return fields | {"price": f"{rate.price:f}", "book": book, "age_days": age}


def age_of(rates: Sequence[Rate], today: date) -> int:
    """Return the days since the newest check of `rates`, which are not empty."""
    return (today - max(rate.checked_on for rate in rates)).days


def book_row(book: str, rates: Sequence[Rate], today: date) -> dict[str, object]:
    """Return what a book covers and how old it is; `rates` are not empty."""
    return {
        "book": book,
        "rates": len(rates),
        "usage_types": len({rate.usage_type for rate in rates}),
        "regions": len({rate.region for rate in rates}),
        "oldest_check": min(rate.checked_on for rate in rates),
        "newest_check": max(rate.checked_on for rate in rates),
        "age_days": age_of(rates, today),
    }
