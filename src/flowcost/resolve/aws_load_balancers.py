"""Load balancers: the fixed addresses of network load balancers.

Reads `describe-load-balancers` (elbv2). The interfaces of every balancer are recognised by their
description already; this adds the addresses an operator fixed, by balancer and zone.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, field

from flowcost.address import pack
from flowcost.model import EndKind
from flowcost.resolve import Claim
from flowcost.resolve.aws_network import Networks

_KINDS = {
    "application": EndKind.APPLICATION_LB,
    "network": EndKind.NETWORK_LB,
    "gateway": EndKind.GATEWAY_LB,
}


class _Fixed(Struct):
    public: str = field(name="IpAddress", default="")
    private: str = field(name="PrivateIPv4Address", default="")
    ipv6: str = field(name="IPv6Address", default="")


class _InZone(Struct, rename="pascal"):
    zone_name: str = ""
    subnet_id: str = ""
    load_balancer_addresses: list[_Fixed] = field(default_factory=list)


class _Balancer(Struct, rename="pascal"):
    load_balancer_arn: str
    type: str = ""
    vpc_id: str = ""
    availability_zones: list[_InZone] = field(default_factory=list)


class _Balancers(Struct, rename="pascal"):
    load_balancers: list[_Balancer] = field(default_factory=list)


def claims(networks: Networks) -> Iterator[Claim]:
    """Yield the fixed addresses of the balancers of one account and region."""
    read = networks.place.read("describe-load-balancers", _Balancers)
    for balancer in read.load_balancers if read else []:
        for zone in balancer.availability_zones:
            identity = networks.place.identity(
                kind=_KINDS.get(balancer.type, EndKind.UNKNOWN).value,
                cloud_availability_zone=networks.zone_id(
                    subnet_id=zone.subnet_id, name=zone.zone_name
                ),
                cloud_vpc_id=balancer.vpc_id,
                cloud_subnet_id=zone.subnet_id,
                cloud_resource_id=balancer.load_balancer_arn,
            )
            for fixed in zone.load_balancer_addresses:
                for text in filter(None, (fixed.public, fixed.private, fixed.ipv6)):
                    address = pack(text)
                    yield Claim(first=address, last=address, identity=identity)
