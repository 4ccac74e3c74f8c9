"""Raw rows of a file, piece by piece, before anyone asks whose they are.

A text field is either its text (text files) or a number into the file's own dictionary (Parquet,
whose pages hold it that way already). Both forms are grouped by the same query; what differs is
how a field is compared with a word, and that is all this module knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from flowcost.sources.record import Record

if TYPE_CHECKING:
    import pyarrow as pa


def quoted(name: str) -> str:
    """Return a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


# Beyond these a time or a size is no such thing, and arithmetic on it may not fit 64 bits.
_LEAST, _MOST = 0, 1 << 62
_COUNTED = ("start", "end", "bytes")


def bounded(table: pa.Table) -> pa.Table:
    """Return the columns with null for times and sizes that no record can have."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    for position, name in enumerate(table.column_names):
        column = table.column(position)
        if name not in _COUNTED or not pa.types.is_integer(column.type):
            continue
        span = pc.min_max(column).as_py()
        if span["min"] is not None and (span["min"] < _LEAST or span["max"] >= _MOST):
            fits = pc.and_(pc.greater_equal(column, _LEAST), pc.less(column, _MOST))
            table = table.set_column(position, name, pc.if_else(fits, column, None))
    return table


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One piece of a file.

    Attributes:
        table: the columns, under the fields' names as text headers spell them.
        record: the kind of record.
        columns: the fields that are present.
        unknown: fields of the file that the record does not know.
        complete: condition that a row had as many fields as its format; empty if always.
        words: for each field held as numbers, the texts they stand for; all four addresses share
            one list, whose first text is the empty one. Empty: fields are texts, null if missing.
    """

    table: pa.Table
    record: Record
    columns: frozenset[str]
    unknown: tuple[str, ...] = ()
    complete: str = ""
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Return whether the file has this field; an empty name is a field no file has."""
        return bool(name) and name in self.columns

    def equals(self, name: str, word: str) -> str:
        """Return the condition that a field is `word`."""
        if name not in self.words:
            return f"{quoted(name)} = {literal(word)}"
        words = self.words[name]
        return f"{quoted(name)} = {words.index(word)}" if word in words else "FALSE"

    def address(self, packet: str, logged: str) -> str:
        """Return the address in the packet, or the logged one where the row has no other."""
        if not self.has(packet):
            return quoted(logged)
        if packet in self.words:
            return f"CASE WHEN {quoted(packet)} = 0 THEN {quoted(logged)} ELSE {quoted(packet)} END"
        return f"coalesce({quoted(packet)}, {quoted(logged)})"

    def number(self, name: str) -> str:
        """Return an integer field, 0 where it is missing."""
        if not self.has(name):
            return "0"
        return f"coalesce({quoted(name)}, 0)" if self.nulls(name) else quoted(name)

    def nulls(self, name: str) -> bool:
        """Return whether any row lacks this field."""
        return self.spans.get(name, (0, 0, True))[2]

    def within(self, name: str, least: int, most: int) -> str:
        """Return the condition that an integer field is in a range; empty if it always is."""
        lowest, highest, nulls = self.spans.get(name, (least - 1, most, True))
        if least <= lowest and highest <= most:
            return f"{quoted(name)} IS NOT NULL" if nulls else ""
        return f"{quoted(name)} BETWEEN {least} AND {most}"

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
        """Return whether the format has what a flow needs: bytes and times."""
        return {"bytes", "start", "end"} <= self.columns

    @property
    def packet_ends(self) -> bool:
        """Return whether the format has the addresses in the packet."""
        mapping = self.record.mapping
        return self.has(mapping.packet_source) and self.has(mapping.packet_destination)
