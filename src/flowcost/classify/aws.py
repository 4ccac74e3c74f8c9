"""AWS: the decision table. One row is one rule; the first row that holds decides.

Each row: id, conditions, billing path, meters, and the page that says so. `since` and `until`
date a rule (half-open), so that an old month is priced by the rules of that month. Pages:
EC2 = aws.amazon.com/ec2/pricing/on-demand (Data Transfer), VPC = aws.amazon.com/vpc/pricing,
PL = aws.amazon.com/privatelink/pricing, TGW = aws.amazon.com/transit-gateway/pricing,
ELB = aws.amazon.com/elasticloadbalancing/pricing, DX = aws.amazon.com/directconnect/pricing,
NEW = aws.amazon.com/about-aws/whats-new at the row's date.
"""

from __future__ import annotations

from datetime import date

import msgspec
from msgspec import Struct

from flowcost.classify import meters as m
from flowcost.classify.conditions import (
    ANYTHING,
    GATEWAY_REGION,
    INTERFACE_ENDS,
    IPV6,
    LOCAL_REGION,
    OTHER_AZ,
    OTHER_REGION,
    OTHER_VPC,
    PRIVATE,
    PUBLIC,
    SAME_AZ,
    SAME_NODE,
    SAME_REGION,
    SAME_VPC,
    VPC_UNKNOWN,
    Condition,
    either_kind,
    local,
    remote,
    through,
)
from flowcost.classify.facts import TRANSLATORS, beyond_nat
from flowcost.model import (
    Confidence,
    EndKind,
    Facts,
    GatewayKind,
    Meter,
    Path,
    Position,
    Verdict,
)

_BEGINNING = date(2006, 1, 1)
_END = date.max

FREE_PEERING = date(2021, 5, 1)  # same-zone peering, any account
FREE_ZONE_HOPS = date(2022, 4, 1)  # PrivateLink, transit gateway, Client VPN
PEERING_METERS = date(2025, 4, 1)  # VpcPeering-*-Bytes replace DataTransfer-Regional-Bytes


class Rule(Struct, frozen=True):
    """One row of the table. `priced=False` keeps the bytes and prices nothing.

    The first meter carries the flow's bytes, so it is the one that is booked whenever the flow
    is: a device's processing before the hop to it, which another sensor may book.
    """

    id: str
    when: tuple[Condition, ...]
    path: Path
    meters: tuple[m.MeterRule, ...]
    page: str
    since: date = _BEGINNING
    until: date = _END
    confidence: Confidence = Confidence.MEASURED
    priced: bool = True

    def holds(self, facts: Facts, on: date) -> bool:
        """Return whether this row decides `facts` on day `on`."""
        return self.since <= on < self.until and all(c.test(facts) for c in self.when)


INTERNET_WAYS = through(GatewayKind.INTERNET_GATEWAY, GatewayKind.EGRESS_ONLY_GATEWAY)
PEERED = through(GatewayKind.VPC_PEERING)
TRANSIT = through(GatewayKind.TRANSIT_GATEWAY)
NAT = through(*TRANSLATORS)
ENDPOINT = through(GatewayKind.INTERFACE_ENDPOINT)
NO_ROUTE = through(GatewayKind.UNKNOWN)
DELIVERED = through(GatewayKind.NONE, GatewayKind.UNKNOWN)
FREE_BALANCER = either_kind(EndKind.APPLICATION_LB, EndKind.CLASSIC_LB)
MANAGED = local(EndKind.MANAGED)
SERVICE = remote(EndKind.SERVICE)
PUBLIC_PEER = remote(
    EndKind.EC2_PUBLIC,
    EndKind.COMPUTE,
    EndKind.NAT_GATEWAY,
    EndKind.APPLICATION_LB,
    EndKind.NETWORK_LB,
    EndKind.CLASSIC_LB,
    EndKind.MANAGED,
)
P, A, D = Path, Confidence.ASSUMED, Confidence.DERIVED

