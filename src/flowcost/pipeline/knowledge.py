"""What the readers need of a resolution, as plain values that can be shipped to a task."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import ceil

from flowcost import clock
from flowcost.model import GatewayKind
from flowcost.resolve import PEERING_ATTACHMENT, Resolution
from flowcost.sources.knowledge import Interface, Knowledge, NatGateway


def knowledge_of(resolution: Resolution) -> Knowledge:
    """Return what the readers need of a resolution: gateways, interfaces, changed addresses."""
    nats = (GatewayKind.NAT_GATEWAY, GatewayKind.REGIONAL_NAT_GATEWAY)
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
        changes=frozenset(_changes(resolution)),
    )


def _changes(resolution: Resolution) -> Iterator[tuple[bytes, int]]:
    """Yield the addresses that change hands inside an hour, and when, in Unix seconds.

    Records start at whole seconds: the first that belongs to the next owner starts at or after the
    edge.
    """
    inside: dict[datetime, int | None] = {}  # many hosts share an edge
    for known in resolution.everywhere():
        for host in known.hosts:
            for edge in (host.valid_from, host.valid_to):
                if edge not in inside:
                    even = edge.astimezone(UTC) == clock.hour_of(edge)
                    inside[edge] = None if even else ceil(edge.timestamp())
                instant = inside[edge]
                if instant is not None:
                    yield host.address, instant
