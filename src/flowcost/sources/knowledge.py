"""What the inventory tells the readers: gateways, interfaces, addresses that changed hands.

Given as plain tuples, so that a task can be shipped to another process with its file.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from msgspec import Struct

# Interface types (DescribeNetworkInterfaces, flow log field interface-type) that pass on packets
# of others: their rows show traffic that its own ends log too.
PASSING = frozenset({"transit_gateway", "gateway_load_balancer", "gateway_load_balancer_endpoint"})
NAT_TYPES = frozenset({"nat_gateway", "regional_nat_gateway"})


class NatGateway(Struct, frozen=True, kw_only=True):
    """A NAT gateway: its id, all its own addresses (private and public), its interface ids."""

    id: str
    addresses: frozenset[bytes] = frozenset()
    interfaces: frozenset[str] = frozenset()
    regional: bool = False


class Interface(Struct, frozen=True, kw_only=True):
    """A network interface.

    `blocks` are (first, last) 16-byte addresses, the primary one first, then secondary addresses
    and prefixes. `type` is the provider's interface type. `forwards` is true where the check of
    source and destination is off: packets of others may pass.
    """

    id: str
    blocks: tuple[tuple[bytes, bytes], ...] = ()
    type: str = "interface"
    forwards: bool = False


class Knowledge(Struct, frozen=True, kw_only=True):
    """All of it.

    `changes` are (address, instant in Unix seconds) at which an address changed hands inside an
    hour: records that start from then on are kept apart from those before, in flows whose
    `window_start` is that instant. Changes on the hour need none of this.
    """

    gateways: tuple[NatGateway, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    peering_attachments: frozenset[str] = frozenset()
    changes: frozenset[tuple[bytes, int]] = frozenset()


class Role(StrEnum):
    """What an interface is to the packets in its rows."""

    END = "end"  # packets are its own
    FORWARDER = "forwarder"  # an instance that may pass on packets of others
    PASSING = "passing"  # a provider's device that passes on packets of others
    UNKNOWN = "unknown"  # not in the inventory
    NAT = "nat"
    REGIONAL_NAT = "regional_nat"


ROLE = {role: number for number, role in enumerate(Role)}  # as tables have it


class Face(Struct, frozen=True):
    """An observed interface as the rules see it.

    `gateway` is the NAT gateway's id; `addresses_known` whether its own addresses are.
    """

    role: Role
    gateway: str = ""
    addresses_known: bool = False
    primary: bytes | None = None


@dataclass(frozen=True)
class Index:
    """Knowledge by id."""

    knowledge: Knowledge

    @cached_property
    def gateway_of(self) -> dict[str, NatGateway]:
        """Return gateways by their id and by each interface id."""
        found: dict[str, NatGateway] = {}
        for gateway in sorted(self.knowledge.gateways, key=lambda gateway: gateway.id):
            for name in (gateway.id, *sorted(gateway.interfaces)):
                found.setdefault(name, gateway)
        return found

    @cached_property
    def interface_of(self) -> dict[str, Interface]:
        """Return interfaces by id."""
        return {interface.id: interface for interface in self.knowledge.interfaces}

    def face(self, observer: str, device: str, device_type: str) -> Face:
        """Return what an interface is, from the inventory first, else from the record's words.

        Args:
            observer: interface id of the row, `-` or empty where it has none.
            device: field resource-id (a regional NAT gateway's), empty if absent.
            device_type: field interface-type, empty if absent.
        """
        gateway = self.gateway_of.get(observer) or self.gateway_of.get(device)
        if gateway is not None:
            role = Role.REGIONAL_NAT if gateway.regional else Role.NAT
            return Face(role, gateway.id, bool(gateway.addresses))
        if device_type in NAT_TYPES or device.startswith("nat-"):
            regional = device_type != "nat_gateway"
            name = device if device.startswith("nat-") else observer
            return Face(Role.REGIONAL_NAT if regional else Role.NAT, name)
        known = self.interface_of.get(observer)
        kind = known.type if known is not None else device_type
        if kind in PASSING:
            return Face(Role.PASSING)
        if known is None:
            return Face(Role.END if device_type else Role.UNKNOWN)
        primary = known.blocks[0][0] if known.blocks else None
        return Face(Role.FORWARDER if known.forwards else Role.END, primary=primary)
