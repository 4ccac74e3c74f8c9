"""NAT gateways from the rows themselves, where no inventory names them.

An interface without an instance is taken for a NAT gateway's if one of its addresses receives
packets meant for a public address (the client's leg), and sends packets of its own out (the outer
leg). A transit gateway's interface has the first but never the second.
"""

from __future__ import annotations

from collections.abc import Iterable

from flowcost.address import Scope, pack, scope
from flowcost.errors import SourceError
from flowcost.sources import numbered, parquet, text
from flowcost.sources.discover import LogFile
from flowcost.sources.knowledge import NatGateway
from flowcost.sources.raw import Piece, quoted


def nat_gateways(
    files: Iterable[LogFile], log_format: tuple[str, ...] = ()
) -> tuple[NatGateway, ...]:
    """Return the NAT gateways that the rows of `files` show; the interface id stands for the id.

    Formats without packet addresses or instance-id show none. Files that cannot be read are left
    to the scan to report.
    """
    receives: set[tuple[str, str]] = set()
    sends: set[tuple[str, str]] = set()
    for file in files:
        try:
            found = parquet.rows(file) if file.format == "parquet" else text.rows(file, log_format)
            for rows in found:
                piece = numbered.piece([(0, rows)])
                if piece.packet_ends and piece.has("instance-id") and piece.has("interface-id"):
                    _collect(piece, receives, sends)
        except SourceError:
            continue
    own: dict[str, set[bytes]] = {}
    for interface, address in receives & sends:
        own.setdefault(interface, set()).add(pack(address))
    return tuple(
        NatGateway(id=name, addresses=frozenset(own[name]), interfaces=frozenset({name}))
        for name in sorted(own)
    )


def _collect(piece: Piece, receives: set[tuple[str, str]], sends: set[tuple[str, str]]) -> None:
    import duckdb  # noqa: PLC0415 - heavy

    managed = piece.equals("instance-id", "")
    with duckdb.connect(":memory:", config={"threads": 1}) as con:
        con.register("raw", piece.table)
        rows = f"FROM raw WHERE {managed} AND srcaddr = {quoted('pkt-srcaddr')}"
        first = con.execute(
            f'SELECT DISTINCT "interface-id", dstaddr, "pkt-dstaddr" {rows}'
            ' AND dstaddr <> "pkt-dstaddr"'
        ).fetchall()
        second = con.execute(
            f'SELECT DISTINCT "interface-id", srcaddr {rows} AND dstaddr = "pkt-dstaddr"'
        ).fetchall()
    names, ends = piece.words["interface-id"], piece.words["srcaddr"]
    for interface, own, target in first:
        if _public(ends[target]):
            receives.add((names[interface], ends[own]))
    sends.update((names[interface], ends[own]) for interface, own in second)


def _public(address: str) -> bool:
    try:
        return scope(pack(address)) is Scope.PUBLIC
    except ValueError:
        return False
