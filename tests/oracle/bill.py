"""What AWS meters while bytes travel: from the sender, past every device, to the receiver.

A transmission is walked once; every metered interface on the way adds `Line`s. Nothing here
knows which sensor saw the bytes; `book` does.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from .spelling import spell
from .stretch import (
    REGIONAL,
    UNKNOWN,
    WIRED,
    Bill,
    Line,
    Way,
    blank,
    classic,
    front_door,
    pair,
    regions,
    wired,
    zones,
)
from .world import Place, reach


def walk(sender: Place, receiver: Place, way: Way, vpc: str, day: date) -> Bill:
    """Return the whole bill of bytes from `sender` to `receiver` on `day`."""
    far = receiver if way.client == "sender" else sender
    if sender.node and (sender.node, sender.cluster) == (receiver.node, receiver.cluster):
        return Bill("same_zone")
    if far.kind == "infrastructure":
        return Bill("cloud_infra")
    stretch = {
        "nat_gateway": _nat,
        "regional_nat_gateway": _nat,
        "interface_endpoint": _endpoint,
        "gwlb_endpoint": _appliance,
        "transit_gateway": _transit,
        "vpn": _vpn,
        "direct_connect": _direct_connect,
        "vpc_peering": _peering,
    }.get(way.kind)
    if stretch:
        bill = stretch(sender, receiver, way, day)
    elif way.kind == "gateway_endpoint":
        bill = Bill("vpc_endpoint")
    elif way.kind in ("internet_gateway", "egress_only_gateway"):
        bill = front_door(sender, receiver, way.client, vpc)
    elif way.kind in ("none", "unknown"):
        bill = _delivered(sender, receiver, way, vpc)
    else:
        bill = UNKNOWN
    if bill.known:
        arrives = bill.far_path != "unknown" or receiver is not far
        return replace(bill, lines=bill.lines + (classic(receiver) if arrives else ()))
    return (
        Bill(
            "external_private" if far.kind in ("external_private", "on_premises") else "unknown",
            known=False,
        )
        if way.kind != "blackhole"
        else UNKNOWN
    )


def _nat(sender: Place, receiver: Place, way: Way, day: date) -> Bill:
    """Client, hop, gateway, onward: the gateway is an interface like any other, twice."""
    nat = replace(way.device, words={**way.device.words, "kind": "nat_gateway"})
    if not nat.region:
        return UNKNOWN
    outward = way.client == "sender"
    client, far = (sender, receiver) if outward else (receiver, sender)
    lines = list(_hop(client, nat, way, outward=outward))
    name = "RegionalNatGateway" if way.kind == "regional_nat_gateway" else "NatGateway"
    usage = spell(f"{name}-Bytes", nat.region)
    lines.append(Line("gateway", "processing", usage, name, nat.region))
    onward = UNKNOWN
    if reach(far.address) == "public":
        ends = (nat, far) if outward else (far, nat)
        onward = front_door(*ends, way.client, "other")
    elif wired(far) and far.region and far.region != nat.region:
        ends = (nat, far) if outward else (far, nat)
        onward = Bill("cross_region", regions(*ends, ""))
    nat_end = "sender" if outward else "receiver"
    role = "transmit" if outward else "receive"
    if onward.known:
        lines += (
            replace(line, end="gateway") if line.end == nat_end else line for line in onward.lines
        )
    else:
        lines.append(blank("gateway", role, client.region))
    return Bill("nat_gateway", tuple(lines), far_path=onward.path)


def _hop(client: Place, nat: Place, way: Way, *, outward: bool) -> tuple[Line, ...]:
    """Between a client and its NAT gateway: a zone crossing, or a transit gateway."""
    if way.device_vpc == "other":
        payer = client if outward else nat
        end = ("sender" if outward else "gateway",)
        return (_into_transit(payer, *end),)
    if way.kind == "regional_nat_gateway":
        return ()
    near = _as_client(client)
    crossed = zones(near, nat) if outward else zones(nat, near)
    client_end = "sender" if outward else "receiver"
    if crossed is None:
        return (blank(client_end, "transmit" if outward else "receive", client.region),)
    return tuple(
        line if line.end == client_end else replace(line, end="gateway") for line in crossed
    )


def _as_client(place: Place) -> Place:
    """The free crossing of a balancer is the one to its targets, not to a gateway."""
    plain = "managed" if place.kind == "managed" else "compute"
    return replace(place, words={**place.words, "kind": plain})


def _into_transit(payer: Place, end: str) -> Line:
    usage = spell("TransitGateway-Bytes", payer.region)
    return Line(end, "processing", usage, "TransitGatewayVPC", payer.region)


def _free_since_2022(sender: Place, receiver: Place, way: Way, day: date) -> tuple[Line, ...]:
    """Reaching a device in another zone cost its client until 2022-04-01."""
    if day >= date(2022, 4, 1):
        return ()
    outward, device = way.client == "sender", way.device
    near = _as_client(sender if outward else receiver)
    crossed = zones(near, device) if outward else zones(device, near)
    crossed = crossed or ()
    return tuple(line for line in crossed if line.end == way.client)


def _endpoint(sender: Place, receiver: Place, way: Way, day: date) -> Bill:
    if not way.device.region:
        return UNKNOWN
    usage = spell("VpcEndpoint-Bytes", way.device.region)
    work = Line("gateway", "processing", usage, "VpcEndpoint", way.device.region)
    return Bill("vpc_endpoint", (*_free_since_2022(sender, receiver, way, day), work))


def _appliance(sender: Place, receiver: Place, way: Way, day: date) -> Bill:
    if not way.device.region:
        return UNKNOWN
    usage = spell("VpcEndpoint-GWLBE-Bytes", way.device.region)
    return Bill(
        "vpc_endpoint", (Line("gateway", "processing", usage, "VpcEndpoint", way.device.region),)
    )


def _transit(sender: Place, receiver: Place, way: Way, day: date) -> Bill:
    """The sender pays for what it sends in; another region adds its own line."""
    here = (sender if way.client == "sender" else receiver).region
    if not here:
        return UNKNOWN
    lines = (_into_transit(sender, "sender"),) if sender.kind in WIRED else ()
    if sender.region and receiver.region and sender.region != receiver.region:
        return Bill("transit_gateway", (*lines, *regions(sender, receiver, "TGWPeering")))
    return Bill("transit_gateway", (*lines, *_free_since_2022(sender, receiver, way, day)))


def _vpn(sender: Place, receiver: Place, way: Way, day: date) -> Bill:
    """Internet rates, on the connection."""
    outward = way.client == "sender"
    here = (sender if outward else receiver).region
    if not here:
        return UNKNOWN
    usage = spell(f"DataTransfer-{'Out' if outward else 'In'}-Bytes", here)
    role = "transmit" if outward else "receive"
    line = Line("gateway", role, usage, "CreateVpnConnection", here)
    return Bill("external_private", (line,))


def _direct_connect(sender: Place, receiver: Place, way: Way, day: date) -> Bill:
    """Out by (region, location); in is free."""
    outward = way.client == "sender"
    here, location = (sender if outward else receiver).region, way.device.region
    if not here:
        return UNKNOWN
    if not outward:
        return Bill("external_private")
    if not location:
        return Bill("external_private", (blank("sender", "transmit", here),))
    usage = f"{location}-DataXfer-Out:dc.1"
    return Bill("external_private", (Line("sender", "transmit", usage, "", here, location),))


def _peering(sender: Place, receiver: Place, way: Way, day: date) -> Bill:
    if not sender.region or not receiver.region:
        return UNKNOWN
    if sender.region != receiver.region:
        return Bill("cross_region", regions(sender, receiver, "VPCPeering"))
    operations = ("VPCPeering-Out", "VPCPeering-In")
    if day < date(2021, 5, 1):
        return Bill("vpc_peering", pair(sender, receiver, REGIONAL, operations))
    if not sender.zone or not receiver.zone:
        return UNKNOWN
    if sender.zone == receiver.zone:
        return Bill("vpc_peering")
    named = ("VpcPeering-Out-Bytes", "VpcPeering-In-Bytes")
    meters = named if day >= date(2025, 4, 1) else REGIONAL
    return Bill("vpc_peering", pair(sender, receiver, meters, operations))


def _delivered(sender: Place, receiver: Place, way: Way, vpc: str) -> Bill:
    """In one network by zones; across regions by source, whatever carries the bytes."""
    if not wired(sender, receiver) or not sender.region or not receiver.region:
        return UNKNOWN
    if sender.region != receiver.region:
        if way.kind != "unknown":
            return UNKNOWN
        return Bill("cross_region", regions(sender, receiver, ""))
    if not way.inside or vpc == "other" or (vpc == "unknown" and way.kind != "unknown"):
        return UNKNOWN
    crossed = zones(sender, receiver)
    if crossed is None:
        return UNKNOWN
    return Bill("same_zone" if sender.zone == receiver.zone else "cross_az", crossed)
