"""Rows of one file become groups: the only step that touches every row.

The group key is the hash of all key columns, which DuckDB groups about 1.6 times faster than the
columns themselves. Each key column is carried as its minimum and maximum over the group: where
they differ, two keys share a hash, and the file is grouped again by the columns. So the result is
exact, and the check costs a few percent.

A record that crosses a UTC hour is split by overlap, row by row, so that no batching changes the
parts: hour by hour the floor of the running sum, and the parts add up to the record. Nearly every
crossing record crosses once; those that cross more often are read in a second pass.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowcost.clock import EARLIEST, LATEST
from flowcost.sources.record import Record

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# What a row is before anyone asks whose it is; part of the group key.
FLOW, NODATA, SKIPDATA, REJECT, BROKEN, NO_BYTES, LONG = range(7)

# A record longer than a day or larger than 128 TiB is a broken one, not a flow.
LONGEST = 86_400
LARGEST = 1 << 47

# Where `code` keeps each small number: (first bit, bits).
CODE = {
    "kind": (0, 3),
    "straddles": (3, 1),
    "translated": (4, 2),
    "protocol": (6, 8),
    "path": (14, 8),
    "port": (22, 17),
    "hour": (39, 21),
}

# Linux hands out client ports from here up (net.ipv4.ip_local_port_range); services sit below.
EPHEMERAL = 32_768

KEYS = (
    "src", "dst", "observer", "direction", "src_service", "dst_service", "device", "device_type",
    "next_hop_type", "next_hop_az", "account", "region",
)  # fmt: skip
ATTRIBUTES = ("az", "vpc", "subnet", "instance")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A relation of raw rows and what is known about it.

    Attributes:
        relation: name or table function; columns are the canonical field names.
        record: the kind of record.
        columns: fields that are present.
        constants: fields with one value in the whole file; not read again.
        unknown: fields of the file that the record does not know.
        complete: condition that a row had as many fields as its format; empty if always.
        dashes: a missing text may be `-` rather than null.
    """

    relation: str
    record: Record
    columns: frozenset[str]
    constants: MappingType[str, str]
    unknown: tuple[str, ...] = ()
    complete: str = ""
    dashes: bool = False


