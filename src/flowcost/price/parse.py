"""CSV text becomes rates; every fault is named by file, row and field."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from flowcost import money
from flowcost.errors import RateError
from flowcost.model import Rate

COLUMNS = Rate.__struct_fields__
MAX_LISTED = 20

_PRICE = re.compile(r"\d{1,9}(\.\d{1,10})?", re.ASCII)
_WHOLE = re.compile(r"\d{1,30}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


class Row(NamedTuple):
    """A rate and where it was written; lines count from 1, the header included."""

    rate: Rate
    file: str
    line: int


class Problem(NamedTuple):
    """One fault of a book; `line` 0 means the file as a whole."""

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file} row {self.line}" if self.line else self.file
        return f"{place}, {self.field}: {self.message}"


def refuse(problems: Sequence[Problem]) -> None:
    """Raise one error that lists `problems`; do nothing if there are none.

    Raises:
        RateError: there are problems; its text names file, row and field of the first twenty.
    """
    if problems:
        lines = [str(problem) for problem in problems[:MAX_LISTED]]
        if len(problems) > MAX_LISTED:
            lines.append(f"and {len(problems) - MAX_LISTED} more")
        raise RateError("\n  ".join(lines), hint="mend the book; nothing of it was used")


def _text(cell: str) -> str:
    if not cell.strip():
        raise ValueError("is empty")
    return cell


def _any_text(cell: str) -> str:
    return cell


@lru_cache(maxsize=1024)
def _whole(cell: str) -> int:
    if not _WHOLE.fullmatch(cell):
        raise ValueError(f"{cell!r} is not a whole number")
    return int(cell)


@lru_cache(maxsize=1024)
def day(cell: str) -> date:
    """Return the day of an ISO 8601 text `YYYY-MM-DD`.

    Raises:
        ValueError: any other text.
    """
    if not _DAY.fullmatch(cell):
        raise ValueError(f"{cell!r} is not a day like 2026-11-20")
    try:
        return date.fromisoformat(cell)
    except ValueError:
        raise ValueError(f"{cell!r} is not a day of the calendar") from None


@lru_cache(maxsize=1024)
def _price(cell: str) -> Decimal:
    if not _PRICE.fullmatch(cell):
        raise ValueError(f"{cell!r} is not a price like 0.045, of at most ten decimals")
    return Decimal(cell)


@lru_cache(maxsize=64)
def _unit_bytes(cell: str) -> int:
    size = _whole(cell)
    if size not in money.UNITS:
        raise ValueError(f"{size} is not one of {', '.join(map(str, money.UNITS))}")
    return size


@lru_cache(maxsize=64)
def _currency(cell: str) -> str:
    if not _CURRENCY.fullmatch(cell):
        raise ValueError(f"{cell!r} is not an ISO 4217 code")
    return cell


def _web_address(cell: str) -> str:
    if not cell.startswith(("https://", "http://")):
        raise ValueError(f"{cell!r} is not a web address")
    return cell


def _if_given(convert: Callable[[str], object]) -> Callable[[str], object]:
    return lambda cell: convert(cell) if cell else None


_CONVERT: dict[str, Callable[[str], object]] = {
    "provider": _text,
    "usage_type": _text,
    "operation": _any_text,
    "region": _text,
    "to_region": _any_text,
    "tier_from": _whole,
    "tier_to": _if_given(_whole),
    "effective_from": day,
    "effective_to": _if_given(day),
    "price": _price,
    "unit": _text,
    "unit_bytes": _unit_bytes,
    "currency": _currency,
    "sku": _any_text,
    "source_url": _web_address,
    "checked_on": day,
}


def _read_row(file: str, line: int, cells: list[str], problems: list[Problem]) -> Rate | None:
    values: dict[str, Any] = {}
    for (name, convert), cell in zip(_CONVERT.items(), cells, strict=True):
        try:
            values[name] = convert(cell)
        except ValueError as fault:
            problems.append(Problem(file, line, name, str(fault)))
    if len(values) < len(_CONVERT):
        return None
    rate = Rate(**values)
    found = len(problems)
    for name, start, end in (
        ("tier_to", rate.tier_from, rate.tier_to),
        ("effective_to", rate.effective_from, rate.effective_to),
    ):
        if end is not None and end <= start:  # type: ignore[operator] # both are of one kind
            message = f"{end} is not after {name.replace('_to', '_from')} {start}"
            problems.append(Problem(file, line, name, message))
    return rate if len(problems) == found else None


def read(text: str, file: str) -> tuple[list[Row], list[Problem]]:
    """Return the rows of one CSV file and every fault found in them; faulty rows are left out."""
    rows: list[Row] = []
    problems: list[Problem] = []
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        header = next(reader, [])
        if tuple(header) != COLUMNS:
            return [], [Problem(file, 1, "header", f"must be {','.join(COLUMNS)}")]
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(COLUMNS):
                message = f"{len(cells)} cells, not {len(COLUMNS)}"
                problems.append(Problem(file, reader.line_num, "row", message))
                continue
            rate = _read_row(file, reader.line_num, cells, problems)
            if rate is not None:
                rows.append(Row(rate, file, reader.line_num))
    except csv.Error as fault:
        problems.append(Problem(file, reader.line_num, "row", str(fault)))
    return rows, problems
