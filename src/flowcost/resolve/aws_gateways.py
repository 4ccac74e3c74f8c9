"""Gateways: NAT, VPC endpoints, peering connections, transit gateways and their attachments.

Reads `describe-nat-gateways`, `describe-vpc-endpoints`, `describe-transit-gateways`,
`describe-transit-gateway-attachments` and `describe-transit-gateway-vpc-attachments`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct, field

from flowcost.address import pack
from flowcost.model import EndKind, GatewayKind, Identity
from flowcost.resolve import PEERING_ATTACHMENT, Claim, Gateway, NetworkInterface, tags
from flowcost.resolve.aws_directory import Place, Tag
from flowcost.resolve.aws_interfaces import Interface, Interfaces
from flowcost.resolve.aws_network import Networks

_GONE = {"deleted", "deleting", "failed", "rejected", "expired", "failing"}

_ENDPOINTS = {
    "Gateway": (GatewayKind.GATEWAY_ENDPOINT, EndKind.SERVICE),
    "Interface": (GatewayKind.INTERFACE_ENDPOINT, EndKind.INTERFACE_ENDPOINT),
    "GatewayLoadBalancer": (GatewayKind.GWLB_ENDPOINT, EndKind.GWLB_ENDPOINT),
}


class _NatAddress(Struct, rename="pascal"):
    network_interface_id: str = ""
    private_ip: str = ""
    public_ip: str = ""


class _Nat(Struct, rename="pascal"):
    nat_gateway_id: str
    vpc_id: str = ""
    subnet_id: str = ""
    state: str = ""
    availability_mode: str = ""
    nat_gateway_addresses: list[_NatAddress] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)


class _Nats(Struct, rename="pascal"):
    nat_gateways: list[_Nat]


class Endpoint(Struct, rename="pascal"):
    """One endpoint of `describe-vpc-endpoints`."""

    vpc_endpoint_id: str
    vpc_endpoint_type: str = ""
    vpc_id: str = ""
    service_name: str = ""
    service_region: str = ""
    state: str = ""
    owner_id: str = ""
    subnet_ids: list[str] = field(default_factory=list)
    network_interface_ids: list[str] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)

    @property
    def service(self) -> str:
        """Return the AWS service, `S3`, as published ranges spell it; "" if not AWS's own."""
        _, found, name = self.service_name.partition(".amazonaws.")
        return name.partition(".")[2].upper() if found and ".vpce." not in name else ""


class _Endpoints(Struct, rename="pascal"):
    vpc_endpoints: list[Endpoint]


class _Transit(Struct, rename="pascal"):
    transit_gateway_id: str
    owner_id: str = ""
    state: str = ""
    tags: list[Tag] = field(default_factory=list)


class _Transits(Struct, rename="pascal"):
    transit_gateways: list[_Transit]


class _TableOf(Struct, rename="pascal"):
    transit_gateway_route_table_id: str = ""


class Attachment(Struct, rename="pascal"):
    """One attachment of `describe-transit-gateway-attachments`."""

    transit_gateway_attachment_id: str
    transit_gateway_id: str = ""
    resource_owner_id: str = ""
    resource_type: str = ""
    resource_id: str = ""
    state: str = ""
    association: _TableOf = field(default_factory=_TableOf)
    tags: list[Tag] = field(default_factory=list)


class _Attachments(Struct, rename="pascal"):
    transit_gateway_attachments: list[Attachment]


class _VpcAttachment(Struct, rename="pascal"):
    transit_gateway_attachment_id: str
    transit_gateway_id: str = ""
    vpc_id: str = ""
    vpc_owner_id: str = ""
    state: str = ""
    tags: list[Tag] = field(default_factory=list)


class _VpcAttachments(Struct, rename="pascal"):
    transit_gateway_vpc_attachments: list[_VpcAttachment]


