"""From two identities and a way out to facts: the last place where evidence is weighed.

`assemble` is pure and runs once per distinct combination. Where two sources of evidence name a
gateway, the order is: the gateway the flow was seen at, the route table, the record's own
next-hop and traffic-path fields, delivery inside one VPC; otherwise the way is unknown.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from flowcost.address import Scope
from flowcost.classify.conditions import INTERFACES
from flowcost.model import (
    Direction,
    EndKind,
    Facts,
    GatewayKind,
    Identity,
    Position,
    VpcRelation,
)

# VPC flow log field traffic-path (egress records only). Path 1 covers NAT and transit gateways
# and 3 covers VPN and Direct Connect alike, so neither proves a gateway.
TRAFFIC_PATHS = {
    2: GatewayKind.INTERNET_GATEWAY,  # or a gateway endpoint: both are free to an in-region service
    4: GatewayKind.VPC_PEERING,
    5: GatewayKind.VPC_PEERING,
    6: GatewayKind.LOCAL_GATEWAY,
    7: GatewayKind.GATEWAY_ENDPOINT,
    8: GatewayKind.INTERNET_GATEWAY,
}

# VPC flow log field next-hop-interface-type (version 11).
NEXT_HOPS = {
    "nat_gateway": GatewayKind.NAT_GATEWAY,
    "regional_nat_gateway": GatewayKind.REGIONAL_NAT_GATEWAY,
    "transit_gateway": GatewayKind.TRANSIT_GATEWAY,
    "vpc_endpoint": GatewayKind.INTERFACE_ENDPOINT,
    "gateway_load_balancer_endpoint": GatewayKind.GWLB_ENDPOINT,
}

# What the other end sees of the same way: devices with a client side are seen from there only.
_MIRRORED = (
    GatewayKind.NONE,
    GatewayKind.UNKNOWN,
    GatewayKind.VPC_PEERING,
    GatewayKind.TRANSIT_GATEWAY,
    GatewayKind.INTERNET_GATEWAY,
)
TRANSLATORS = (GatewayKind.NAT_GATEWAY, GatewayKind.REGIONAL_NAT_GATEWAY)


class Way(Struct, frozen=True, kw_only=True):
    """All evidence about how a flow leaves its subnet.

    `seen_at` is the gateway whose own log holds the flow; `routed` what the route table says;
    `device` describes the gateway, where it is known.
    """

    seen_at: GatewayKind | None = None
    routed: GatewayKind = GatewayKind.UNKNOWN
    device: Identity | None = None
    device_vpc: VpcRelation = VpcRelation.SAME
    traffic_path: int = 0
    next_hop_type: str = ""
    next_hop_az: str = ""


def vpc_relation(local: Identity, remote: Identity) -> VpcRelation:
    """Return how the networks of two ends relate; one cluster lives in one network."""
    if local.cloud_vpc_id and remote.cloud_vpc_id:
        same = local.cloud_vpc_id == remote.cloud_vpc_id
        return VpcRelation.SAME if same else VpcRelation.OTHER
    if local.k8s_cluster_name and local.k8s_cluster_name == remote.k8s_cluster_name:
        return VpcRelation.SAME
    return VpcRelation.UNKNOWN


def same_node(local: Identity, remote: Identity) -> bool:
    """Return whether both ends are known to share one node."""
    if not local.k8s_node_name or local.k8s_node_name != remote.k8s_node_name:
        return False
    return local.k8s_cluster_name == remote.k8s_cluster_name


def end_kind(identity: Identity, scope: Scope) -> EndKind:
    """Return what an end is; the address decides where no source of identity did."""
    if scope is Scope.INFRASTRUCTURE:
        return EndKind.INFRASTRUCTURE
    if identity.kind is not EndKind.UNKNOWN:
        return identity.kind
    if identity.cloud_region or identity.k8s_pod_uid or identity.k8s_pod_name:
        return EndKind.COMPUTE
    if scope is Scope.PUBLIC:
        return EndKind.INTERNET
    return EndKind.EXTERNAL_PRIVATE if scope is Scope.PRIVATE else EndKind.UNKNOWN


# The address itself is the device: traffic to it is traffic through it.
ENDPOINTS = {
    EndKind.INTERFACE_ENDPOINT: GatewayKind.INTERFACE_ENDPOINT,
    EndKind.GWLB_ENDPOINT: GatewayKind.GWLB_ENDPOINT,
}


def _gateway(way: Way, remote: EndKind, *, vpc: VpcRelation, private: bool) -> GatewayKind:
    """Return the way out by the best evidence there is (see the module's order)."""
    evidence = (
        way.seen_at,
        ENDPOINTS.get(remote),
        None if way.routed is GatewayKind.UNKNOWN else way.routed,
        NEXT_HOPS.get(way.next_hop_type),
        TRAFFIC_PATHS.get(way.traffic_path),
        GatewayKind.NONE if vpc is VpcRelation.SAME and private else None,
    )
    return next((kind for kind in evidence if kind is not None), GatewayKind.UNKNOWN)


def assemble(
    *,
    local: Identity,
    remote: Identity,
    direction: Direction,
    way: Way,
    observer: Position = Position.LOCAL,
    family: int = 4,
    local_scope: Scope = Scope.PRIVATE,
    remote_scope: Scope = Scope.PRIVATE,
    vpc: VpcRelation | None = None,
    on_one_node: bool | None = None,
    assume_provider: str = "",
) -> Facts:
    """Return the facts of one distinct combination.

    `vpc` and `on_one_node` are passed by an engine that compared the full identities before it
    reduced them to places; otherwise they follow from `local` and `remote`.
    """
    vpc = vpc_relation(local, remote) if vpc is None else vpc
    on_one_node = same_node(local, remote) if on_one_node is None else on_one_node
    remote_kind = end_kind(remote, remote_scope)
    # Public IPv4 leaves the VPC even towards the VPC itself; IPv6 does not.
    private = family == 6 or Scope.PUBLIC not in (local_scope, remote_scope)
    gateway = _gateway(way, remote_kind, vpc=vpc, private=private)
    device = way.device
    if way.seen_at is None and remote_kind in ENDPOINTS:
        device, remote_kind = remote, EndKind.SERVICE
    return Facts(
        provider=local.cloud_provider or remote.cloud_provider or assume_provider,
        direction=direction,
        observer=observer,
        family=family,
        local_kind=end_kind(local, local_scope),
        local_region=local.cloud_region,
        local_az=local.cloud_availability_zone,
        local_public=local_scope is Scope.PUBLIC,
        remote_kind=remote_kind,
        remote_region=remote.cloud_region,
        remote_az=remote.cloud_availability_zone,
        remote_public=remote_scope is Scope.PUBLIC,
        remote_service=remote.cloud_service,
        same_node=on_one_node,
        vpc=vpc,
        gateway=gateway,
        gateway_region=device.cloud_region if device else "",
        gateway_az=(device.cloud_availability_zone if device else "") or way.next_hop_az,
        gateway_vpc=way.device_vpc,
    )


def beyond_nat(facts: Facts) -> Facts:
    """Return the stretch between a NAT gateway and the far end: there the gateway is the client."""
    public = facts.remote_public
    return msgspec.structs.replace(
        facts,
        local_kind=EndKind.NAT_GATEWAY,
        local_region=facts.gateway_region,
        local_az=facts.gateway_az,
        local_public=public,
        same_node=False,
        vpc=VpcRelation.OTHER,
        gateway=GatewayKind.INTERNET_GATEWAY if public else GatewayKind.UNKNOWN,
    )


def mirror(facts: Facts) -> Facts | None:
    """Return the same transmission as the far end would have seen it, or None.

    None where the far end carries no interface of its own or stands behind a device that hides
    it (endpoint, VPN): then nothing follows for that end from what was seen here. What came
    through a NAT gateway, the far end saw come from the gateway.
    """
    if facts.gateway in TRANSLATORS and not facts.same_node:
        facts = beyond_nat(facts)
    if facts.remote_kind not in INTERFACES or facts.gateway not in _MIRRORED:
        return None
    back = Direction.RECEIVE if facts.direction is Direction.TRANSMIT else Direction.TRANSMIT
    return msgspec.structs.replace(
        facts,
        direction=back,
        observer=Position.LOCAL,
        local_kind=facts.remote_kind,
        local_region=facts.remote_region,
        local_az=facts.remote_az,
        local_public=facts.remote_public,
        remote_kind=facts.local_kind,
        remote_region=facts.local_region,
        remote_az=facts.local_az,
        remote_public=facts.local_public,
        remote_service="",
        gateway_region="",
        gateway_az="",
    )
