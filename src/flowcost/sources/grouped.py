"""Groups as numbers: addresses and contexts are listed once, rows refer to them by position.

Everything that follows decides over the distinct addresses and contexts of a piece, a few
thousand, not over its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowcost.address import Scope, pack, scope
from flowcost.sources.rowwise import CONTEXT, Rowwise

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_KEYS = ("src", "dst", "context", "code", "moment")
_SUMS = ("bytes", "packets", "rows", "seconds")
_KNOWN: dict[str, tuple[bytes, bool] | None] = {}
_MOST_KNOWN = 300_000


def packed(texts: Sequence[str]) -> list[tuple[bytes, bool] | None]:
    """Return the 16 bytes of each address and whether it is private; None if it is no address."""
    global _KNOWN  # noqa: PLW0603 - a cache; threads keep the one they began with
    if len(_KNOWN) > _MOST_KNOWN:
        _KNOWN = {}
    known = _KNOWN
    for text in texts:
        if text not in known:
            known[text] = _packed(text)
    return [known[text] for text in texts]


def _packed(text: str) -> tuple[bytes, bool] | None:
    try:
        address = pack(text)
    except ValueError:
        return None
    return address, scope(address) is Scope.PRIVATE


@dataclass(frozen=True)
class Context:
    """All that is constant for an interface and direction; empty where the record has no word."""

    observer: str = ""
    direction: str = ""
    source_service: str = ""
    destination_service: str = ""
    device: str = ""
    device_type: str = ""
    next_hop_type: str = ""
    next_hop_az: str = ""
    account: str = ""
    region: str = ""
    az: str = ""
    vpc: str = ""
    subnet: str = ""
    instance: str = ""


@dataclass
class Grouped:
    """The groups of one piece.

    Attributes:
        table: src, dst (positions in `addresses`), context (position in `contexts`), code, moment,
            bytes, packets, rows, seconds.
        addresses: texts as the file spells them.
        contexts: distinct contexts.
    """

    table: pa.Table
    addresses: list[str]
    contexts: list[Context]


def number(row: Rowwise, groups: pa.Table) -> Grouped:
    """Return the groups of a piece with its contexts numbered."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    groups = groups.combine_chunks()
    words = row.piece.words
    addresses = list(words.get(row.piece.record.mapping.source, ("",)))
    positions, contexts = _contexts(_unpacked(row, groups), len(groups))
    rest = {name: groups[name] for name in ("code", "moment", *_SUMS)}
    ends = {end: groups[end].cast(pa.int32()) for end in ("src", "dst")}
    return Grouped(pa.table({**ends, "context": positions, **rest}), addresses, contexts)


def merged(con: DuckDBPyConnection, given: Sequence[Grouped]) -> Grouped:
    """Return the groups of several pieces of one layout, each group once."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if len(given) == 1:
        return given[0]
    addresses: dict[str, int] = {}
    contexts: dict[Context, int] = {}
    tables = []
    for one in given:
        ends = pa.array([addresses.setdefault(text, len(addresses)) for text in one.addresses])
        places = pa.array([contexts.setdefault(each, len(contexts)) for each in one.contexts])
        table = one.table
        for name, numbers in (("src", ends), ("dst", ends), ("context", places)):
            position = table.column_names.index(name)
            column = numbers.cast(pa.int32()).take(table[name])
            table = table.set_column(position, name, column)
        tables.append(table)
    con.register("pieces", pa.concat_tables(tables))
    sums = ", ".join(f"sum({name})::BIGINT AS {name}" for name in _SUMS)
    table = con.sql(f"SELECT {', '.join(_KEYS)}, {sums} FROM pieces GROUP BY ALL").to_arrow_table()
    con.unregister("pieces")
    return Grouped(table, list(addresses), list(contexts))


Part = tuple[str, Any, list[str]]


def _unpacked(row: Rowwise, groups: pa.Table) -> tuple[list[tuple[Any, list[Part]]], Context]:
    """Return each packed column with the parts in it (part, radix and size, words)."""
    words = row.piece.words
    constant = {
        part: _word(words[row.fields[part]][0])
        for part in row.present
        if len(words[row.fields[part]]) == 1
    }
    columns = [
        (groups[name], [(part, size, list(words[row.fields[part]])) for part, size in parts])
        for name, parts in row.packed
    ]
    return columns, Context(**constant)


def _word(text: str) -> str:
    return "" if text == "-" else text


def _contexts(
    given: tuple[list[tuple[Any, list[Part]]], Context], rows: int
) -> tuple[Any, list[Context]]:
    """Return the context position of each row, and the contexts."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    columns, base = given
    known = {part: getattr(base, part) for part in CONTEXT}
    positions: Any = pa.array([0], pa.int64()).take(pa.array([0] * rows, pa.int32()))
    contexts: list[dict[str, str]] = [known]
    for column, parts in columns:
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()  # noqa: PLW2901
        coded = column.cast(pa.int64()).dictionary_encode()
        values = coded.dictionary.to_pylist()
        # Together with what came before: one number per distinct pair.
        pair = pc.add(pc.multiply(positions, len(values) or 1), coded.indices.cast(pa.int64()))
        both = pair.dictionary_encode()
        decoded = [_decode(value, parts) for value in values]
        contexts = [
            {**contexts[value // len(values)], **decoded[value % len(values)]}
            for value in both.dictionary.to_pylist()
        ]
        positions = both.indices.cast(pa.int64())
    return positions.cast(pa.int32()), [Context(**context) for context in contexts]


def _decode(value: int, parts: list[Part]) -> dict[str, str]:
    found = {}
    for part, size, words in parts:
        value, position = divmod(value, size)
        found[part] = _word(words[position])
    return found