# fmt: off
RULES: tuple[Rule, ...] = (
    # --- never leaves, never billed -----------------------------------------------------------
    Rule("aws.same_node", (SAME_NODE,), P.SAME_ZONE, (), "EC2"),
    Rule("aws.infrastructure", (remote(EndKind.INFRASTRUCTURE),), P.CLOUD_INFRA, (), "VPC"),
    Rule("aws.blackhole", (through(GatewayKind.BLACKHOLE),), P.UNKNOWN, (), "VPC", priced=False),
    # --- through a gateway: the device decides ------------------------------------------------
    Rule("aws.nat_gateway", (NAT, GATEWAY_REGION), P.NAT_GATEWAY,
         (m.nat_processing, m.hop_to_gateway), "VPC", confidence=D),
    Rule("aws.gateway_endpoint", (through(GatewayKind.GATEWAY_ENDPOINT),), P.VPC_ENDPOINT, (),
         "VPC", confidence=D),
    Rule("aws.interface_endpoint.2022", (ENDPOINT, GATEWAY_REGION), P.VPC_ENDPOINT,
         (m.endpoint_processing,), "PL", since=FREE_ZONE_HOPS),
    Rule("aws.interface_endpoint", (ENDPOINT, GATEWAY_REGION), P.VPC_ENDPOINT,
         (m.endpoint_processing, m.zone_hop), "PL", until=FREE_ZONE_HOPS),
    Rule("aws.gwlb_endpoint", (through(GatewayKind.GWLB_ENDPOINT), GATEWAY_REGION),
         P.VPC_ENDPOINT, (m.gwlb_endpoint_processing,), "PL"),
    Rule("aws.transit_gateway.peering", (TRANSIT, OTHER_REGION), P.TRANSIT_GATEWAY,
         (m.transit, m.inter_region("TGWPeering")), "TGW", confidence=D),
    Rule("aws.transit_gateway.2022", (TRANSIT, LOCAL_REGION), P.TRANSIT_GATEWAY,
         (m.transit,), "TGW", since=FREE_ZONE_HOPS, confidence=D),
    Rule("aws.transit_gateway", (TRANSIT, LOCAL_REGION), P.TRANSIT_GATEWAY,
         (m.transit, m.zone_hop), "TGW", until=FREE_ZONE_HOPS, confidence=D),
    Rule("aws.vpn", (through(GatewayKind.VPN), LOCAL_REGION), P.EXTERNAL_PRIVATE,
         (m.vpn_egress,), "EC2", confidence=D),
    Rule("aws.direct_connect", (through(GatewayKind.DIRECT_CONNECT), LOCAL_REGION),
         P.EXTERNAL_PRIVATE, (m.direct_connect,), "DX", confidence=D),
    Rule("aws.vpc_peering.other_region", (PEERED, OTHER_REGION), P.CROSS_REGION,
         (m.inter_region("VPCPeering"),), "EC2"),
    Rule("aws.vpc_peering", (PEERED, SAME_REGION), P.VPC_PEERING, (m.peering_as_regional,), "EC2",
         until=FREE_PEERING),
    Rule("aws.vpc_peering.same_zone", (PEERED, SAME_REGION, SAME_AZ), P.VPC_PEERING, (),
         "NEW", since=FREE_PEERING),
    Rule("aws.vpc_peering.cross_az", (PEERED, SAME_REGION, OTHER_AZ), P.VPC_PEERING,
         (m.peering_as_regional,), "EC2", since=FREE_PEERING, until=PEERING_METERS),
    Rule("aws.vpc_peering.cross_az.2025", (PEERED, SAME_REGION, OTHER_AZ), P.VPC_PEERING,
         (m.peering,), "NEW", since=PEERING_METERS),
    # --- by public address --------------------------------------------------------------------
    Rule("aws.ipv6.other_vpc", (IPV6, INTERFACE_ENDS, OTHER_VPC, SAME_REGION, INTERNET_WAYS),
         P.CROSS_AZ, (m.public_ip,), "EC2", confidence=A),
    Rule("aws.public_ip.in_region", (INTERNET_WAYS, PUBLIC, PUBLIC_PEER, SAME_REGION),
         P.CROSS_AZ, (m.public_ip,), "EC2"),
    Rule("aws.public_ip.other_region", (INTERNET_WAYS, PUBLIC, PUBLIC_PEER, OTHER_REGION),
         P.CROSS_REGION, (m.inter_region("PublicIP"),), "EC2"),
    Rule("aws.service.in_region", (INTERNET_WAYS, SERVICE, SAME_REGION),
         P.CLOUD_SERVICE_PUBLIC, (), "EC2"),
    Rule("aws.service.other_region", (INTERNET_WAYS, SERVICE, OTHER_REGION), P.CROSS_REGION,
         (m.inter_region("PublicIP"),), "EC2"),
    Rule("aws.cloudfront", (INTERNET_WAYS, remote(EndKind.CLOUDFRONT), LOCAL_REGION),
         P.CLOUD_SERVICE_PUBLIC, (m.cloudfront_origin,), "EC2"),
    Rule("aws.internet", (INTERNET_WAYS, remote(EndKind.INTERNET), LOCAL_REGION),
         P.INTERNET_EGRESS, (m.internet,), "EC2"),
    # --- inside the network -------------------------------------------------------------------
    Rule("aws.same_zone", (DELIVERED, PRIVATE, INTERFACE_ENDS, SAME_VPC, SAME_REGION, SAME_AZ),
         P.SAME_ZONE, (), "EC2"),
    Rule("aws.load_balancer.cross_az", (DELIVERED, PRIVATE, INTERFACE_ENDS, FREE_BALANCER,
                                        SAME_VPC, SAME_REGION, OTHER_AZ),
         P.CROSS_AZ, (), "ELB"),
    Rule("aws.managed_service.cross_az", (DELIVERED, PRIVATE, INTERFACE_ENDS, MANAGED, SAME_VPC,
                                          SAME_REGION, OTHER_AZ),
         P.CROSS_AZ, (m.service_side,), "EC2"),
    Rule("aws.cross_az", (DELIVERED, PRIVATE, INTERFACE_ENDS, SAME_VPC, SAME_REGION, OTHER_AZ),
         P.CROSS_AZ, (m.inter_zone,), "EC2"),
    # Zones were declared but no network was: private peers of one region count as one network.
    Rule("aws.same_zone.declared", (NO_ROUTE, PRIVATE, INTERFACE_ENDS, VPC_UNKNOWN, SAME_REGION,
                                    SAME_AZ), P.SAME_ZONE, (), "EC2", confidence=A),
    Rule("aws.load_balancer.cross_az.declared", (NO_ROUTE, PRIVATE, INTERFACE_ENDS, FREE_BALANCER,
                                                 VPC_UNKNOWN, SAME_REGION, OTHER_AZ),
         P.CROSS_AZ, (), "ELB", confidence=A),
    Rule("aws.managed_service.cross_az.declared", (NO_ROUTE, PRIVATE, INTERFACE_ENDS, MANAGED,
                                                   VPC_UNKNOWN, SAME_REGION, OTHER_AZ),
         P.CROSS_AZ, (m.service_side,), "EC2", confidence=A),
    Rule("aws.cross_az.declared", (NO_ROUTE, PRIVATE, INTERFACE_ENDS, VPC_UNKNOWN, SAME_REGION,
                                   OTHER_AZ), P.CROSS_AZ, (m.inter_zone,), "EC2", confidence=A),
    # Whatever carries them, bytes between regions are charged at their source.
    Rule("aws.other_region.unrouted", (NO_ROUTE, INTERFACE_ENDS, OTHER_REGION), P.CROSS_REGION,
         (m.inter_region(""),), "EC2", confidence=D),
    # Its prefixes are edges with a premium of their own, on an accelerator we do not see.
    Rule("aws.global_accelerator", (remote(EndKind.GLOBAL_ACCELERATOR),), P.UNKNOWN, (),
         "aws.amazon.com/global-accelerator/pricing", priced=False),
    # --- what cannot be proven ----------------------------------------------------------------
    Rule("aws.external_private", (remote(EndKind.EXTERNAL_PRIVATE, EndKind.ON_PREMISES),),
         P.EXTERNAL_PRIVATE, (), "EC2", priced=False),
    Rule("aws.unknown", (ANYTHING,), P.UNKNOWN, (), "EC2", priced=False),
)
# fmt: on


