"""Rows become groups: the only step that touches every row.

Grouped by both addresses, the context (all that is constant for an interface and direction), a
number that packs the small facts, and the UTC hour: exact keys, packed into few integers.

Two sorts of rows are special and take a second query, row by row, so that no batching changes the
result: records that cross an hour are split by overlap (hour by hour the floor of the running
sum, so the parts add up to the record), and rows of an address that changed hands inside the hour
are kept apart from the change on.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

from flowcost.sources.code import BROKEN, FLOW, REJECT, SKIPDATA, bits
from flowcost.sources.raw import PART, Piece, quoted
from flowcost.sources.rowwise import HOUR, HOUR_BIT, Rowwise

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_MOST = 1 << 62


class Aggregation:
    """The queries over one piece."""

    def __init__(self, piece: Piece, *, ports: bool) -> None:
        self.piece, self.row = piece, Rowwise(piece, ports=ports)

    def groups(self, con: DuckDBPyConnection, changes: pa.Table | None) -> pa.Table:
        """Return the groups: src, dst, contexts, code, moment, bytes, packets, rows, seconds.

        The piece stays registered as `raw`.

        Args:
            con: a connection of its own.
            changes: (address as the piece holds it, instant in Unix seconds) of addresses that
                changed hands inside an hour, or None.
        """
        import pyarrow as pa  # noqa: PLC0415 - heavy

        table = self.row.keyed()
        special = ["crosses"] if "crosses" in table.column_names else []
        if changes is not None and self.piece.bookable:
            con.register("changes", changes)
            table = self._touched(table, changes)
            special.append(f"(_touched AND {bits('kind')} = {FLOW})")
        con.register("raw", table)
        apart = " OR ".join(special)
        tables = [con.sql(self._ordinary(apart)).to_arrow_table()]
        if apart:
            query = self._split(apart, changed=changes is not None)
            tables.append(con.sql(query).to_arrow_table())
        if changes is not None:
            con.unregister("changes")
        return pa.concat_tables(tables)

    def broken_rows(self, con: DuckDBPyConnection, limit: int) -> dict[int, list[str]]:
        """Return up to `limit` broken rows of each file as text, where there are any.

        The piece is registered as `raw`.
        """
        names = sorted(self.piece.columns)
        shown = "".join(f", {quoted(name)}" for name in names)
        found = con.execute(
            f"SELECT {PART}{shown} FROM raw WHERE {bits('kind')} = {BROKEN}"
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

    def _folded(self) -> int:
        """Return what `pair` is multiplied by to share a column with the first contexts, or 0."""
        if not self.row.packed:
            return 0
        product = prod(size for _, size in self.row.packed[0][1])
        return product if product * self.row.ends**2 < _MOST else 0

    def _ordinary(self, apart: str) -> str:
        """Return the query that groups all rows but those that are taken `apart`."""
        row, folded = self.row, self._folded()
        keys = {"pair": "pair", "code": "code", **{name: name for name, _ in row.packed}}
        found = {name: name for name in keys if name not in ("pair", "code")}
        pair, moment = "pair", f"((code >> {HOUR_BIT}) + {row.first}) * {HOUR}"
        if folded:  # one key less to compare
            first = row.packed[0][0]
            del keys[first]
            keys["pair"] = f"pair * {folded} + {first}"
            found[first], pair = f"pair % {folded} AS {first}", f"pair // {folded}"
        if not row.near:
            keys["hour"] = "hour" if self.piece.bookable else "0"
            moment = f"hour * {HOUR}"
        contexts = "".join(f"{one}, " for one in found.values())
        grouped = ", ".join(f"{key} AS {name}" for name, key in keys.items())
        numbers = ", ".join(map(str, range(1, len(keys) + 1)))
        return (
            f"SELECT ({pair} // {row.ends})::INTEGER AS src, ({pair} % {row.ends})::INTEGER AS dst,"
            f" {contexts}code & {(1 << HOUR_BIT) - 1} AS code, {moment} AS moment,"
            " bytes, packets, rows, seconds"
            f" FROM (SELECT {grouped}, {', '.join(self._sums())} FROM raw"
            f"{f' WHERE NOT ({apart})' if apart else ''} GROUP BY {numbers})"
        )

    def _sums(self) -> Iterator[str]:
        """Yield the sums of a group; a sum of flows that does not fit is an error."""
        piece = self.piece
        for name in ("bytes", "packets"):
            known = f"{bits('kind')} IN ({FLOW}, {REJECT}) AND sum({name}) IS NOT NULL"
            total = f"CASE WHEN {known} THEN sum({name}) ELSE 0 END"
            yield f"({total if piece.bookable and piece.has(name) else '0'})::BIGINT AS {name}"
        yield "count(*)::BIGINT AS rows"
        seconds = "0"
        if piece.bookable and "SKIPDATA" in piece.words.get("log-status", ()):
            lost = f"{bits('kind')} = {SKIPDATA}"
            seconds = f'CASE WHEN {lost} THEN coalesce(sum("end" - "start"), 0) ELSE 0 END'
        yield f"({seconds})::BIGINT AS seconds"

    def _split(self, apart: str, *, changed: bool) -> str:
        """Return the rows taken apart, one per record and hour, with their share of the record."""
        piece, row = self.piece, self.row
        hours = 'unnest(range("start" // 3600, greatest("end" - 1, "start") // 3600 + 1))'
        seconds = 'greatest("end" - "start", 1)'
        since = 'greatest(hour * 3600 - "start", 0)'
        upto = f'least(hour * 3600 + 3600 - "start", {seconds})'
        shares = ", ".join(
            f"size_{name} * {upto} // {seconds} - size_{name} * {since} // {seconds} AS {name}"
            for name in ("bytes", "packets")
        )
        query = (
            f"SELECT (pair // {row.ends})::INTEGER AS src, (pair % {row.ends})::INTEGER AS dst,"
            f" {self._contexts}code & {(1 << HOUR_BIT) - 1} AS code,"
            f' hour * 3600 AS moment, greatest(hour * 3600, "start") AS begins, {shares},'
            f' CASE WHEN hour = "start" // 3600 THEN 1 ELSE 0 END AS rows, 0 AS seconds'
            f' FROM (SELECT pair, {self._contexts}code, "start", "end",'
            f" {piece.number('bytes')} AS size_bytes, {piece.number('packets')} AS size_packets,"
            f" {hours} AS hour FROM raw WHERE {apart})"
        )
        if changed:
            query = (
                "SELECT r.* REPLACE (greatest(r.moment, coalesce(s.instant, 0),"
                f" coalesce(d.instant, 0)) AS moment) FROM ({query}) r"
                " ASOF LEFT JOIN changes s ON s.address = r.src AND r.begins >= s.instant"
                " ASOF LEFT JOIN changes d ON d.address = r.dst AND r.begins >= d.instant"
            )
        names = f"src, dst, {self._contexts}code, moment"
        sums = ", ".join(
            f"sum({n})::BIGINT AS {n}" for n in ("bytes", "packets", "rows", "seconds")
        )
        return f"SELECT {names}, {sums} FROM ({query}) GROUP BY {names}"

    def _touched(self, table: pa.Table, changes: pa.Table) -> pa.Table:
        """Return the rows with a column `_touched`: an address changed hands."""
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
        return table.append_column("_touched", found)
