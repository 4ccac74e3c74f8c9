"""Reading an operator's entries strictly: every problem is kept, with its place and key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import msgspec

from flowcost.clock import parse
from flowcost.errors import InventoryError
from flowcost.model import Identity
from flowcost.resolve import ALWAYS, FOREVER
from flowcost.schema import IDENTITY_FIELDS, attribute_name

T = TypeVar("T")

# OpenTelemetry spelling -> field of `Identity`.
ATTRIBUTES = {attribute_name(name): name for name in IDENTITY_FIELDS}


class Problems:
    """Everything wrong in one file, raised together."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._lines: list[str] = []

    def add(self, where: str, what: str) -> None:
        """Keep one problem: the entry it is in, and what is wrong with which key."""
        self._lines.append(f"{self._file}: {where}: {what}")

    def raise_all(self) -> None:
        """Raise one `InventoryError` with a line per problem, if there is any."""
        if self._lines:
            raise InventoryError("\n".join(self._lines))


class Entry:
    """One table of a file: keys are taken, what is left over is refused."""

    def __init__(self, where: str, row: dict[str, Any], problems: Problems) -> None:
        self.where = where
        self._left = dict(_dotted(row))
        self._problems = problems

    def refuse(self, key: str, what: str) -> None:
        """Keep a problem with `key`."""
        self._problems.add(self.where, f"{key}: {what}")

    def take(self, key: str, read: Callable[[str], T]) -> T | None:
        """Return the required text `key`, read; None where it is missing or wrong."""
        value = self._left.pop(key, None)
        if value is None:
            self.refuse(key, "is missing")
            return None
        return self._read(key, value, read)

    def take_list(self, key: str, read: Callable[[str], T]) -> list[T]:
        """Return the optional list of texts `key`, read; what is wrong is left out."""
        values = self._left.pop(key, [])
        if not isinstance(values, list):
            self.refuse(key, "must be a list")
            return []
        found = [self._read(key, value, read) for value in values]
        return [value for value in found if value is not None]

    def dates(self, start: str = "from", end: str = "to") -> tuple[datetime, datetime]:
        """Return the optional validity `[start, end)`; a date is its first instant in UTC."""
        first, last = self._date(start, ALWAYS), self._date(end, FOREVER)
        if first >= last:
            self.refuse(start, f"is not before {end}")
        return first, last

    def identity(self, **given: str) -> Identity:
        """Return the identity that the known attributes spell; they are taken."""
        named = {name: value for name, value in given.items() if value}
        for spelling, name in ATTRIBUTES.items():
            if spelling in self._left:
                value = self._read(spelling, self._left.pop(spelling), str)
                if value is not None:
                    named[name] = value
        try:
            return msgspec.convert(named, Identity)
        except msgspec.ValidationError:
            self.refuse("kind", f"{named.get('kind')!r} is no kind of end")
            return Identity()

    def close(self) -> None:
        """Refuse every key that was not taken."""
        for key in self._left:
            self.refuse(key, "unknown key")

    def _read(self, key: str, value: object, read: Callable[[str], T]) -> T | None:
        if not isinstance(value, str):
            self.refuse(key, f"must be a text, not {value!r}")
            return None
        if not value.strip():
            self.refuse(key, "is empty")
            return None
        try:
            return read(value)
        except ValueError as error:
            self.refuse(key, str(error))
            return None

    def _date(self, key: str, default: datetime) -> datetime:
        value = self._left.pop(key, default)
        if isinstance(value, datetime):
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        return self._read(key, value, parse) or default


def _dotted(row: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value); TOML reads `a.b = 1` as a table within a table."""
    for key, value in row.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
