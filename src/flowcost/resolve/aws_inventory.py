"""All of AWS in one snapshot: two layers, and where each instance stands."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from msgspec import Struct, field

from flowcost.errors import InventoryError
from flowcost.model import Identity
from flowcost.resolve import Layer, aws_load_balancers
from flowcost.resolve.aws_directory import Place, places
from flowcost.resolve.aws_gateways import Gateways
from flowcost.resolve.aws_interfaces import Interfaces
from flowcost.resolve.aws_network import Networks
from flowcost.resolve.aws_routes import Routes
from flowcost.resolve.flatten import PAST_THE_END, blocks
from flowcost.usage_types import regions

Blocks = tuple[tuple[bytes, bytes], ...]


class AwsInventory(Struct, frozen=True, kw_only=True):
    """What the AWS files of a snapshot say.

    `instances` maps an instance id to the identity of its first interface: zone, network,
    account. `networks` are the blocks of our subnets by VPC, disjoint and sorted, as (first, last).
    """

    layers: tuple[Layer, ...] = ()
    instances: dict[str, Identity] = field(default_factory=dict)
    networks: dict[str, Blocks] = field(default_factory=dict)

    def in_network(self, vpc: str, address: bytes) -> bool:
        """Return whether `address` lies in one of the subnets of `vpc`."""
        return within(self.networks.get(vpc, ()), address)


def within(networks: Sequence[tuple[bytes, bytes]], address: bytes) -> bool:
    """Return whether one of `networks`, disjoint and sorted, holds `address`."""
    place = bisect_right(networks, (address, PAST_THE_END))
    return bool(place) and address <= networks[place - 1][1]


def by_vpc(subnets: Iterable[tuple[str, tuple[bytes, bytes]]]) -> dict[str, Blocks]:
    """Return the blocks of each VPC, disjoint and sorted, from (VPC, block) of its subnets."""
    found: dict[str, set[tuple[bytes, bytes]]] = {}
    for vpc, block in subnets:
        found.setdefault(vpc, set()).add(block)
    return {
        vpc: tuple((one.first, one.last) for one in blocks(sorted(held), lambda block: block))
        for vpc, held in sorted(found.items())
    }


def read(inventory: Path) -> AwsInventory:
    """Return what `inventory/aws` says.

    Raises:
        InventoryError: a file is not the output it is named after (file and field are named).
    """
    partitions = {region.code: region.partition for region in regions()}
    found = [_Regional(place, partitions.get(place.region, "aws")) for place in places(inventory)]
    if not found:
        return AwsInventory()
    return AwsInventory(
        layers=(
            Layer(
                source="interfaces",
                claims=tuple(chain.from_iterable(one.hosts for one in found)),
                gateways=tuple(chain.from_iterable(one.gateways for one in found)),
                routes=tuple(chain.from_iterable(one.routes for one in found)),
                interfaces=tuple(chain.from_iterable(one.observed for one in found)),
                findings=tuple(chain.from_iterable(one.findings for one in found)),
            ),
            Layer(
                source="subnets",
                claims=tuple(chain.from_iterable(one.networks for one in found)),
            ),
        ),
        networks=by_vpc(
            (claim.identity.cloud_vpc_id, (claim.first, claim.last))
            for one in found
            for claim in one.networks
            if claim.identity.cloud_subnet_id
        ),
        instances=dict(chain.from_iterable(one.interfaces.instances() for one in found)),
    )


class _Regional:
    """One account and region, each family of files read once."""

    def __init__(self, place: Place, partition: str) -> None:
        try:
            networks = Networks(place)
            self.interfaces = Interfaces(networks, partition)
            gateways = Gateways(networks, self.interfaces)
            routes = Routes(networks, gateways)
            self.gateways = list(gateways.all())
            self.routes = list(routes.routes())
            self.observed = [*self.interfaces.observed(), *gateways.peering_attachments()]
            self.hosts = [
                *self.interfaces.claims(),
                *gateways.claims(),
                *aws_load_balancers.claims(networks),
            ]
            self.networks = [*networks.claims(), *networks.peer_claims()]
        except ValueError as error:  # a text that is no address or block
            raise InventoryError(f"{place.directory}: {error}") from None
        self.findings = [*self.interfaces.findings(), *routes.findings()]
