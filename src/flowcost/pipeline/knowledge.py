"""What the readers need of a resolution, as plain values that can be shipped to a task."""

from __future__ import annotations

from datetime import UTC
from math import ceil

from flowcost import clock
from flowcost.model import GatewayKind
from flowcost.resolve import PEERING_ATTACHMENT, Resolution
from flowcost.sources.knowledge import Interface, Knowledge, NatGateway


def knowledge_of(resolution: Resolution) -> Knowledge:
    """Return what the readers need of a resolution: gateways, interfaces, changed addresses."""
    nats = (GatewayKind.NAT_GATEWAY, GatewayKind.REGIONAL_NAT_GATEWAY)
    # Records start at whole seconds: the first that belongs to the next owner starts at or after
    # the edge.
    changes = {
        (host.address, ceil(edge.timestamp()))
        for known in resolution.everywhere()
        for host in known.hosts
        for edge in (host.valid_from, host.valid_to)
        if edge.astimezone(UTC) != clock.hour_of(edge)
    }
    return Knowledge(
        gateways=tuple(
            NatGateway(
                id=gateway.id,
                addresses=gateway.addresses,
                interfaces=gateway.interfaces,
                regional=gateway.kind is GatewayKind.REGIONAL_NAT_GATEWAY,
            )
            for gateway in resolution.gateways
            if gateway.kind in nats
        ),
        interfaces=tuple(
            Interface(id=one.id, blocks=one.blocks, type=one.type, forwards=one.forwards)
            for one in resolution.interfaces
            if one.type != PEERING_ATTACHMENT
        ),
        peering_attachments=frozenset(
            one.id for one in resolution.interfaces if one.type == PEERING_ATTACHMENT
        ),
        changes=frozenset(changes),
    )
