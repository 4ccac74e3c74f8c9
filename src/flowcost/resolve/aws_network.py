"""Networks: VPCs and subnets with their zones, and the peers beyond a peering connection.

Reads `describe-availability-zones`, `describe-subnets`, `describe-vpcs` and
`describe-vpc-peering-connections`. Zone names differ per account, so names are turned into zone
ids here, per account and region; a name without an id stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct, field

from flowcost.address import network
from flowcost.model import Identity
from flowcost.resolve import Claim, tags
from flowcost.resolve.aws_directory import Place, Tag

Cidr = Annotated[str, Meta(pattern=r"^[0-9a-fA-F.:]+/\d+$")]


class _Zone(Struct, rename="pascal"):
    zone_name: str
    zone_id: str


class _Zones(Struct, rename="pascal"):
    availability_zones: list[_Zone]


class _Ipv6Block(Struct, rename="pascal"):
    ipv6_cidr_block: Cidr


class _Block(Struct, rename="pascal"):
    cidr_block: Cidr


class Subnet(Struct, rename="pascal"):
    """One subnet of `describe-subnets`."""

    subnet_id: str
    vpc_id: str
    availability_zone: str = ""
    availability_zone_id: str = ""
    owner_id: str = ""
    cidr_block: Cidr | None = None
    ipv6: list[_Ipv6Block] = field(name="Ipv6CidrBlockAssociationSet", default_factory=list)
    tags: list[Tag] = field(default_factory=list)


class _Subnets(Struct, rename="pascal"):
    subnets: list[Subnet]


class _Vpc(Struct, rename="pascal"):
    vpc_id: str
    cidr_block: Cidr | None = None
    owner_id: str = ""
    blocks: list[_Block] = field(name="CidrBlockAssociationSet", default_factory=list)
    ipv6: list[_Ipv6Block] = field(name="Ipv6CidrBlockAssociationSet", default_factory=list)
    tags: list[Tag] = field(default_factory=list)


class _Vpcs(Struct, rename="pascal"):
    vpcs: list[_Vpc]


class _Peer(Struct, rename="pascal"):
    vpc_id: str = ""
    owner_id: str = ""
    region: str = ""
    cidr_block: Cidr | None = None
    blocks: list[_Block] = field(name="CidrBlockSet", default_factory=list)
    ipv6: list[_Ipv6Block] = field(name="Ipv6CidrBlockSet", default_factory=list)


class _Status(Struct, rename="pascal"):
    code: str = ""


class Peering(Struct, rename="pascal"):
    """One connection of `describe-vpc-peering-connections`."""

    vpc_peering_connection_id: str
    accepter_vpc_info: _Peer = field(default_factory=_Peer)
    requester_vpc_info: _Peer = field(default_factory=_Peer)
    status: _Status = field(default_factory=_Status)


class _Peerings(Struct, rename="pascal"):
    vpc_peering_connections: list[Peering]


class Networks:
    """The networks of one account and region: zones by name, subnets by id."""

    def __init__(self, place: Place) -> None:
        """Read the network files of `place`."""
        self.place = place
        self._vpcs = place.read("describe-vpcs", _Vpcs)
        subnets = place.read("describe-subnets", _Subnets)
        zones = place.read("describe-availability-zones", _Zones)
        peerings = place.read("describe-vpc-peering-connections", _Peerings)
        self.subnets = {one.subnet_id: one for one in subnets.subnets} if subnets else {}
        self.peerings = [
            one
            for one in (peerings.vpc_peering_connections if peerings else [])
            if one.status.code in {"", "active"}
        ]
        self._zones = (
            {one.zone_name: one.zone_id for one in zones.availability_zones} if zones else {}
        )
        for subnet in self.subnets.values():
            if subnet.availability_zone and subnet.availability_zone_id:
                self._zones.setdefault(subnet.availability_zone, subnet.availability_zone_id)

    def zone_id(self, *, subnet_id: str = "", name: str = "", known: str = "") -> str:
        """Return a zone's id: as given, by its subnet, or by its name in this account."""
        subnet = self.subnets.get(subnet_id)
        return known or (subnet.availability_zone_id if subnet else "") or self._zones.get(name, "")

    def vpc_of(self, subnet_id: str) -> str:
        """Return the VPC of a subnet, "" if the subnet is not known."""
        subnet = self.subnets.get(subnet_id)
        return subnet.vpc_id if subnet else ""

    def claims(self) -> Iterator[Claim]:
        """Yield the blocks of our subnets, our VPCs and the VPCs we peer with."""
        for subnet in self.subnets.values():
            identity = self.place.identity(
                cloud_account_id=subnet.owner_id,
                cloud_availability_zone=self.zone_id(
                    subnet_id=subnet.subnet_id, name=subnet.availability_zone
                ),
                cloud_vpc_id=subnet.vpc_id,
                cloud_subnet_id=subnet.subnet_id,
                **tags.attributes((tag.key, tag.value) for tag in subnet.tags),
            )
            yield from _claimed(identity, [subnet.cidr_block], subnet.ipv6)
        for vpc in self._vpcs.vpcs if self._vpcs else []:
            identity = self.place.identity(
                cloud_account_id=vpc.owner_id,
                cloud_vpc_id=vpc.vpc_id,
                **tags.attributes((tag.key, tag.value) for tag in vpc.tags),
            )
            blocks = [vpc.cidr_block, *(block.cidr_block for block in vpc.blocks)]
            yield from _claimed(identity, blocks, vpc.ipv6)

    def peer_claims(self) -> Iterator[Claim]:
        """Yield the blocks of both ends of our peering connections."""
        for peering in self.peerings:
            for peer in (peering.accepter_vpc_info, peering.requester_vpc_info):
                identity = Identity(
                    cloud_provider="aws",
                    cloud_account_id=peer.owner_id,
                    cloud_region=peer.region,
                    cloud_vpc_id=peer.vpc_id,
                )
                blocks = [peer.cidr_block, *(block.cidr_block for block in peer.blocks)]
                yield from _claimed(identity, blocks, peer.ipv6)


def _claimed(
    identity: Identity, blocks: list[Cidr | None], ipv6: list[_Ipv6Block]
) -> Iterator[Claim]:
    texts = dict.fromkeys([*blocks, *(block.ipv6_cidr_block for block in ipv6)])
    for text in texts:
        if text:
            first, last = network(text)
            yield Claim(first=first, last=last, identity=identity)