class Gateways:
    """The gateways of one account and region, by what a route can name them."""

    def __init__(self, networks: Networks, interfaces: Interfaces) -> None:
        """Read the gateway files of a place whose networks and interfaces are known."""
        self._networks = networks
        self._interfaces = interfaces
        self._place: Place = networks.place
        nats = self._place.read("describe-nat-gateways", _Nats)
        endpoints = self._place.read("describe-vpc-endpoints", _Endpoints)
        transits = self._place.read("describe-transit-gateways", _Transits)
        self._nats = [one for one in nats.nat_gateways if one.state not in _GONE] if nats else []
        self._transits = transits.transit_gateways if transits else []
        self.endpoints = {
            one.vpc_endpoint_id: one
            for one in (endpoints.vpc_endpoints if endpoints else [])
            if one.state.lower() not in _GONE
        }
        self.attachments = {one.transit_gateway_attachment_id: one for one in self._attachments()}
        self.kinds = {gateway.id: gateway.kind for gateway in self.all()}

    def all(self) -> Iterator[Gateway]:
        """Yield every gateway."""
        yield from map(self._nat, self._nats)
        yield from map(self._endpoint, self.endpoints.values())
        for transit in self._transits:
            if transit.state not in _GONE:
                yield self._transit(transit.transit_gateway_id, transit.owner_id, transit.tags)
        yield from map(self._attachment, self.attachments.values())
        for peering in self._networks.peerings:
            yield Gateway(
                kind=GatewayKind.VPC_PEERING,
                # Both accounts see it, so it is in neither.
                identity=Identity(
                    cloud_provider="aws", cloud_resource_id=peering.vpc_peering_connection_id
                ),
            )

    def claims(self) -> Iterator[Claim]:
        """Yield the addresses of interface endpoints, with the service behind them."""
        for gateway in map(self._endpoint, self.endpoints.values()):
            for address in sorted(gateway.addresses):
                yield Claim(first=address, last=address, identity=gateway.identity)

    def peering_attachments(self) -> Iterator[NetworkInterface]:
        """Yield attachments that lead to a transit gateway of another region or account.

        What comes in through one was processed, and charged, on the other side.
        """
        for name, attachment in self.attachments.items():
            if attachment.resource_type == "peering":
                yield NetworkInterface(
                    id=name, account=attachment.resource_owner_id, type=PEERING_ATTACHMENT
                )

    def _attachments(self) -> Iterator[Attachment]:
        known = self._place.read("describe-transit-gateway-attachments", _Attachments)
        of_vpcs = self._place.read("describe-transit-gateway-vpc-attachments", _VpcAttachments)
        for vpc in of_vpcs.transit_gateway_vpc_attachments if of_vpcs else []:
            if vpc.state not in _GONE:
                yield Attachment(
                    transit_gateway_attachment_id=vpc.transit_gateway_attachment_id,
                    transit_gateway_id=vpc.transit_gateway_id,
                    resource_owner_id=vpc.vpc_owner_id,
                    resource_type="vpc",
                    resource_id=vpc.vpc_id,
                    tags=vpc.tags,
                )
        for one in known.transit_gateway_attachments if known else []:
            if one.state not in _GONE:
                yield one

    def _nat(self, nat: _Nat) -> Gateway:
        regional = nat.availability_mode == "regional"
        own = nat.nat_gateway_addresses
        found = self._of_interfaces({one.network_interface_id for one in own})
        texts = [text for one in own for text in (one.private_ip, one.public_ip) if text]
        return Gateway(
            kind=GatewayKind.REGIONAL_NAT_GATEWAY if regional else GatewayKind.NAT_GATEWAY,
            identity=self._place.identity(
                kind=EndKind.NAT_GATEWAY.value,
                cloud_availability_zone=""
                if regional
                else self._networks.zone_id(subnet_id=nat.subnet_id)
                or _one_zone(self._interfaces, found),
                cloud_vpc_id=nat.vpc_id,
                cloud_subnet_id=nat.subnet_id,
                cloud_resource_id=nat.nat_gateway_id,
                **tags.attributes((tag.key, tag.value) for tag in nat.tags),
            ),
            addresses=frozenset(map(pack, texts)) | _addresses(found),
            interfaces=frozenset(one.network_interface_id for one in own) - {""},
        )

    def _endpoint(self, endpoint: Endpoint) -> Gateway:
        kind, end = _ENDPOINTS.get(
            endpoint.vpc_endpoint_type, (GatewayKind.UNKNOWN, EndKind.UNKNOWN)
        )
        found = self._of_interfaces(set(endpoint.network_interface_ids))
        return Gateway(
            kind=kind,
            identity=self._place.identity(
                kind=end.value,
                cloud_account_id=endpoint.owner_id,
                cloud_vpc_id=endpoint.vpc_id,
                cloud_resource_id=endpoint.vpc_endpoint_id,
                cloud_service=endpoint.service,
                **tags.attributes((tag.key, tag.value) for tag in endpoint.tags),
            ),
            addresses=_addresses(found),
            interfaces=frozenset(endpoint.network_interface_ids),
        )

    def _transit(self, name: str, owner: str, its: list[Tag], vpc: str = "") -> Gateway:
        return Gateway(
            kind=GatewayKind.TRANSIT_GATEWAY,
            identity=self._place.identity(
                kind=EndKind.TRANSIT_GATEWAY.value,
                cloud_account_id=owner,
                cloud_vpc_id=vpc,
                cloud_resource_id=name,
                **tags.attributes((tag.key, tag.value) for tag in its),
            ),
        )

    def _attachment(self, attachment: Attachment) -> Gateway:
        """Return an attachment: the account that is billed is its resource's owner."""
        name = attachment.transit_gateway_attachment_id
        vpc = attachment.resource_id if attachment.resource_type == "vpc" else ""
        gateway = self._transit(name, attachment.resource_owner_id, attachment.tags, vpc)
        found = self._interfaces.of_resource(name)
        return Gateway(
            kind=gateway.kind,
            identity=gateway.identity,
            addresses=_addresses(found),
            interfaces=frozenset(one.network_interface_id for one in found),
        )

    def _of_interfaces(self, names: set[str]) -> list[Interface]:
        by_id = self._interfaces.by_id
        return [by_id[name] for name in sorted(names) if name in by_id]


def _addresses(interfaces: Iterable[Interface]) -> frozenset[bytes]:
    return frozenset(pack(text) for one in interfaces for text in one.addresses())


def _one_zone(known: Interfaces, interfaces: list[Interface]) -> str:
    """Return the zone of the interfaces if it is one."""
    identities: list[Identity] = [known.identity(one) for one in interfaces]
    zones = {one.cloud_availability_zone for one in identities}
    return zones.pop() if len(zones) == 1 else ""
