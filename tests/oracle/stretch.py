"""What the two ends of a stretch are charged: zones, regions, public addresses, the internet.

Each function returns the lines at the sender and the receiver; the figures follow AWS's public
pricing pages. `bill` joins stretches to whole ways.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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


def classic(receiver: Place) -> tuple[Line, ...]:
    """A Classic Load Balancer charges every byte once, where it arrives."""
    if receiver.kind != "classic_lb":
        return ()
    usage = spell("DataProcessing-Bytes", receiver.region)
    return (Line("receiver", "processing", usage, "LoadBalancing", receiver.region),)


def pair(
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
    out, into = pair(sender, receiver, REGIONAL, ("InterZone-Out", "InterZone-In"))
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


def wired(*places: Place) -> bool:
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
    new_family = ours.address.version == 6 and wired(ours, far) and vpc == "other"
    if near and (new_family or (public and far.kind in WIRED | {"ec2_public"})):
        operations = tuple(
            f"{'LoadBalancing-' if place.kind in BALANCERS else ''}PublicIP-{suffix}"
            for place, suffix in ((sender, "Out"), (receiver, "In"))
        )
        lines = pair(sender, receiver, REGIONAL, operations)
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
