"""Which end of a row is the observed one, and whether the row is booked (laws 3 and 4).

An interface's row is oriented to the interface: by flow-direction, else by which address is the
interface's, else by which end was translated to its primary address, else by the one address all
its rows share, else by private against public. The ends are those in the packet (pkt-srcaddr,
pkt-dstaddr), since the logged ones show the primary address of the interface only.

A NAT gateway logs every flow on both its sides. The row of the client's leg is the one in which
neither packet address is one of the gateway's own; it is oriented to the private client. Where
the gateway's addresses are not known, a zonal gateway's client leg is the translated row, and a
regional gateway's the row between a private and a public address. What reaches the gateway from
an address no client of the same file talks to is unsolicited.

A transit gateway logs every flow where it enters and where it leaves; the sender's side is
booked, except at a peering attachment (the sender's own gateway has charged it).

An interface that only passes packets on (a transit gateway's, a gateway load balancer's) is no
end, and its rows are a second sight. An instance that forwards is billed as an end of its own on
both sides, so there the interface's own address stands for the packet's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcost.sources.code import FLOW, bits
from flowcost.sources.grouped import Grouped, packed
from flowcost.sources.knowledge import Index
from flowcost.sources.orient_vpc import create_vpc
from flowcost.sources.oriented import FATE_NUMBERS, SOURCE, Oriented, register_addresses
from flowcost.sources.record import Record
from flowcost.sources.report import Fate
from flowcost.sources.tgw_flow_logs import TGW

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def orient(
    con: DuckDBPyConnection,
    grouped: Grouped,
    index: Index,
    record: Record,
    *,
    nat_filter: str = "leg",
    packet_ends: bool = True,
    instances: bool = True,
) -> Oriented:
    """Create the table `oriented` from the groups of one piece.

    Columns: those of the groups, `fate` (position in `FATES`), `side` (1: the observed end is the
    source), `local` and `remote` (positions in `packed`), `at_nat`, `translated`.

    Args:
        con: a connection of its own.
        grouped: the groups.
        index: what the inventory knows.
        record: VPC or transit gateway.
        nat_filter: `leg`, or `simple`: every translated row of any interface and action is a
            client's leg and nothing else is booked, as the bare comparison of addresses has it.
        packet_ends: the format has pkt-srcaddr and pkt-dstaddr.
        instances: the format has instance-id.
    """
    found = packed(grouped.addresses)
    result = Oriented(grouped, [pair[0] if pair else None for pair in found], [], [])
    con.register("groups", grouped.table)
    if record is TGW:
        _create_tgw(con, result, index)
    else:
        create_vpc(
            con,
            result,
            index,
            private=[bool(pair and pair[1]) for pair in found],
            simple=nat_filter == "simple",
            packet_ends=packet_ends,
            instances=instances,
        )
    con.unregister("groups")
    return result


def _create_tgw(con: DuckDBPyConnection, result: Oriented, index: Index) -> None:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    fates = []
    for context in result.grouped.contexts:
        at_peering = context.observer in index.knowledge.peering_attachments
        if context.direction == "egress" or at_peering:
            fates.append(FATE_NUMBERS[Fate.CROSS_CHECK])
        elif context.direction == "ingress":
            fates.append(FATE_NUMBERS[Fate.BOOKED])
        else:
            fates.append(FATE_NUMBERS[Fate.UNORIENTED])
    result.via.extend(context.device for context in result.grouped.contexts)
    result.at_gateway.extend(False for _ in fates)
    register_addresses(con, result, [False] * len(result.packed))
    con.register(
        "contexts",
        pa.table(
            {"id": pa.array(range(len(fates)), pa.int32()), "fate": pa.array(fates, pa.int8())}
        ),
    )
    con.execute(f"""
CREATE OR REPLACE TEMP TABLE oriented AS
SELECT g.*, CASE WHEN s.valid AND d.valid THEN c.fate ELSE {FATE_NUMBERS[Fate.BROKEN]} END AS fate,
       {SOURCE} AS side, g.src AS local, g.dst AS remote, FALSE AS at_nat, 0 AS translated
FROM groups g JOIN contexts c ON c.id = g.context
JOIN addresses s ON s.id = g.src JOIN addresses d ON d.id = g.dst
WHERE {bits("kind")} = {FLOW}
""")
    con.unregister("contexts")
    con.unregister("addresses")
