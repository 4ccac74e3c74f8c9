"""Expressions over one raw row: what it is, its ends, and its small facts as one number.

What the piece's own spans prove is not checked row by row.
"""

from __future__ import annotations

from flowcost.clock import EARLIEST, LATEST
from flowcost.sources.code import (
    BROKEN,
    CODE,
    FLOW,
    LARGEST,
    LONGEST,
    NO_BYTES,
    NODATA,
    REJECT,
    SKIPDATA,
    serves,
)
from flowcost.sources.raw import PART, WHOLE, Piece, quoted

# Parts of a flow that are constant for an interface, or nearly; see `record.Mapping`.
CONTEXT = (
    "observer", "direction", "source_service", "destination_service", "device", "device_type",
    "next_hop_type", "next_hop_az", "account", "region", "az", "vpc", "subnet", "instance",
)  # fmt: skip
_MOST = 1 << 62


class Rowwise:
    """The expressions for one piece."""

    def __init__(self, piece: Piece, *, ports: bool) -> None:
        self.piece, self.ports = piece, ports
        mapping = piece.record.mapping
        self.fields = {part: getattr(mapping, part) for part in CONTEXT}
        self.present = [part for part in CONTEXT if piece.has(self.fields[part])]
        self.packed = self._pack()
        # Every number of the piece is in its range, so that `code` needs no row's own check.
        self.clean = all(self._never_out(name, most) for name, most in self._limits())

    def _pack(self) -> list[tuple[str, list[tuple[str, int]]]]:
        """Return the context columns to group by: (name, [(part, size)]) in mixed radix."""
        columns: list[tuple[str, list[tuple[str, int]]]] = []
        product = _MOST
        for part in self.present:
            size = len(self.piece.words[self.fields[part]])
            if size <= 1:  # 0: nothing of the file could be decoded
                continue
            if product * size >= _MOST:
                columns.append((f"context_{len(columns)}", []))
                product = 1
            product *= size
            columns[-1][1].append((part, size))
        return columns

    def contexts(self) -> list[str]:
        """Return the context columns, named as in `packed`."""
        columns = []
        for name, parts in self.packed:
            expression, radix = "0", 1
            for part, size in parts:
                expression += f" + {quoted(self.fields[part])}::BIGINT * {radix}"
                radix *= size
            columns.append(f"{expression} AS {name}")
        return columns

    @property
    def ends_known(self) -> bool:
        """Return whether the rows have both addresses."""
        mapping = self.piece.record.mapping
        return {mapping.source, mapping.destination} <= self.piece.columns

    def ends(self) -> tuple[str, str]:
        """Return the source and the destination in the packet."""
        mapping, piece = self.piece.record.mapping, self.piece
        if not self.ends_known:
            return "0", "0"
        return (
            piece.address(mapping.packet_source, mapping.source),
            piece.address(mapping.packet_destination, mapping.destination),
        )

    def _valid(self) -> str:
        mapping, piece = self.piece.record.mapping, self.piece
        earliest, latest = int(EARLIEST.timestamp()), int(LATEST.timestamp()) - 1
        checks = [
            piece.within("start", earliest, latest),
            piece.within("end", earliest, latest),
            piece.within("bytes", 0, LARGEST),
            f'"end" - "start" BETWEEN 0 AND {LONGEST}',
        ]
        checks += [f"{quoted(name)} > 0" for name in (mapping.source, mapping.destination)]
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

    def kind(self) -> str:
        """Return the kind of a row; a null anywhere in a condition makes the row broken."""
        mapping, piece = self.piece.record.mapping, self.piece
        if not piece.bookable:
            flow = str(NO_BYTES)
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
        if WHOLE in piece.table.column_names:
            flow = f"CASE WHEN {WHOLE} THEN {flow} ELSE {BROKEN} END"
        return flow

    def _translated(self) -> str:
        mapping, piece = self.piece.record.mapping, self.piece
        if not piece.packet_ends or not self.ends_known:
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
            f"CASE WHEN {serves('srcport', 'dstport')} THEN srcport * 2 + 1"
            f" WHEN {serves('dstport', 'srcport')} THEN dstport * 2 ELSE 0 END"
        )

    def code(self) -> str:
        """Return the small facts of a row, given its `kind`; of a broken one only its file."""
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
        if not self.clean:
            whole = f"CASE WHEN kind IN ({FLOW}, {REJECT}) THEN {whole} ELSE kind END"
        return f"({whole}) + {PART}::BIGINT * {1 << CODE['part'][0]}"
