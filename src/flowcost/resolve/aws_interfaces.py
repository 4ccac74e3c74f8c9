"""Network interfaces: every address that is ours, and what it belongs to.

Reads `describe-network-interfaces` (primary and secondary addresses, IPv6, delegated prefixes,
public and Elastic addresses), `describe-instances` (tags, and interfaces where the former was not
dumped) and `describe-addresses` (Elastic addresses that nothing holds).
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, field
from msgspec.structs import replace

from flowcost.address import network, pack
from flowcost.model import EndKind, Finding, Identity
from flowcost.resolve import Claim, NetworkInterface, tags
from flowcost.resolve.aws_directory import Tag
from flowcost.resolve.aws_managed import Role, role
from flowcost.resolve.aws_network import Networks

_BALANCERS = {
    EndKind.APPLICATION_LB,
    EndKind.NETWORK_LB,
    EndKind.GATEWAY_LB,
    EndKind.CLASSIC_LB,
}


class _Association(Struct, rename="pascal", gc=False):
    public_ip: str = ""
    carrier_ip: str = ""


class _Private(Struct, rename="pascal", gc=False):
    private_ip_address: str
    association: _Association | None = None


class _Ipv6(Struct, rename="pascal", gc=False):
    ipv6_address: str


class _Ipv4Prefix(Struct, rename="pascal"):
    ipv4_prefix: str


class _Ipv6Prefix(Struct, rename="pascal"):
    ipv6_prefix: str


class _Attachment(Struct, rename="pascal", gc=False):
    instance_id: str = ""
    device_index: int = 0


class Interface(Struct, rename="pascal", gc=False):
    """One interface of `describe-network-interfaces`, or of an instance."""

    network_interface_id: str
    subnet_id: str = ""
    vpc_id: str = ""
    owner_id: str = ""
    availability_zone: str = ""
    availability_zone_id: str = ""
    interface_type: str = ""
    description: str = ""
    requester_managed: bool = False
    source_dest_check: bool = True
    attachment: _Attachment = field(default_factory=_Attachment)
    private_ip_address: str = ""
    private_ip_addresses: list[_Private] = field(default_factory=list)
    ipv6_addresses: list[_Ipv6] = field(default_factory=list)
    ipv4_prefixes: list[_Ipv4Prefix] = field(default_factory=list)
    ipv6_prefixes: list[_Ipv6Prefix] = field(default_factory=list)
    tag_set: list[Tag] = field(default_factory=list)

    def addresses(self) -> Iterator[str]:
        """Yield every single address: private, public, carrier and IPv6."""
        if self.private_ip_address:
            yield self.private_ip_address
        for private in self.private_ip_addresses:
            yield private.private_ip_address
            if private.association:
                yield from filter(
                    None, (private.association.public_ip, private.association.carrier_ip)
                )
        for ipv6 in self.ipv6_addresses:
            yield ipv6.ipv6_address

    def prefixes(self) -> Iterator[str]:
        """Yield the blocks delegated to the interface (pods of a node, mostly)."""
        for ipv4 in self.ipv4_prefixes:
            yield ipv4.ipv4_prefix
        for ipv6 in self.ipv6_prefixes:
            yield ipv6.ipv6_prefix


class _Interfaces(Struct, rename="pascal"):
    network_interfaces: list[Interface]


class _Instance(Struct, rename="pascal"):
    instance_id: str
    network_interfaces: list[Interface] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)


class _Reservation(Struct, rename="pascal"):
    instances: list[_Instance] = field(default_factory=list)


class _Instances(Struct, rename="pascal"):
    reservations: list[_Reservation]


class _Elastic(Struct, rename="pascal"):
    public_ip: str
    allocation_id: str = ""
    association_id: str = ""
    tags: list[Tag] = field(default_factory=list)


class _Elastics(Struct, rename="pascal"):
    addresses: list[_Elastic]


class Interfaces:
    """The interfaces of one account and region, by id, with the identity of each."""

    def __init__(self, networks: Networks, partition: str = "aws") -> None:
        """Read the interface files of a place whose networks are known."""
        self._networks = networks
        self._place = networks.place
        self._partition = partition
        interfaces = self._place.read("describe-network-interfaces", _Interfaces)
        instances = self._place.read("describe-instances", _Instances)
        self._elastics = self._place.read("describe-addresses", _Elastics)
        self._tags: dict[str, dict[str, str]] = {}
        self.by_id: dict[str, Interface] = {}
        for reservation in instances.reservations if instances else []:
            for instance in reservation.instances:
                pairs = [(tag.key, tag.value) for tag in instance.tags]
                self._tags[instance.instance_id] = tags.attributes(pairs)
                for interface in instance.network_interfaces:
                    attachment = _Attachment(
                        instance.instance_id, interface.attachment.device_index
                    )
                    self.by_id[interface.network_interface_id] = replace(
                        interface, attachment=attachment
                    )
        for interface in interfaces.network_interfaces if interfaces else []:
            self.by_id[interface.network_interface_id] = interface
        self._roles = {name: self._role(one) for name, one in self.by_id.items()}
        self._of_resource: dict[str, list[Interface]] = {}
        for name, interface in self.by_id.items():
            self._of_resource.setdefault(self._roles[name].resource, []).append(interface)

    def identity(self, interface: Interface) -> Identity:
        """Return who an interface's addresses are."""
        its = self._roles[interface.network_interface_id]
        instance = interface.attachment.instance_id
        named = self._tags.get(instance, {}) | tags.attributes(
            (tag.key, tag.value) for tag in interface.tag_set
        )
        if its.service == "LAMBDA" and its.resource:
            named.setdefault("service_name", its.resource)
        return self._place.identity(
            kind=its.kind.value,
            cloud_account_id=interface.owner_id,
            cloud_availability_zone=self._networks.zone_id(
                subnet_id=interface.subnet_id,
                name=interface.availability_zone,
                known=interface.availability_zone_id,
            ),
            cloud_vpc_id=interface.vpc_id or self._networks.vpc_of(interface.subnet_id),
            cloud_subnet_id=interface.subnet_id,
            cloud_resource_id=self._resource(interface, its),
            cloud_service=its.service,
            **named,
        )

    def claims(self) -> Iterator[Claim]:
        """Yield every address and delegated prefix of ours."""
        held: set[bytes] = set()
        for interface in self.by_id.values():
            identity = self.identity(interface)
            for address in dict.fromkeys(map(pack, interface.addresses())):
                held.add(address)
                yield Claim(first=address, last=address, identity=identity)
            for prefix in interface.prefixes():
                first, last = network(prefix)
                yield Claim(first=first, last=last, identity=identity)
        for elastic in self._elastics.addresses if self._elastics else []:
            address = pack(elastic.public_ip)
            if address not in held:
                identity = self._place.identity(
                    cloud_resource_id=elastic.allocation_id,
                    **tags.attributes((tag.key, tag.value) for tag in elastic.tags),
                )
                yield Claim(first=address, last=address, identity=identity)

    def observed(self) -> Iterator[NetworkInterface]:
        """Yield every interface as a flow log observes it."""
        for interface in self.by_id.values():
            singles = [(one, one) for one in dict.fromkeys(map(pack, interface.addresses()))]
            yield NetworkInterface(
                id=interface.network_interface_id,
                account=interface.owner_id or self._place.account,
                vpc=interface.vpc_id or self._networks.vpc_of(interface.subnet_id),
                type=interface.interface_type or "interface",
                forwards=not interface.source_dest_check,
                blocks=(*singles, *map(network, interface.prefixes())),
            )

    def of_resource(self, name: str) -> list[Interface]:
        """Return the interfaces that an AWS service made for the resource `name`."""
        return self._of_resource.get(name, [])

    def instances(self) -> Iterator[tuple[str, Identity]]:
        """Yield (instance id, identity) of every interface of an instance, the first one last."""
        held = [one for one in self.by_id.values() if one.attachment.instance_id]
        for interface in sorted(held, key=lambda one: -one.attachment.device_index):
            yield interface.attachment.instance_id, self.identity(interface)

    def findings(self) -> Iterator[Finding]:
        """Yield what interfaces could not be told apart."""
        strange = [
            interface
            for name, interface in self.by_id.items()
            if self._roles[name].kind is EndKind.UNKNOWN
        ]
        if strange:
            yield Finding(
                code="unrecognised-interface",
                severity="warning",
                subject=f"{self._place.account}/{self._place.region}",
                count=len(strange),
                sample=f"{strange[0].network_interface_id}: {strange[0].description!r}",
                hint="made by an AWS service that is not known here; declare its addresses with "
                "a kind in declared.toml",
            )

    def _role(self, interface: Interface) -> Role:
        return role(
            interface.interface_type,
            interface.description,
            managed=interface.requester_managed,
            attached=bool(interface.attachment.instance_id),
        )

    def _resource(self, interface: Interface, its: Role) -> str:
        if its.kind in _BALANCERS and its.resource:
            return (
                f"arn:{self._partition}:elasticloadbalancing:{self._place.region}:"
                f"{interface.owner_id or self._place.account}:loadbalancer/{its.resource}"
            )
        if its.kind is not EndKind.COMPUTE and its.resource:
            return its.resource
        return interface.attachment.instance_id or interface.network_interface_id