def classify(facts: Facts, on: date) -> Verdict:
    """Return the verdict of the first rule that holds for `facts` on day `on` (UTC)."""
    rule = next(rule for rule in RULES if rule.holds(facts, on))
    # A Classic Load Balancer processes what arrives, whichever way it came.
    fires = (*rule.meters, m.classic_lb_processing) if rule.priced else ()
    fired = tuple(meter for fire in fires for meter in fire(facts))
    evidence = tuple(condition.evidence(facts).strip() for condition in rule.when)
    verdict = Verdict(
        path=_arriving(rule.path, facts),
        rule=rule.id,
        meters=fired,
        evidence=evidence,
        confidence=rule.confidence,
        priced=rule.priced,
    )
    return _beyond_nat(verdict, facts, on) if rule.path is Path.NAT_GATEWAY else verdict


def _arriving(path: Path, facts: Facts) -> Path:
    """Return the path's name for the direction: bytes from the internet are ingress."""
    if path is Path.INTERNET_EGRESS and facts.direction == "receive":
        return Path.INTERNET_INGRESS
    return path


def _beyond_nat(verdict: Verdict, facts: Facts, on: date) -> Verdict:
    """Add what the gateway's own interface fires towards the far end.

    Behind the gateway the sender is the gateway itself, on its public address; the same table
    decides, and its lines belong to the gateway's account and resource.
    """
    onward = classify(beyond_nat(facts), on)
    beyond: tuple[Meter, ...] = onward.meters if onward.priced else m.unpriced(facts)
    moved = tuple(msgspec.structs.replace(meter, at=Position.GATEWAY) for meter in beyond)
    return msgspec.structs.replace(
        verdict,
        meters=(*verdict.meters, *moved),
        evidence=(*verdict.evidence, f"beyond the gateway: {onward.rule}"),
    )
