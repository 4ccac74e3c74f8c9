"""What AWS meters while bytes travel: one function per stretch of the way.

A transmission is walked from the sender to the receiver. Every metered interface on it adds
`Line`s: at the sender, at the receiver, or at a gateway in between. Nothing here knows which
sensor saw the bytes; `book` does. The figures follow AWS's public pricing pages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

from .spelling import spell
from .world import Place, reach

# What has a metered network interface of its own.
WIRED = {
    "compute", "managed", "nat_gateway", "application_lb", "network_lb", "classic_lb",
    "gateway_lb",
}  # fmt: skip
BALANCERS = {"application_lb", "network_lb", "classic_lb"}


@dataclass(frozen=True)
class Line:
    """One meter that fires: where, in which role, under which name."""

    end: str  # sender, receiver, gateway
    role: str  # transmit, receive, processing
    usage: str
    operation: str
    region: str
    to_region: str = ""


@dataclass(frozen=True)
class Way:
    """How the bytes travel. `client` is the private side of a gateway: sender or receiver."""

    kind: str
    device: Place
    device_vpc: str  # same, other, unknown: the client's network against the gateway's
    client: str
    inside: bool  # nothing contradicts delivery in one private network


@dataclass(frozen=True)
class Bill:
    """The path's name, every line of the bill, and whether the way is understood."""

    path: str
    lines: tuple[Line, ...] = ()
    known: bool = True
    far_path: str = ""  # what the far end would call it, where that differs


UNKNOWN = Bill("unknown", known=False)


def blank(end: str, role: str, region: str) -> Line:
    """Return a component that exists and cannot be named: its bytes stay, without a price."""
    return Line(end, role, "", "", region)


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
        return replace(bill, lines=bill.lines + _classic(receiver))
    return (
        Bill(
            "external_private" if far.kind in ("external_private", "on_premises") else "unknown",
            known=False,
        )
        if way.kind != "blackhole"
        else UNKNOWN
    )


def _classic(receiver: Place) -> tuple[Line, ...]:
    """A Classic Load Balancer charges every byte once, where it arrives."""
    if receiver.kind != "classic_lb":
        return ()
    usage = spell("DataProcessing-Bytes", receiver.region)
    return (Line("receiver", "processing", usage, "LoadBalancing", receiver.region),)


def _pair(
    sender: Place, receiver: Place, meters: tuple[str, str], operations: tuple[str, str]
) -> tuple[Line, ...]:
    """One line out at the sender, one line in at the receiver, within one region."""
    return (
        Line("sender", "transmit", spell(meters[0], sender.region), operations[0], sender.region),
        Line("receiver", "receive", spell(meters[1], receiver.region), operations[1],
             receiver.region),
    )  # fmt: skip


REGIONAL = ("DataTransfer-Regional-Bytes",) * 2


def zones(sender: Place, receiver: Place) -> tuple[Line, ...] | None:
    """Charge crossing a zone inside one network; None if a zone is not known."""
    if not sender.zone or not receiver.zone:
        return None
    if sender.zone == receiver.zone:
        return ()
    if {sender.kind, receiver.kind} & {"application_lb", "classic_lb"}:
        return ()
    out, into = _pair(sender, receiver, REGIONAL, ("InterZone-Out", "InterZone-In"))
    if sender.kind == "managed":
        out = replace(out, usage=spell("DataTransfer-xAZ-Out-Bytes", sender.region), operation="")
    if receiver.kind == "managed":
        usage = spell("DataTransfer-xAZ-In-Bytes", receiver.region)
        into = replace(into, usage=usage, operation="")
    return out, into


def regions(sender: Place, receiver: Place, stem: str) -> tuple[Line, ...]:
    """Charge leaving a region at the source; the arriving line is printed at zero."""

    def named(place: Place, suffix: str) -> str:
        balancer = stem == "PublicIP" and place.kind in BALANCERS
        return f"{'LoadBalancing-' if balancer else ''}{stem}-{suffix}" if stem else ""

    here, there = sender.region, receiver.region
    return (
        Line("sender", "transmit", spell("AWS-Out-Bytes", here, there), named(sender, "Out"),
             here, there),
        Line("receiver", "receive", spell("AWS-In-Bytes", there, here), named(receiver, "In"),
             there, here),
    )  # fmt: skip


