"""Books come from CSV files: the packaged list prices, and what the operator lays over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from flowcost.errors import RateError
from flowcost.model import Finding
from flowcost.price.book import Index, RateBook, book_of, index
from flowcost.price.parse import Problem, Row, read, refuse
from flowcost.price.table import load_price_table, price_table_book
from flowcost.price.validate import problems_of

LIST_BOOK = "list"
_RATES = Path(__file__).with_name("rates")  # one folder per provider


def _read_files(files: Iterable[Path], base: Path) -> tuple[list[Row], list[Problem]]:
    rows: list[Row] = []
    problems: list[Problem] = []
    for file in files:
        name = str(file) if file == base else str(file.relative_to(base))
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as fault:
            problems.append(Problem(name, 0, "file", f"cannot be read: {fault}"))
            continue
        more, faults = read(text, name)
        rows += more
        problems += faults
    return rows, problems


@cache
def _packaged(provider: str) -> Index:
    """Return one provider's packaged rates; a test, not every run, checks gaps and overlaps."""
    rows, problems = _read_files(sorted((_RATES / provider).glob("*.csv")), _RATES)
    refuse(problems)
    return index(row.rate for row in rows)


@cache
def list_book() -> RateBook:
    """Return the public list prices as packaged, read on first use of a provider."""
    providers = sorted(folder.name for folder in _RATES.iterdir() if any(folder.glob("*.csv")))
    return RateBook(LIST_BOOK, tuple(providers), _packaged)


def list_book_problems() -> list[Problem]:
    """Return every fault of the packaged books."""
    rows, problems = _read_files(sorted(_RATES.glob("*/*.csv")), _RATES)
    return problems + problems_of(rows)


def _foreign(rows: Sequence[Row], beneath: RateBook | None) -> list[Problem]:
    """Return the rows in another currency than the rest: charges are summed, never converted."""
    used = (rate.currency for _, rate in beneath.rates()) if beneath else iter(())
    currency = next(used, rows[0].rate.currency if rows else "")
    return [
        Problem(row.file, row.line, "currency", f"{row.rate.currency}, but other rates: {currency}")
        for row in rows
        if row.rate.currency != currency
    ]


def load_csv(path: Path, beneath: RateBook | None = None) -> RateBook:
    """Read an operator's book: one CSV file, or a folder of them, with the packaged columns.

    Args:
        path: the file or folder; its stem names the book.
        beneath: the book that answers where this one is silent.

    Raises:
        RateError: anything is wrong; every fault is listed with file, row and field.
    """
    files = sorted(path.rglob("*.csv")) if path.is_dir() else [path]
    rows, problems = _read_files(files, path)
    refuse(problems or problems_of(rows) + _foreign(rows, beneath))
    if not rows:
        raise RateError(f"{path} holds no rate", hint="give a CSV file with rows, or a folder")
    return book_of((row.rate for row in rows), path.stem, beneath)


def load_book(path: Path, beneath: RateBook | None = None) -> tuple[RateBook, tuple[Finding, ...]]:
    """Read an operator's book of either kind: CSV (file or folder), or a JSON price table.

    Raises:
        RateError: the book is malformed.
    """
    if path.suffix == ".json":
        table, warnings = load_price_table(path)
        return price_table_book(table, path.stem, beneath), warnings
    return load_csv(path, beneath), ()
