"""NAT gateways from the rows themselves, where no inventory names them.

An interface without an instance is taken for a NAT gateway's if one of its addresses receives
packets meant for a public address (the client's leg), and sends packets of its own out (the outer
leg). A transit gateway's interface has the first but never the second.
"""

from __future__ import annotations

from collections.abc import Iterable

from flowcost.address import Scope, pack, scope
from flowcost.errors import SourceError
from flowcost.sources import parquet, text
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
            pieces = parquet.pieces(file) if file.format == "parquet" else text.pieces(
                file, log_format
            )  # fmt: skip
            for piece in pieces:
                if piece.packet_ends and piece.has("instance-id") and piece.has("interface-id"):
                    _collect(piece, receives, sends)
        except SourceError:
            continue
    found: dict[str, set[bytes]] = {}
    for interface, address in receives & sends:
        found.setdefault(interface, set()).add(pack(address))
    return tuple(
        NatGateway(id=name, addresses=frozenset(found[name]), interfaces=frozenset({name}))
        for name in sorted(found)
    )


def _collect(piece: Piece, receives: set[tuple[str, str]], sends: set[tuple[str, str]]) -> None:
    import duckdb  # noqa: PLC0415 - heavy

    managed = (
        piece.equals("instance-id", "") if "instance-id" in piece.words else '"instance-id" IS NULL'
    )
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
    name, end = (piece.words.get(field) for field in ("interface-id", "srcaddr"))

    def word(value: int | str, words: tuple[str, ...] | None) -> str:
        return words[int(value)] if words else str(value)

    for interface, own, target in first:
        if _public(word(target, end)):
            receives.add((word(interface, name), word(own, end)))
    sends.update((word(interface, name), word(own, end)) for interface, own in second)


def _public(address: str) -> bool:
    try:
        return scope(pack(address)) is Scope.PUBLIC
    except ValueError:
        return False
