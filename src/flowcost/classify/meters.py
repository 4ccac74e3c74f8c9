"""What a transmission fires: each function turns facts into provider meters.

Usage types and operations are AWS's, verbatim, so that they join the bill. Functions meter the
local end unless they say "on the gateway". A meter with an empty usage type keeps bytes visible
where a component is known to exist but cannot be proven: a hop whose zone is unknown, an egress
beyond a gateway.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from flowcost.model import (
    Direction,
    EndKind,
    Facts,
    GatewayKind,
    Leg,
    Meter,
    Position,
    VpcRelation,
)
from flowcost.usage_types import usage_type

MeterRule = Callable[[Facts], tuple[Meter, ...]]

UNPRICED = ""  # usage type of a component whose meter cannot be proven
# Who faces the internet or a public peer is named by the operation of its line.
INTERNET_OPERATIONS = {
    EndKind.NAT_GATEWAY: "NatGateway",
    EndKind.APPLICATION_LB: "LoadBalancing",
    EndKind.NETWORK_LB: "LoadBalancing",
    EndKind.CLASSIC_LB: "LoadBalancing",
}
PUBLIC_OPERATIONS = {
    EndKind.APPLICATION_LB: "LoadBalancing-PublicIP",
    EndKind.NETWORK_LB: "LoadBalancing-PublicIP",
    EndKind.CLASSIC_LB: "LoadBalancing-PublicIP",
}


def _out(facts: Facts) -> bool:
    return facts.direction is Direction.TRANSMIT


def _line(facts: Facts, meter: str, operation: str = "", *, to_region: str = "") -> Meter:
    """Return a transfer meter at the local end, in the direction of the flow."""
    return Meter(
        usage_type=usage_type(meter, facts.local_region, to_region),
        operation=operation,
        region=facts.local_region,
        to_region=to_region,
        leg=Leg.TRANSMIT if _out(facts) else Leg.RECEIVE,
    )


def _device(meter: str, operation: str, region: str, at: Position) -> Meter:
    """Return a processing meter of a device on the way."""
    return Meter(
        usage_type=usage_type(meter, region),
        operation=operation,
        region=region,
        at=at,
        leg=Leg.PROCESSING,
    )


def _directed(facts: Facts, stem: str) -> str:
    return f"{stem}-{'Out' if _out(facts) else 'In'}" if stem else ""


def unpriced(facts: Facts) -> tuple[Meter, ...]:
    """Keep a component's bytes visible without a price."""
    leg = Leg.TRANSMIT if _out(facts) else Leg.RECEIVE
    return (Meter(usage_type=UNPRICED, operation="", region=facts.local_region, leg=leg),)


def inter_zone(facts: Facts) -> tuple[Meter, ...]:
    """Charge the observed end for crossing a zone: Out at the sender, In at the receiver."""
    return (_line(facts, "DataTransfer-Regional-Bytes", _directed(facts, "InterZone")),)


def service_side(facts: Facts) -> tuple[Meter, ...]:
    """Book a managed service's own side, which AWS lists at $0."""
    return (_line(facts, _directed(facts, "DataTransfer-xAZ") + "-Bytes"),)


def public_ip(facts: Facts) -> tuple[Meter, ...]:
    """Charge a public or Elastic address of an in-region peer, once at each end."""
    stem = PUBLIC_OPERATIONS.get(facts.local_kind, "PublicIP")
    return (_line(facts, "DataTransfer-Regional-Bytes", _directed(facts, stem)),)


def peering(facts: Facts) -> tuple[Meter, ...]:
    """Charge cross-zone peering by its own usage types (since 2025-04)."""
    meter = _directed(facts, "VpcPeering") + "-Bytes"
    return (_line(facts, meter, _directed(facts, "VPCPeering")),)


def peering_as_regional(facts: Facts) -> tuple[Meter, ...]:
    """Charge peering as regional transfer (before 2025-04)."""
    return (_line(facts, "DataTransfer-Regional-Bytes", _directed(facts, "VPCPeering")),)


def inter_region(stem: str) -> MeterRule:
    """Charge bytes that leave a region at the source; the arriving line exists at $0.

    `stem` names the way (`PublicIP`, `VPCPeering`, `TGWPeering`), empty if it is not known.
    AWS names both lines by (this region, other region), a load balancer's by its own operation.
    """

    def fire(facts: Facts) -> tuple[Meter, ...]:
        own = PUBLIC_OPERATIONS.get(facts.local_kind, stem) if stem == "PublicIP" else stem
        meter = _directed(facts, "AWS") + "-Bytes"
        return (_line(facts, meter, _directed(facts, own), to_region=facts.remote_region),)

    return fire


def internet(facts: Facts) -> tuple[Meter, ...]:
    """Charge bytes to the internet on the resource that faces it; bytes in are listed at $0."""
    operation = INTERNET_OPERATIONS.get(facts.local_kind, "RunInstances")
    return (_line(facts, _directed(facts, "DataTransfer") + "-Bytes", operation),)


def cloudfront_origin(facts: Facts) -> tuple[Meter, ...]:
    """Book origin bytes to CloudFront, which AWS lists at $0; nothing is metered on the way in."""
    return (_line(facts, "CloudFront-Out-Bytes"),) if _out(facts) else ()


