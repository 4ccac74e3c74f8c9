"""Rows become groups: the only step that touches every row.

Grouped by both addresses, the context (all that is constant for an interface and direction), a
number that packs the small facts, and the UTC hour: exact keys, packed into few integers.

Two sorts of rows are special and take a second query, row by row, so that no batching changes the
result: records that cross an hour are split by overlap (hour by hour the floor of the running
sum, so the parts add up to the record), and rows of an address that changed hands inside the hour
are kept apart from the change on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flowcost.sources.code import BROKEN, CODE, FLOW, REJECT, SKIPDATA, bits
from flowcost.sources.raw import PART, Piece, quoted
from flowcost.sources.rowwise import Rowwise

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

HOUR = 3600
# Hours since the piece's first, above the bits of `code`.
_HOUR_BIT = sum(CODE["part"])
_MOST_HOURS = 1 << (62 - _HOUR_BIT)


class Aggregation:
    """The queries over one piece."""

    def __init__(self, piece: Piece, *, ports: bool) -> None:
        self.piece, self.row = piece, Rowwise(piece, ports=ports)
        start = piece.spans.get("start", (0, 0, True))
        self._first, last = start[0] // HOUR, start[1] // HOUR
        self._near = last - self._first + 2 < _MOST_HOURS  # hours fit beside the code

    def groups(self, con: DuckDBPyConnection, changes: pa.Table | None) -> pa.Table:
        """Return the groups: src, dst, contexts, code, moment, bytes, packets, rows, seconds.

        The piece stays registered as `raw`.

        Args:
            con: a connection of its own.
            changes: (address as the piece holds it, instant in Unix seconds) of addresses that
                changed hands inside an hour, or None.
        """
        import pyarrow as pa  # noqa: PLC0415 - heavy

        table = self.piece.table
        if changes is not None:
            con.register("changes", changes)
            table = self._touched(changes)
        con.register("raw", table)
        special = self._special(changed=changes is not None)
        tables = [con.sql(self._ordinary(special)).to_arrow_table()]
        if special != "FALSE":
            query = self._split(special, changed=changes is not None)
            tables.append(con.sql(query).to_arrow_table())
        if changes is not None:
            con.unregister("changes")
        return pa.concat_tables(tables)

    def broken_rows(
        self, con: DuckDBPyConnection, parts: Sequence[int], limit: int
    ) -> dict[int, list[str]]:
        """Return up to `limit` broken rows of each of some files as text."""
        names = sorted(self.piece.columns)
        shown = "".join(f", {quoted(name)}" for name in names)
        found = con.execute(
            f"SELECT {PART}{shown} FROM raw"
            f" WHERE {PART} IN ({', '.join(map(str, parts))}) AND {self.row.kind()} = {BROKEN}"
            f" QUALIFY row_number() OVER (PARTITION BY {PART}) <= {limit}"
        ).fetchall()
        texts: dict[int, list[str]] = {}
        for part, *row in found:
            texts.setdefault(part, []).append(self._shown(dict(zip(names, row, strict=True))))
        return {part: sorted(shown) for part, shown in texts.items()}

    def _shown(self, row: dict[str, Any]) -> str:
        words = self.piece.words
        texts = []
        for name, value in row.items():
            text = words[name][value] if value is not None and name in words else value
            texts.append(f"{name}={'-' if text in (None, '') else text}")
        return " ".join(texts)

    @property
    def _contexts(self) -> str:
        return "".join(f"{name}, " for name, _ in self.row.packed)

    def _special(self, *, changed: bool) -> str:
        """Return the condition for rows that take the second query; FALSE if there are none."""
        piece = self.piece
        if not piece.bookable:
            return "FALSE"
        first, last = piece.spans["start"][0], piece.spans["end"][1]
        special = '"start" // 3600 < ("end" - 1) // 3600'
        if first // HOUR == (last - 1) // HOUR and not piece.nulls("end"):
            special = "FALSE"
        if changed:
            special = f"({special} OR _touched)" if special != "FALSE" else "_touched"
        return special

    def _ordinary(self, special: str) -> str:
        """Return the query that groups all rows but the special ones."""
        piece, row = self.piece, self.row
        src, dst = row.ends()
        size = len(piece.words.get(piece.record.mapping.source, ("",)))
        hour, seconds, numbers = "0", "0", ["0", "0"]
        if piece.bookable:
            hour = f'"start" // 3600 - {self._first}' if self._near else '"start" // 3600'
            numbers = [piece.number("bytes"), piece.number("packets")]
            hour = f"CASE WHEN kind IN ({FLOW}, {REJECT}) THEN {hour} ELSE 0 END"
            if not piece.has("log-status") or piece.equals("log-status", "SKIPDATA") != "FALSE":
                seconds = (
                    f'CASE WHEN kind = {SKIPDATA} THEN coalesce("end" - "start", 0) ELSE 0 END'
                )
        code = row.code()
        if self._near:
            keys, code = ["pair", "code"], f"{code} + (({hour})::BIGINT << {_HOUR_BIT})"
            mask = (1 << _HOUR_BIT) - 1
            out = f"code & {mask} AS code, ((code >> {_HOUR_BIT}) + {self._first}) * {HOUR}"
            out_hour = f"{out} AS moment"
        else:
            keys, out_hour = ["pair", "code", "hour"], f"code, hour * {HOUR} AS moment"
        chosen = f"NOT coalesce(kind = {FLOW} AND {special}, FALSE)"
        where = "" if special == "FALSE" else f" WHERE {chosen}"
        contexts = "".join(f"{one}, " for one in row.contexts())
        names = ", ".join([*keys, *(name for name, _ in row.packed)])
        return (
            f"SELECT (pair // {size})::INTEGER AS src, (pair % {size})::INTEGER AS dst,"
            f" {self._contexts}{out_hour}, bytes, packets, rows, seconds FROM ("
            f"SELECT {names}, {_SUMS} FROM ("
            f"SELECT ({src})::BIGINT * {size} + ({dst}) AS pair, {contexts}{code} AS code,"
            f" {hour} AS hour, {numbers[0]} AS bytes, {numbers[1]} AS packets,"
            f" 1 AS rows, {seconds} AS seconds FROM (SELECT {row.kind()} AS kind, * FROM raw)"
            f"{where}) GROUP BY {names})"
        )

    def _split(self, special: str, *, changed: bool) -> str:
        """Return the special rows, one per record and hour, with their share of the record."""
        piece, row = self.piece, self.row
        src, dst = row.ends()
        contexts = "".join(f"{one}, " for one in row.contexts())
        hours = 'unnest(range("start" // 3600, greatest("end" - 1, "start") // 3600 + 1))'
        seconds = 'greatest("end" - "start", 1)'
        since = 'greatest(hour * 3600 - "start", 0)'
        upto = f'least(hour * 3600 + 3600 - "start", {seconds})'
        shares = ", ".join(
            f"size_{name} * {upto} // {seconds} - size_{name} * {since} // {seconds} AS {name}"
            for name in ("bytes", "packets")
        )
        query = (
            f"SELECT {src} AS src, {dst} AS dst, {contexts}{row.code()} AS code,"
            f' hour * 3600 AS moment, greatest(hour * 3600, "start") AS begins, {shares},'
            f' CASE WHEN hour = "start" // 3600 THEN 1 ELSE 0 END AS rows, 0 AS seconds'
            f" FROM (SELECT *, {piece.number('bytes')} AS size_bytes,"
            f" {piece.number('packets')} AS size_packets, {hours} AS hour"
            f" FROM (SELECT {row.kind()} AS kind, * FROM raw WHERE {special})"
            f" WHERE kind = {FLOW})"
        )
        if changed:
            query = (
                "SELECT r.* REPLACE (greatest(r.moment, coalesce(s.instant, 0),"
                f" coalesce(d.instant, 0)) AS moment) FROM ({query}) r"
                " ASOF LEFT JOIN changes s ON s.address = r.src AND r.begins >= s.instant"
                " ASOF LEFT JOIN changes d ON d.address = r.dst AND r.begins >= d.instant"
            )
        names = f"src, dst, {self._contexts}code, moment"
        return f"SELECT {names}, {_SUMS} FROM ({query}) GROUP BY {names}"

    def _touched(self, changes: pa.Table) -> pa.Table:
        """Return the piece with a column `_touched`: an address changed hands."""
        import pyarrow as pa  # noqa: PLC0415 - heavy
        import pyarrow.compute as pc  # noqa: PLC0415 - heavy

        piece, mapping = self.piece, self.piece.record.mapping
        flags = [False] * len(piece.words[mapping.source])
        for position in changes["address"].to_pylist():
            flags[position] = True
        found: Any = None
        for name in (mapping.source, mapping.destination, mapping.packet_source,
                     mapping.packet_destination):  # fmt: skip
            if piece.has(name):
                here = pc.take(pa.array(flags), piece.table[name])
                found = here if found is None else pc.or_(found, here)
        return piece.table.append_column("_touched", found)


# A sum of valid records that does not fit is an error; of broken ones nobody reads it.
_SUMS = ", ".join(
    f"(CASE WHEN {wanted} THEN sum({name}) ELSE 0 END)::BIGINT AS {name}"
    for name, wanted in (
        ("bytes", f"{bits('kind')} IN ({FLOW}, {REJECT})"),
        ("packets", f"{bits('kind')} IN ({FLOW}, {REJECT})"),
        ("rows", "TRUE"),
        ("seconds", "TRUE"),
    )
)