def _wired(*places: Place) -> bool:
    return all(place.kind in WIRED for place in places)


def _only_ours(lines: tuple[Line, ...], sender: Place, receiver: Place) -> tuple[Line, ...]:
    """Drop the lines of an end that has no interface of its own (a service, a stranger)."""
    bearers = {"sender": sender, "receiver": receiver}
    return tuple(line for line in lines if bearers[line.end].kind in WIRED)


def front_door(sender: Place, receiver: Place, client: str, vpc: str) -> Bill:
    """Public addresses: who stands at the other side decides."""
    ours, far = (sender, receiver) if client == "sender" else (receiver, sender)
    near = bool(ours.region) and ours.region == far.region
    away = bool(ours.region and far.region) and not near
    public = "public" in (reach(sender.address), reach(receiver.address))
    new_family = ours.address.version == 6 and _wired(ours, far) and vpc == "other"
    if near and (new_family or (public and far.kind in WIRED | {"ec2_public"})):
        operations = tuple(
            f"{'LoadBalancing-' if place.kind in BALANCERS else ''}PublicIP-{suffix}"
            for place, suffix in ((sender, "Out"), (receiver, "In"))
        )
        lines = _pair(sender, receiver, REGIONAL, operations)
        return Bill("cross_az", _only_ours(lines, sender, receiver))
    if far.kind == "service" and near:
        return Bill("cloud_service_public")
    if away and (far.kind == "service" or (public and far.kind in WIRED | {"ec2_public"})):
        lines = regions(sender, receiver, "PublicIP")
        return Bill("cross_region", _only_ours(lines, sender, receiver))
    if far.kind == "cloudfront" and ours.region:
        usage = spell("CloudFront-Out-Bytes", ours.region)
        out = (Line("sender", "transmit", usage, "", ours.region),) if client == "sender" else ()
        return Bill("cloud_service_public", out)
    if far.kind == "internet" and ours.region:
        return _internet(ours, client)
    return UNKNOWN


def _internet(ours: Place, client: str) -> Bill:
    operation = "LoadBalancing" if ours.kind in BALANCERS else "RunInstances"
    if ours.kind == "nat_gateway":
        operation = "NatGateway"
    if client == "sender":
        usage = spell("DataTransfer-Out-Bytes", ours.region)
        return Bill("internet_egress", (Line("sender", "transmit", usage, operation, ours.region),))
    usage = spell("DataTransfer-In-Bytes", ours.region)
    return Bill("internet_ingress", (Line("receiver", "receive", usage, operation, ours.region),))


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
    elif _wired(far) and far.region and far.region != nat.region:
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
    ends = (client, nat) if outward else (nat, client)
    crossed = zones(*ends)
    client_end = "sender" if outward else "receiver"
    if crossed is None:
        return (blank(client_end, "transmit" if outward else "receive", client.region),)
    return tuple(
        line if line.end == client_end else replace(line, end="gateway") for line in crossed
    )


def _into_transit(payer: Place, end: str) -> Line:
    usage = spell("TransitGateway-Bytes", payer.region)
    return Line(end, "processing", usage, "TransitGatewayVPC", payer.region)


def _free_since_2022(sender: Place, receiver: Place, way: Way, day: date) -> tuple[Line, ...]:
    """Reaching a device in another zone cost its client until 2022-04-01."""
    if day >= date(2022, 4, 1):
        return ()
    ends = (sender, way.device) if way.client == "sender" else (way.device, receiver)
    crossed = zones(*ends) or ()
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
        return Bill("vpc_peering", _pair(sender, receiver, REGIONAL, operations))
    if not sender.zone or not receiver.zone:
        return UNKNOWN
    if sender.zone == receiver.zone:
        return Bill("vpc_peering")
    named = ("VpcPeering-Out-Bytes", "VpcPeering-In-Bytes")
    meters = named if day >= date(2025, 4, 1) else REGIONAL
    return Bill("vpc_peering", _pair(sender, receiver, meters, operations))


def _delivered(sender: Place, receiver: Place, way: Way, vpc: str) -> Bill:
    """In one network by zones; across regions by source, whatever carries the bytes."""
    if not _wired(sender, receiver) or not sender.region or not receiver.region:
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
