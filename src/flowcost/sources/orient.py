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

from typing import TYPE_CHECKING, NamedTuple

from flowcost.sources.code import FLOW, REJECT, small
from flowcost.sources.grouped import Grouped, packed
from flowcost.sources.knowledge import Index
from flowcost.sources.orient_vpc import vpc
from flowcost.sources.oriented import FATE_NUMBERS, SOURCE, Oriented, with_ends
from flowcost.sources.record import Record
from flowcost.sources.report import Fate
from flowcost.sources.tgw_flow_logs import TGW

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


class Format(NamedTuple):
    """What the rules ask of a layout.

    `packet_ends`: it has pkt-srcaddr and pkt-dstaddr; `instances`: it has instance-id.
    """

    record: Record
    packet_ends: bool
    instances: bool


def orient(
    con: DuckDBPyConnection,
    grouped: Grouped,
    index: Index,
    format_: Format,
    *,
    nat_filter: str = "leg",
) -> Oriented:
    """Return the flows and refused flows of groups with their ends and fate.

    Args:
        con: a connection of its own.
        grouped: the groups of whole files.
        index: what the inventory knows.
        format_: of the rows.
        nat_filter: `leg`, or `simple`: every translated row of any interface and action is a
            client's leg and nothing else is booked, as the bare comparison of addresses has it.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    found = packed(grouped.addresses)
    result = Oriented(grouped, [pair[0] if pair else None for pair in found], [], [])
    groups, kind = grouped.table, small("kind", grouped.table["code"])
    flows = (
        pc.equal(kind, FLOW) if format_.record is TGW else pc.is_in(kind, pa.array([FLOW, REJECT]))
    )
    if not pc.all(flows, min_count=0).as_py():
        groups = groups.filter(flows)
    if format_.record is TGW:
        result.table = _tgw(result, groups, index)
    else:
        private = [bool(pair and pair[1]) for pair in found]
        simple = nat_filter == "simple"
        vpc(con, result, groups, index, private=private, simple=simple,
            packet_ends=format_.packet_ends, instances=format_.instances)  # fmt: skip
    return result


def _tgw(result: Oriented, groups: pa.Table, index: Index) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

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
    fate = pa.array(fates, pa.int8()).take(groups["context"])
    fate = pc.if_else(result.broken(groups), FATE_NUMBERS[Fate.BROKEN], fate)
    return with_ends(
        groups, fate=fate, side=SOURCE, local=groups["src"], remote=groups["dst"],
        at_nat=False, translated=0,
    )  # fmt: skip