def quoted(name: str) -> str:
    """Return a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


class Aggregation:
    """The SQL that turns `rows` into the table `groups`."""

    def __init__(self, rows: Rows, *, ports: bool, changes: bool) -> None:
        self.rows, self.ports, self.changes = rows, ports, changes
        mapping = rows.record.mapping
        self.fields = {
            "observer": mapping.observer, "direction": mapping.direction,
            "src_service": mapping.source_service, "dst_service": mapping.destination_service,
            "device": mapping.device, "device_type": mapping.device_type,
            "next_hop_type": mapping.next_hop_type, "next_hop_az": mapping.next_hop_az,
            "account": mapping.account, "region": mapping.region, "az": mapping.az,
            "vpc": mapping.vpc, "subnet": mapping.subnet, "instance": mapping.instance,
        }  # fmt: skip
        # Attributes of the observed interface never change with it; of a sender they do.
        self.attributes = ATTRIBUTES if mapping.instance else ()
        self.keys = KEYS if mapping.instance else (*KEYS, *ATTRIBUTES)
        self.bookable = {"bytes", "start", "end"} <= rows.columns
        self.has_packet_ends = {
            mapping.packet_source, mapping.packet_destination
        } <= rows.columns and bool(mapping.packet_source)  # fmt: skip

    def run(self, con: DuckDBPyConnection) -> None:
        """Create the table `groups`."""
        inner = self._projection()
        con.execute(f"CREATE OR REPLACE TEMP TABLE groups AS {self._grouped(inner, by_hash=True)}")
        varying = [key for key in [*self._varying(), "code"] if key]
        clash = " OR ".join(f"{key} <> {key}_high" for key in varying)
        found = con.execute(f"SELECT count(*) FROM groups WHERE {clash}").fetchall()
        if found[0][0]:
            self.regroup(con)
        if self._has_long(con):
            con.execute(f"DELETE FROM groups WHERE code = {LONG}")
            con.execute(
                f"INSERT INTO groups BY NAME {self._grouped(self._long_rows(), by_hash=False)}"
            )

    def regroup(self, con: DuckDBPyConnection) -> None:
        """Create the table `groups` by the key columns themselves."""
        inner = self._projection()
        con.execute(f"CREATE OR REPLACE TEMP TABLE groups AS {self._grouped(inner, by_hash=False)}")

    def broken_rows(self, con: DuckDBPyConnection, limit: int) -> list[str]:
        """Return the first broken rows as text."""
        names = ", ".join(quoted(name) for name in sorted(self.rows.columns))
        found = con.execute(
            f"SELECT {names or 1} FROM {self.rows.relation} WHERE {self._kind()} = {BROKEN}"
            f" LIMIT {limit}"
        ).fetchall()
        return [" ".join("-" if value is None else str(value) for value in row) for row in found]

    # -- expressions --------------------------------------------------------------------------

    def _has(self, name: str) -> bool:
        return bool(name) and name in self.rows.columns

    def _text(self, field: str) -> str:
        if field in self.rows.constants:
            value = self.rows.constants[field]
            return literal("" if value == "-" else value)
        return f"coalesce({quoted(field)}, '')" if self._has(field) else "''"

    def _end(self, packet: str, logged: str) -> str:
        """Return the address in the packet, or the logged one where the record has no other."""
        if not self._has(packet):
            return f"coalesce({quoted(logged)}, '')" if self._has(logged) else "''"
        shown = f"nullif({quoted(packet)}, '-')" if self.rows.dashes else quoted(packet)
        return f"coalesce({shown}, {quoted(logged)}, '')"

    def _number(self, field: str) -> str:
        return f"coalesce({quoted(field)}, 0)" if self._has(field) else "0"

    def _valid(self) -> str:
        mapping = self.rows.record.mapping
        checks = [
            f"{quoted(name)} IS NOT NULL" for name in (mapping.source, mapping.destination)
        ] + [
            f"\"start\" >= {int(EARLIEST.timestamp())}",
            f"\"end\" < {int(LATEST.timestamp())}",
            "\"end\" >= \"start\"",
            f"\"end\" - \"start\" <= {LONGEST}",
            f"\"bytes\" BETWEEN 0 AND {LARGEST}",
        ]  # fmt: skip
        for name, most in (
            ("packets", LARGEST), ("srcport", 65_535), ("dstport", 65_535), ("protocol", 255),
            (mapping.traffic_path, 255),
        ):  # fmt: skip
            if self._has(name):
                checks.append(f"{self._number(name)} BETWEEN 0 AND {most}")
        return " AND ".join(checks)

    def _kind(self) -> str:
        """Return the kind of a row; a null anywhere in a condition makes the row broken."""
        mapping = self.rows.record.mapping
        ends = {mapping.source, mapping.destination} <= self.rows.columns
        if not self.bookable:
            flow = str(NO_BYTES)
        elif not ends:
            flow = str(BROKEN)
        else:
            accepted = "TRUE"
            flow = f"CASE WHEN (\"end\" - 1) // 3600 - \"start\" // 3600 > 1 THEN {LONG} ELSE {FLOW} END"
            if self._has(mapping.action):
                action = quoted(mapping.action)
                accepted = f"{action} IN ('ACCEPT', 'REJECT')"
                flow = f"CASE WHEN {action} = 'REJECT' THEN {REJECT} ELSE {flow} END"
            flow = f"CASE WHEN {self._valid()} AND {accepted} THEN {flow} ELSE {BROKEN} END"
        if self.rows.complete:
            flow = f"CASE WHEN {self.rows.complete} THEN {flow} ELSE {BROKEN} END"
        if not self._has("log-status"):
            return flow
        return (
            f"CASE \"log-status\" WHEN 'OK' THEN {flow} WHEN 'NODATA' THEN {NODATA}"
            f" WHEN 'SKIPDATA' THEN {SKIPDATA} ELSE {BROKEN} END"
        )

    def _translated(self) -> str:
        mapping = self.rows.record.mapping
        if not self.has_packet_ends:
            return "0"
        source = self._end(mapping.packet_source, mapping.source)
        destination = self._end(mapping.packet_destination, mapping.destination)
        return (
            f"CASE WHEN {quoted(mapping.source)} <> {source} THEN 1 ELSE 0 END"
            f" + CASE WHEN {quoted(mapping.destination)} <> {destination} THEN 2 ELSE 0 END"
        )

    def _port(self) -> str:
        """Return the service's port: times two, plus one where it is the source's."""
        if not self.ports or not {"srcport", "dstport"} <= self.rows.columns:
            return "0"
        return (
            f"CASE WHEN srcport < {EPHEMERAL} AND dstport >= {EPHEMERAL} THEN srcport * 2 + 1"
            f" WHEN dstport < {EPHEMERAL} AND srcport >= {EPHEMERAL} THEN dstport * 2 ELSE 0 END"
        )

    def _code(self, kind: str, *, straddles: str, hour: str) -> str:
        parts = {
            "straddles": straddles,
            "translated": self._translated(),
            "protocol": self._number("protocol"),
            "path": self._number(self.rows.record.mapping.traffic_path),
            "port": self._port(),
            "hour": hour,
        }
        total = " + ".join(
            f"({expression})::BIGINT * {1 << CODE[name][0]}"
            for name, expression in parts.items()
            if expression != "0"
        )
        return f"CASE WHEN {kind} IN ({FLOW}, {REJECT}) THEN {kind} + {total} ELSE {kind} END"

    def _at(self, begin: str, end: str) -> str:
        """Return the exact window of a row whose address changed hands in its hour."""
        if not self.changes:
            return ""
        changed = (
            "(src, \"start\" // 3600) IN (SELECT (address, hour) FROM changes)"
            " OR (dst, \"start\" // 3600) IN (SELECT (address, hour) FROM changes)"
            " OR (src, (\"end\" - 1) // 3600) IN (SELECT (address, hour) FROM changes)"
            " OR (dst, (\"end\" - 1) // 3600) IN (SELECT (address, hour) FROM changes)"
        )  # fmt: skip
        return (
            f", CASE WHEN kind = {FLOW} AND ({changed}) THEN {begin} ELSE 0 END AS begins"
            f", CASE WHEN kind = {FLOW} AND ({changed}) THEN {end} ELSE 0 END AS ends"
        )

    # -- queries ------------------------------------------------------------------------------

    def _base(self) -> str:
        mapping = self.rows.record.mapping
        numbers = [
            name
            for name in ("bytes", "packets", "start", "end", "srcport", "dstport", "protocol",
                         mapping.traffic_path)
            if self._has(name)
        ]  # fmt: skip
        passed = [*numbers]
        if self.has_packet_ends:
            passed += [mapping.source, mapping.destination, mapping.packet_source,
                       mapping.packet_destination]  # fmt: skip
        texts = {key: self._text(field) for key, field in self.fields.items()}
        texts["src"] = self._end(mapping.packet_source, mapping.source)
        texts["dst"] = self._end(mapping.packet_destination, mapping.destination)
        wanted = [key for key in (*self.keys, *self.attributes) if key in self._varying()]
        wanted += [key for key in self.attributes if self._constant(key) is None]
        columns = [f"{texts[key]} AS {key}" for key in dict.fromkeys(wanted)]
        columns += [quoted(name) for name in dict.fromkeys(passed)]
        return f"SELECT {', '.join(columns)}, {self._kind()} AS kind FROM {self.rows.relation}"

    def _constant(self, key: str) -> str | None:
        """Return the literal of a key that has one value in the file, else None."""
        if key in ("src", "dst"):
            return None
        field = self.fields[key]
        if field in self.rows.constants or not self._has(field):
            return self._text(field)
        return None

    def _varying(self) -> list[str]:
        return [key for key in self.keys if self._constant(key) is None]

    def _names(self) -> str:
        names = [*self._varying(), *(a for a in self.attributes if self._constant(a) is None)]
        return ", ".join(dict.fromkeys(names))

    def _projection(self) -> str:
        if not self.bookable:
            zero = "0 AS bytes, 0 AS packets, 0 AS first_bytes, 0 AS first_packets, 0 AS seconds, 1 AS rows"
            at = ", 0 AS begins, 0 AS ends" if self.changes else ""
            return f"SELECT {self._names()}, kind::BIGINT AS code, {zero}{at} FROM ({self._base()})"
        crosses = f"kind = {FLOW} AND (\"end\" - 1) // 3600 > \"start\" // 3600"  # fmt: skip
        before = "(\"start\" // 3600 * 3600 + 3600 - \"start\")"  # fmt: skip
        code = self._code(
            "kind",
            straddles=f"CASE WHEN {crosses} THEN 1 ELSE 0 END",
            hour="\"start\" // 3600",  # fmt: skip
        )
        sizes = ", ".join(
            f"{self._number(name)} AS {name}, CASE WHEN {crosses} THEN"
            f" {self._number(name)}::HUGEINT * {before} // (\"end\" - \"start\") ELSE 0 END"
            f" AS first_{name}"
            for name in ("bytes", "packets")
        )  # fmt: skip
        seconds = f"CASE WHEN kind = {SKIPDATA} THEN coalesce(\"end\" - \"start\", 0) ELSE 0 END"  # fmt: skip
        at = self._at("\"start\"", "\"end\"")  # fmt: skip
        return (
            f"SELECT {self._names()}, {code} AS code, {sizes}, {seconds} AS seconds, 1 AS rows{at}"
            f" FROM ({self._base()})"
        )

    def _has_long(self, con: DuckDBPyConnection) -> bool:
        found = con.execute(f"SELECT count(*) FROM groups WHERE code = {LONG}").fetchall()
        return bool(found[0][0])

    def _long_rows(self) -> str:
        """Return records that cross more than one hour, one row per hour and record."""
        code = self._code(str(FLOW), straddles="0", hour="hour")
        seconds = "(\"end\" - \"start\")"  # fmt: skip
        upto = "(least((hour + 1) * 3600, \"end\") - \"start\")"  # fmt: skip
        since = "(greatest(hour * 3600, \"start\") - \"start\")"  # fmt: skip
        sizes = ", ".join(
            f"{name}::HUGEINT * {upto} // {seconds} - {name}::HUGEINT * {since} // {seconds}"
            f" AS {name}, 0::HUGEINT AS first_{name}"
            for name in (("bytes", "packets") if self._has("packets") else ("bytes",))
        )
        if not self._has("packets"):
            sizes += ", 0 AS packets, 0 AS first_packets"
        at = self._at("greatest(hour * 3600, \"start\")", "least((hour + 1) * 3600, \"end\")")  # fmt: skip
        at = at.replace(f"kind = {FLOW}", f"kind = {LONG}")
        return (
            f"SELECT {self._names()}, {code} AS code, {sizes}, 0 AS seconds,"
            f" CASE WHEN hour = \"start\" // 3600 THEN 1 ELSE 0 END AS rows{at} FROM ("
            f"SELECT *, unnest(range(\"start\" // 3600, (\"end\" - 1) // 3600 + 1)) AS hour"
            f" FROM ({self._base()}) WHERE kind = {LONG})"
        )  # fmt: skip

    def _grouped(self, inner: str, *, by_hash: bool) -> str:
        varying = [*self._varying(), "code"]
        if self.changes:
            varying += ["begins", "ends"]
        columns = [
            f"min({key}) AS {key}" + (f", max({key}) AS {key}_high" if by_hash else "")
            for key in varying
        ]
        for key in (*self.keys, *self.attributes):
            constant = self._constant(key)
            if constant is not None:
                columns.append(f"{constant} AS {key}")
            elif key in self.attributes:
                columns.append(f"max({key}) AS {key}")
        columns += [
            f"sum({name}) AS {name}"
            for name in ("bytes", "packets", "first_bytes", "first_packets", "seconds", "rows")
        ]
        if not self.changes:
            columns += ["0 AS begins", "0 AS ends"]
        key = f"hash({', '.join(varying)})" if by_hash else ", ".join(varying)
        return f"SELECT {', '.join(columns)} FROM ({inner}) GROUP BY {key}"
