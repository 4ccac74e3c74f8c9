"""Which dated rate."""

from flowcost.price.book import Key, NoRate, RateBook, book_of
from flowcost.price.load import LIST_BOOK, list_book, list_book_problems, load_csv

__all__ = [
    "LIST_BOOK",
    "Key",
    "NoRate",
    "RateBook",
    "book_of",
    "list_book",
    "list_book_problems",
    "load_csv",
]
