"""Rows become groups: the only step that touches every row.

Grouped by both addresses, the context (all that is constant for an interface and direction), a
number that packs the small facts, and the UTC hour. On Parquet all of these are integers, since
texts stay the numbers of the file's own dictionary: exact keys at the price of hashed ones, and
half the time of grouping by the texts.

Two sorts of rows are special and take a second query, row by row, so that no batching changes the
result: records that cross an hour are split by overlap (hour by hour the floor of the running
sum, so the parts add up to the record), and rows of an address that changed hands inside the hour
are kept apart from the change on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowcost.clock import EARLIEST, LATEST
from flowcost.sources.raw import Piece, quoted

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

# What a row is before anyone asks whose it is.
FLOW, NODATA, SKIPDATA, REJECT, BROKEN, NO_BYTES = range(6)

# A record longer than a day or larger than 64 TiB is a broken one, not a flow: ten minutes of
# 800 Gbit/s are 55 TiB. The product of both fits in 63 bits, which keeps the split in integers.
LONGEST = 86_400
LARGEST = 1 << 46

# Where `code` keeps each small number: (first bit, bits).
CODE = {
    "kind": (0, 3),
    "translated": (3, 2),  # 1: the source differs from the packet's, 2: the destination does
    "protocol": (5, 8),
    "path": (13, 8),
    "port": (21, 17),  # the service's port times two, plus one where it is the source's
}

# Linux hands out client ports from EPHEMERAL up (net.ipv4.ip_local_port_range); system ports
# (RFC 6335) are services' even against a NAT gateway's ports, which start at 1024.
EPHEMERAL = 32_768
SYSTEM = 1_024

# Parts of a flow that are constant for an interface, or nearly; see `record.Mapping`.
CONTEXT = (
    "observer", "direction", "source_service", "destination_service", "device", "device_type",
    "next_hop_type", "next_hop_az", "account", "region", "az", "vpc", "subnet", "instance",
)  # fmt: skip
# Of these, what never changes for one interface; of a sender, as on a transit gateway, it does.
ATTRIBUTES = ("az", "vpc", "subnet", "instance")
_MOST = 1 << 62


def bits(name: str) -> str:
    """Return the expression that reads one small number out of `code`."""
    first, width = CODE[name]
    return f"((code >> {first}) & {(1 << width) - 1})"


def _serves(port: str, other: str) -> str:
    """Return the condition that one port is a service's and the other its client's."""
    return (
        f"(({port} < {EPHEMERAL} AND {other} >= {EPHEMERAL})"
        f" OR ({port} < {SYSTEM} AND {other} >= {SYSTEM}))"
    )


class Aggregation:
    """The queries over one piece."""

    def __init__(self, piece: Piece, *, ports: bool) -> None:
        self.piece, self.ports = piece, ports
        mapping = piece.record.mapping
        self.fields = {part: getattr(mapping, part) for part in CONTEXT}
        self.present = [part for part in CONTEXT if piece.has(self.fields[part])]
        self.packed = self._pack() if piece.words else []
        # Every number of the file is in its range, so that `code` needs no row's own check.
        self.clean = all(self._never_out(name, most) for name, most in self._limits())

    def groups(self, con: DuckDBPyConnection, changes: pa.Table | None) -> pa.Table:
        """Return the groups: src, dst, contexts, code, moment, bytes, packets, rows, seconds.

        The piece stays registered as `raw`.

        Args:
            con: a connection of its own.
            changes: (address as the piece holds it, instant in Unix seconds) of addresses that
                changed hands inside an hour, or None.
        """
        table = self.piece.table
        if changes is not None:
            con.register("changes", changes)
            table = self._touched(changes) if self.piece.words else table
        con.register("raw", table)
        special = self._special(changed=changes is not None)
        queries = [f"SELECT * EXCLUDE (special) FROM ({self._ordinary(special)}) WHERE NOT special"]
        if self.piece.bookable:
            queries.append(self._split(special, changed=changes is not None))
        names = ", ".join(self._keys())
        # A sum of valid records that does not fit is an error; of broken ones nobody reads it.
        booked = f"code & 7 IN ({FLOW}, {REJECT})"
        sums = ", ".join(
            f"(CASE WHEN {wanted} THEN sum({name}) ELSE 0 END)::BIGINT AS {name}"
            for name, wanted in (
                ("bytes", booked), ("packets", booked), ("rows", "TRUE"), ("seconds", "TRUE"),
            )
        )  # fmt: skip
        tables = [
            con.sql(f"SELECT {names}, {sums} FROM ({query}) GROUP BY {names}").to_arrow_table()
            for query in queries
        ]
        if changes is not None:
            con.unregister("changes")
        import pyarrow as pa  # noqa: PLC0415 - heavy

        return pa.concat_tables(tables)

    def broken_rows(self, con: DuckDBPyConnection, limit: int) -> list[str]:
        """Return the first broken rows as text; numbers stand for the file's own words."""
        names = sorted(self.piece.columns)
        shown = ", ".join(quoted(name) for name in names) or "1"
        found = con.execute(
            f"SELECT {shown} FROM raw WHERE {self._kind()} = {BROKEN} LIMIT {limit}"
        ).fetchall()
        return [self._shown(dict(zip(names, row, strict=False))) for row in found]

    def _shown(self, row: dict[str, object]) -> str:
        words = self.piece.words
        texts = []
        for name, value in row.items():
            if value is not None and name in words:
                value = words[name][value]  # type: ignore[call-overload] # noqa: PLW2901
            texts.append(f"{name}={'-' if value in (None, '') else value}")
        return " ".join(texts)

    # -- expressions over one row ---------------------------------------------------------------

    def _pack(self) -> list[tuple[str, list[tuple[str, int]]]]:
        """Return the context columns to group by: (name, [(part, size)]) in mixed radix."""
        columns: list[tuple[str, list[tuple[str, int]]]] = []
        product = _MOST
        for part in self.present:
            size = len(self.piece.words[self.fields[part]])
            if size == 1:
                continue
            if product * size >= _MOST:
                columns.append((f"context_{len(columns)}", []))
                product = 1
            product *= size
            columns[-1][1].append((part, size))
        return columns

    def _keys(self) -> list[str]:
        contexts = (
            [name for name, _ in self.packed]
            if self.piece.words
            else [f"_{part}" for part in self.present]
        )
        return ["src", "dst", *contexts, "code", "moment"]

    def _contexts(self) -> list[str]:
        if not self.piece.words:
            return [f"{quoted(self.fields[part])} AS _{part}" for part in self.present]
        columns = []
        for name, parts in self.packed:
            expression, radix = "0", 1
            for part, size in parts:
                expression += f" + {quoted(self.fields[part])}::BIGINT * {radix}"
                radix *= size
            columns.append(f"{expression} AS {name}")
        return columns

    def _ends(self) -> list[str]:
        mapping, piece = self.piece.record.mapping, self.piece
        if not {mapping.source, mapping.destination} <= piece.columns:
            missing = "0" if piece.words else "NULL::VARCHAR"
            return [f"{missing} AS src", f"{missing} AS dst"]
        return [
            f"{piece.address(mapping.packet_source, mapping.source)} AS src",
            f"{piece.address(mapping.packet_destination, mapping.destination)} AS dst",
        ]

    def _valid(self) -> str:
        mapping, piece = self.piece.record.mapping, self.piece
        earliest, latest = int(EARLIEST.timestamp()), int(LATEST.timestamp()) - 1
        checks = [
            piece.within("start", earliest, latest),
            piece.within("end", earliest, latest),
            piece.within("bytes", 0, LARGEST),
            f'"end" - "start" BETWEEN 0 AND {LONGEST}',
        ]
        checks += [
            f"{quoted(name)} {'> 0' if name in piece.words else 'IS NOT NULL'}"
            for name in (mapping.source, mapping.destination)
        ]
        checks += [
            f"{piece.number(name)} BETWEEN 0 AND {most}"
            for name, most in self._limits()
            if not self._never_out(name, most)
        ]
        if piece.has(mapping.action):
            accepted, refused = (piece.equals(mapping.action, w) for w in ("ACCEPT", "REJECT"))
            checks.append(f"({accepted} OR {refused})")
        return " AND ".join(check for check in checks if check)

    def _limits(self) -> list[tuple[str, int]]:
        """Return the fields that may be missing, with the most each can hold."""
        path = self.piece.record.mapping.traffic_path
        limits = [("packets", LARGEST), ("srcport", 65_535), ("dstport", 65_535),
                  ("protocol", 255), (path, 255)]  # fmt: skip
        return [(name, most) for name, most in limits if self.piece.has(name)]

    def _never_out(self, name: str, most: int) -> bool:
        return self.piece.within(name, 0, most) in ("", f"{quoted(name)} IS NOT NULL")

    def _kind(self) -> str:
        """Return the kind of a row; a null anywhere in a condition makes the row broken."""
        mapping, piece = self.piece.record.mapping, self.piece
        if not piece.bookable:
            flow = str(NO_BYTES)
        elif not {mapping.source, mapping.destination} <= piece.columns:
            flow = str(BROKEN)
        else:
            flow = str(FLOW)
            if piece.has(mapping.action):
                refused = piece.equals(mapping.action, "REJECT")
                flow = f"CASE WHEN {refused} THEN {REJECT} ELSE {FLOW} END"
            flow = f"CASE WHEN {self._valid()} THEN {flow} ELSE {BROKEN} END"
        if piece.has("log-status"):
            words = ("OK", "NODATA", "SKIPDATA")
            ok, none, lost = (piece.equals("log-status", word) for word in words)
            flow = (
                f"CASE WHEN {ok} THEN {flow} WHEN {none} THEN {NODATA}"
                f" WHEN {lost} THEN {SKIPDATA} ELSE {BROKEN} END"
            )
        if piece.complete:
            flow = f"CASE WHEN {piece.complete} THEN {flow} ELSE {BROKEN} END"
        return flow

    def _translated(self) -> str:
        mapping, piece = self.piece.record.mapping, self.piece
        if not piece.packet_ends:
            return "0"
        source = piece.address(mapping.packet_source, mapping.source)
        destination = piece.address(mapping.packet_destination, mapping.destination)
        return (
            f"CASE WHEN {quoted(mapping.source)} <> {source} THEN 1 ELSE 0 END"
            f" + CASE WHEN {quoted(mapping.destination)} <> {destination} THEN 2 ELSE 0 END"
        )

    def _port(self) -> str:
        if not self.ports or not {"srcport", "dstport"} <= self.piece.columns:
            return "0"
        return (
            f"CASE WHEN {_serves('srcport', 'dstport')} THEN srcport * 2 + 1"
            f" WHEN {_serves('dstport', 'srcport')} THEN dstport * 2 ELSE 0 END"
        )

    def _code(self) -> str:
        parts = {
            "translated": self._translated(),
            "protocol": self.piece.number("protocol"),
            "path": self.piece.number(self.piece.record.mapping.traffic_path),
            "port": self._port(),
        }
        total = " + ".join(
            f"({expression})::BIGINT * {1 << CODE[name][0]}"
            for name, expression in parts.items()
            if expression != "0"
        )
        whole = f"kind + {total}" if total else "kind"
        return (
            whole
            if self.clean
            else f"CASE WHEN kind IN ({FLOW}, {REJECT}) THEN {whole} ELSE kind END"
        )

    def _touched(self, changes: pa.Table) -> pa.Table:
        """Return a numbered piece with a column `_touched`: an address changed hands."""
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

    # -- queries over all rows ------------------------------------------------------------------

    def _special(self, *, changed: bool) -> str:
        if not self.piece.bookable:
            return "FALSE"
        special = '"start" // 3600 < ("end" - 1) // 3600'
        if changed:
            keys = "(SELECT address FROM changes)"
            touched = "_touched" if self.piece.words else f"src IN {keys} OR dst IN {keys}"
            special = f"({special} OR {touched})"
        return f"kind = {FLOW} AND {special}"

    def _rows(self) -> str:
        """Return the projection of every row that all queries start from."""
        columns = [*self._ends(), *self._contexts(), f"{self._kind()} AS kind", "*"]
        return f"SELECT {', '.join(columns)} FROM raw"

    def _ordinary(self, special: str) -> str:
        piece = self.piece
        at, seconds, numbers = "0", "0", ["0", "0"]
        if piece.bookable:
            at, numbers = '"start" // 3600 * 3600', [piece.number("bytes"), piece.number("packets")]
            if not self.clean:
                at = f"CASE WHEN kind IN ({FLOW}, {REJECT}) THEN {at} ELSE 0 END"
            seconds = f'CASE WHEN kind = {SKIPDATA} THEN coalesce("end" - "start", 0) ELSE 0 END'
            if piece.has("log-status") and piece.equals("log-status", "SKIPDATA") == "FALSE":
                seconds = "0"
        names = ", ".join(self._keys()[:-2])
        return (
            f"SELECT {names}, {self._code()} AS code, {at} AS moment, {numbers[0]} AS bytes,"
            f" {numbers[1]} AS packets, 1 AS rows, {seconds} AS seconds,"
            f" coalesce({special}, FALSE) AS special FROM ({self._rows()})"
        )

    def _split(self, special: str, *, changed: bool) -> str:
        """Return the special rows, one per record and hour, with their share of the record."""
        names = ", ".join(self._keys()[:-2])
        hours = 'unnest(range("start" // 3600, greatest("end" - 1, "start") // 3600 + 1))'
        seconds = 'greatest("end" - "start", 1)'
        since = 'greatest(hour * 3600 - "start", 0)'
        upto = f'least(hour * 3600 + 3600 - "start", {seconds})'
        shares = ", ".join(
            f"size_{name} * {upto} // {seconds} - size_{name} * {since} // {seconds} AS {name}"
            for name in ("bytes", "packets")
        )
        query = (
            f"SELECT {names}, {self._code()} AS code, hour * 3600 AS moment,"
            f' greatest(hour * 3600, "start") AS begins, {shares},'
            f' CASE WHEN hour = "start" // 3600 THEN 1 ELSE 0 END AS rows, 0 AS seconds'
            f" FROM (SELECT *, {self.piece.number('bytes')} AS size_bytes,"
            f" {self.piece.number('packets')} AS size_packets, {hours} AS hour"
            f" FROM ({self._rows()}) WHERE {special})"
        )
        if not changed:
            return query
        return (
            "SELECT r.* REPLACE (greatest(r.moment, coalesce(s.instant, 0),"
            f" coalesce(d.instant, 0)) AS moment) FROM ({query}) r"
            " ASOF LEFT JOIN changes s ON s.address = r.src AND r.begins >= s.instant"
            " ASOF LEFT JOIN changes d ON d.address = r.dst AND r.begins >= d.instant"
        )
