"""Which dated rate."""

from flowcost.price.book import Key, NoRate, RateBook, book_of, in_force
from flowcost.price.compare import Difference, differences
from flowcost.price.load import LIST_BOOK, list_book, list_book_problems, load_book, load_csv
from flowcost.price.profiles import (
    BILL,
    PROFILES,
    Basis,
    Profile,
    price_literal,
    with_price_table,
)
from flowcost.price.table import PriceTable, load_price_table, price_table_book
from flowcost.price.tiers import (
    Position,
    Segment,
    account_meter,
    free_pool,
    marginal,
    numerator,
    segments,
)

__all__ = [
    "BILL",
    "LIST_BOOK",
    "PROFILES",
    "Basis",
    "Difference",
    "Key",
    "NoRate",
    "Position",
    "PriceTable",
    "Profile",
    "RateBook",
    "Segment",
    "account_meter",
    "book_of",
    "differences",
    "free_pool",
    "in_force",
    "list_book",
    "list_book_problems",
    "load_book",
    "load_csv",
    "load_price_table",
    "marginal",
    "numerator",
    "price_literal",
    "price_table_book",
    "segments",
    "with_price_table",
]