def classic_lb_processing(facts: Facts) -> tuple[Meter, ...]:
    """Charge a Classic Load Balancer once per byte: where the byte arrives."""
    if facts.local_kind is not EndKind.CLASSIC_LB or _out(facts):
        return ()
    if facts.same_node or facts.remote_kind is EndKind.INFRASTRUCTURE:
        return ()
    region = facts.local_region
    return (_device("DataProcessing-Bytes", "LoadBalancing", region, Position.LOCAL),)


def nat_processing(facts: Facts) -> tuple[Meter, ...]:
    """Charge NAT processing on the gateway, both directions."""
    regional = facts.gateway is GatewayKind.REGIONAL_NAT_GATEWAY
    name = "RegionalNatGateway" if regional else "NatGateway"
    return (_device(f"{name}-Bytes", name, facts.gateway_region, Position.GATEWAY),)


def endpoint_processing(facts: Facts) -> tuple[Meter, ...]:
    """Charge interface endpoint processing on the endpoint, both directions."""
    region = facts.gateway_region
    return (_device("VpcEndpoint-Bytes", "VpcEndpoint", region, Position.GATEWAY),)


def gwlb_endpoint_processing(facts: Facts) -> tuple[Meter, ...]:
    """Charge Gateway Load Balancer endpoint processing, both directions."""
    region = facts.gateway_region
    return (_device("VpcEndpoint-GWLBE-Bytes", "VpcEndpoint", region, Position.GATEWAY),)


def transit(facts: Facts) -> tuple[Meter, ...]:
    """Charge bytes sent into a transit gateway to the sender; the receiver pays nothing."""
    if not _out(facts):
        return ()
    return (
        _device("TransitGateway-Bytes", "TransitGatewayVPC", facts.local_region, Position.LOCAL),
    )


def hop_to_gateway(facts: Facts) -> tuple[Meter, ...]:
    """Charge the way between a client and its gateway.

    In one VPC the two ends pay a zone crossing each (the gateway is an end of its own). In two
    VPCs joined by a transit gateway the sender pays its processing: the client on the way out,
    the gateway's account on the way back. A zone that is not known leaves the hop unpriced.
    """
    if facts.gateway_vpc is VpcRelation.OTHER:
        region, at = (
            (facts.local_region, Position.LOCAL)
            if _out(facts)
            else (facts.gateway_region, Position.GATEWAY)
        )
        return (_device("TransitGateway-Bytes", "TransitGatewayVPC", region, at),)
    if facts.gateway is GatewayKind.REGIONAL_NAT_GATEWAY:
        return ()  # present in the client's own zone
    if not facts.local_az or not facts.gateway_az:
        return _hop(unpriced(facts))
    if facts.local_az == facts.gateway_az:
        return ()
    # The gateway receives what the client sends, so its leg runs the other way.
    gateway_leg = Meter(
        usage_type=usage_type("DataTransfer-Regional-Bytes", facts.gateway_region),
        operation="InterZone-In" if _out(facts) else "InterZone-Out",
        region=facts.gateway_region,
        at=Position.GATEWAY,
        leg=Leg.RECEIVE if _out(facts) else Leg.TRANSMIT,
    )
    return _hop((*_client_leg(facts), gateway_leg))


def _hop(legs: tuple[Meter, ...]) -> tuple[Meter, ...]:
    return tuple(structs.replace(leg, hop=True) for leg in legs)


def _client_leg(facts: Facts) -> tuple[Meter, ...]:
    """Charge the client's own side of a zone crossing to a device."""
    return service_side(facts) if facts.local_kind is EndKind.MANAGED else inter_zone(facts)


def zone_hop(facts: Facts) -> tuple[Meter, ...]:
    """Charge the client for another zone's endpoint or attachment (before 2022-04-01)."""
    if not facts.local_az or not facts.gateway_az or facts.local_az == facts.gateway_az:
        return ()
    return _hop(_client_leg(facts))


def vpn_egress(facts: Facts) -> tuple[Meter, ...]:
    """Charge a Site-to-Site VPN's internet-rate egress on the connection; in is listed at $0."""
    meter = _directed(facts, "DataTransfer") + "-Bytes"
    return (
        Meter(
            usage_type=usage_type(meter, facts.local_region),
            operation="CreateVpnConnection",
            region=facts.local_region,
            at=Position.GATEWAY,
            leg=Leg.TRANSMIT if _out(facts) else Leg.RECEIVE,
        ),
    )


def direct_connect(facts: Facts) -> tuple[Meter, ...]:
    """Charge bytes to a Direct Connect location; in is free, (region, location) sets the rate.

    `gateway_region` holds the location code (`EqDC2`); without it the meter cannot be named.
    """
    if not _out(facts):
        return ()
    if not facts.gateway_region:
        return unpriced(facts)
    return (
        Meter(
            usage_type=f"{facts.gateway_region}-DataXfer-Out:dc.1",
            operation="",
            region=facts.local_region,
            to_region=facts.gateway_region,
            at=Position.LOCAL,
        ),
    )
