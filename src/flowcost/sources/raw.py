"""Raw rows, piece by piece, before anyone asks whose they are.

Every column is integers. A text field is a number into the piece's own list of texts (`words`):
Parquet pages hold it that way already, and rows are grouped by numbers in a fraction of the time.
A piece may hold the rows of several small files of one format, told apart by the column `_part`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from flowcost.sources.record import Record

if TYPE_CHECKING:
    import pyarrow as pa

PART = "_part"  # column: position of the row's file among those that are read together
WHOLE = "_whole"  # column: the row had as many fields as its format; missing if all had


def quoted(name: str) -> str:
    """Return a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of one file as read, under the fields' names as text headers spell them.

    Attributes:
        table: integer fields in any width, texts as texts or dictionaries; null or `-` is missing.
        record: the kind of record.
        unknown: fields of the file that the record does not know.
    """

    table: pa.Table
    record: Record
    unknown: tuple[str, ...] = ()

    @property
    def layout(self) -> tuple[str, ...]:
        """Return what files must have in common to be read as one piece."""
        return (self.record.name, *self.table.column_names)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Rows that are grouped together.

    Attributes:
        table: the columns, all integers.
        record: the kind of record.
        columns: the fields that are present.
        words: for each text field, the texts that its numbers stand for; all four addresses share
            one list, whose first text is the empty one.
    """

    table: pa.Table
    record: Record
    columns: frozenset[str]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Return whether the rows have this field; an empty name is a field none has."""
        return bool(name) and name in self.columns

    def number(self, name: str) -> str:
        """Return an integer field, 0 where it is missing."""
        if not self.has(name):
            return "0"
        return f"coalesce({quoted(name)}, 0)" if self.nulls(name) else quoted(name)

    def nulls(self, name: str) -> bool:
        """Return whether any row lacks this field."""
        return self.spans.get(name, (0, 0, True))[2]

    @cached_property
    def spans(self) -> dict[str, tuple[int, int, bool]]:
        """Return (least, most, any null) of each integer field, for the columns that are ones.

        Finding them takes a thousandth of a row-by-row check, which most files then need not.
        """
        import pyarrow as pa  # noqa: PLC0415 - heavy
        import pyarrow.compute as pc  # noqa: PLC0415 - heavy

        found: dict[str, tuple[int, int, bool]] = {}
        for name in self.columns & self.record.integers:
            column = self.table[name]
            if pa.types.is_integer(column.type):
                span = pc.min_max(column).as_py()
                least, most = span["min"], span["max"]
                found[name] = (least or 0, most or 0, column.null_count > 0 or least is None)
        return found

    @property
    def bookable(self) -> bool:
        """Return whether the format has what a flow needs: bytes, times and both addresses."""
        mapping = self.record.mapping
        needed = {"bytes", "start", "end", mapping.source, mapping.destination}
        return needed <= self.columns

    @property
    def packet_ends(self) -> bool:
        """Return whether the format has the addresses in the packet."""
        mapping = self.record.mapping
        return self.has(mapping.packet_source) and self.has(mapping.packet_destination)
