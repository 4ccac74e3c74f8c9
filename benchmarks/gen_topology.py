"""A network to generate traffic in: accounts, VPCs, subnets, nodes, pods, NAT, transit gateway.

Every third octet is a subnet, one node each; pods sit on secondary addresses of the node's
interface, so `srcaddr` shows the node and `pkt-srcaddr` the pod. VPCs come in two kinds: `full`
ones have a flow log of their own and a NAT gateway per zone; `spoke` ones have no flow log and
reach the internet through the transit gateway and the NAT gateways of the egress VPC, so their
traffic is seen only at those devices.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

REGION = "us-east-1"
ZONES = ("use1-az1", "use1-az2", "use1-az4")
ZONE_NAMES = ("us-east-1a", "us-east-1b", "us-east-1c")
NETWORK_ACCOUNT = "100000000001"
PODS_PER_NODE = 25
NODES_PER_VPC = 200
SPOKE_EVERY = 4  # every fourth VPC is a spoke
EGRESS_OCTET = 200
TGW_ID = "tgw-0f10c0570000000aa"
# First octets without any Amazon prefix (ip-ranges.json of 2026-08-22): far ends stay plain hosts.
REMOTE_OCTETS = (59, 60, 61, 62, 81, 82, 84, 85, 90, 91, 92, 109, 145, 146, 151, 188, 193, 194)


def hexid(prefix: str, *parts: int) -> str:
    """Return a provider-shaped id: prefix and 17 hexadecimal digits."""
    body = 0
    for part in parts:
        body = (body * 1_000_003 + part + 1) % (1 << 64)
    return f"{prefix}-0{body:016x}"


@dataclass
class Addresses:
    """All addresses as one pool of texts; traffic refers to them by number."""

    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> int:
        self.texts.append(text)
        return len(self.texts) - 1


@dataclass
class Vpc:
    """One VPC; `nat` and `tgw` hold (interface number, address number, public number) by zone."""

    number: int
    octet: int
    kind: str  # full, spoke, egress
    account: str
    nat: list[tuple[int, int, int]] = field(default_factory=list)
    tgw: list[tuple[int, int]] = field(default_factory=list)

    @property
    def id(self) -> str:
        return hexid("vpc", 1, self.octet)

    @property
    def cidr(self) -> str:
        return f"10.{self.octet}.0.0/16"

    @property
    def attachment(self) -> str:
        return hexid("tgw-attach", 2, self.octet)

    @property
    def flow_log(self) -> str:
        return hexid("fl", 3, self.octet)

    def subnet(self, third: int) -> str:
        return hexid("subnet", 4, self.octet, third)


class Topology:
    """The whole network, a function of its sizes and seed alone."""

    def __init__(self, *, pods: int, prefixes: int, seed: int, start: int, hours: int) -> None:
        self.seed, self.start, self.hours = seed, start, hours
        self.rng = np.random.default_rng([seed, 1])
        nodes = max(8, -(-pods // PODS_PER_NODE))
        self.per_vpc = min(NODES_PER_VPC, -(-nodes // SPOKE_EVERY))
        self.nodes = nodes
        self.pods = nodes * PODS_PER_NODE
        self.addresses = Addresses()
        self.interfaces: list[str] = []
        count = -(-nodes // self.per_vpc)
        self.vpcs = [
            Vpc(
                number=v,
                octet=v,
                kind="spoke" if v % SPOKE_EVERY == SPOKE_EVERY - 1 else "full",
                account=f"2000000000{v // 2:02d}",
            )
            for v in range(count)
        ]
        self.egress = Vpc(number=count, octet=EGRESS_OCTET, kind="egress", account=NETWORK_ACCOUNT)
        self.all_vpcs = [*self.vpcs, self.egress]
        self._place_pods()
        self._place_devices()
        self._place_remotes(prefixes)
        self._plan_reuse()
        self.absent = self.addresses.add("-")

    def _place_pods(self) -> None:
        self.node_vpc = np.arange(self.nodes) // self.per_vpc
        self.node_third = np.arange(self.nodes) % self.per_vpc
        self.node_zone = self.node_third % len(ZONES)
        for node in range(self.nodes):
            for slot in range(PODS_PER_NODE):
                self.addresses.add(f"10.{self.node_vpc[node]}.{self.node_third[node]}.{5 + slot}")
        self.first_node_address = len(self.addresses.texts)
        for node in range(self.nodes):
            self.addresses.add(f"10.{self.node_vpc[node]}.{self.node_third[node]}.4")
            self.interfaces.append(hexid("eni", 5, node))
        self.pod_node = np.arange(self.pods) // PODS_PER_NODE
        kinds = np.array([vpc.kind == "full" for vpc in self.vpcs])
        self.pod_vpc = self.node_vpc[self.pod_node]
        self.pod_full = kinds[self.pod_vpc]

    def _place_devices(self) -> None:
        for vpc in self.all_vpcs:
            for zone in range(len(ZONES)):
                third = 250 + zone
                if vpc.kind != "spoke":
                    self.interfaces.append(hexid("eni", 6, vpc.octet, zone))
                    private = self.addresses.add(f"10.{vpc.octet}.{third}.10")
                    public = self.addresses.add(f"3.80.{vpc.octet}.{10 + zone}")
                    vpc.nat.append((len(self.interfaces) - 1, private, public))
                self.interfaces.append(hexid("eni", 7, vpc.octet, zone))
                address = self.addresses.add(f"10.{vpc.octet}.{third}.20")
                vpc.tgw.append((len(self.interfaces) - 1, address))

    def _place_remotes(self, prefixes: int) -> None:
        codes = self.rng.choice(len(REMOTE_OCTETS) << 16, size=prefixes, replace=False)
        hosts = self.rng.integers(1, 255, size=prefixes)
        self.remotes = np.array(
            [
                self.addresses.add(
                    f"{REMOTE_OCTETS[code >> 16]}.{code >> 8 & 255}.{code & 255}.{host}"
                )
                for code, host in zip(codes.tolist(), hosts.tolist(), strict=True)
            ]
        )

    def _plan_reuse(self) -> None:
        """One change per twenty minutes: one pod in two hundred is replaced on its address."""
        instants = range(self.start + 1200, self.start + self.hours * 3600, 1200)
        self.changes = np.array(list(instants), dtype=np.int64)
        self.changed = self.rng.random((len(self.changes), self.pods)) < 0.005

    def generation(self, pods: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Return how often each pod's address had changed hands at each time."""
        total = np.zeros(len(pods), dtype=np.int64)
        for instant, changed in zip(self.changes, self.changed, strict=True):
            total += changed[pods] & (at >= instant)
        return total

    def next_change(self, pods: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Return the first instant after each time at which each pod's address changes hands."""
        result = np.full(len(pods), np.iinfo(np.int64).max)
        for instant, changed in zip(self.changes[::-1], self.changed[::-1], strict=True):
            result = np.where(changed[pods] & (at < instant), instant, result)
        return result

    def nat_of(self, vpc: np.ndarray, zone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return NAT interface and address numbers that serve clients of a VPC and zone."""
        table = [(vpc.nat or self.egress.nat) for vpc in self.all_vpcs]
        return (
            np.array([[nat[0] for nat in row] for row in table])[vpc, zone],
            np.array([[nat[1] for nat in row] for row in table])[vpc, zone],
        )

    def tgw_of(self, vpc: np.ndarray, zone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return transit-gateway interface and address numbers of a VPC and zone."""
        table = [vpc.tgw for vpc in self.all_vpcs]
        return (
            np.array([[tgw[0] for tgw in row] for row in table])[vpc, zone],
            np.array([[tgw[1] for tgw in row] for row in table])[vpc, zone],
        )


def pod_uid(slot: int, generation: int) -> str:
    """Return the uid of the pod that held an address slot in a generation."""
    return f"{slot:08x}-0000-4000-8000-{generation:012x}"
