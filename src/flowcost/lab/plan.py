"""The cluster the lab builds, as data: zones, nodes, pods, Services, gateways, the internet.

Addresses follow a two-zone VPC: each node has its own subnet and pod block; IPv6 is global
(as in a dual-stack VPC), documentation prefixes stand for the internet.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

REGION = "us-east-1"
ACCOUNT = "111122223333"
VPC = "vpc-0lab"
CLUSTER_V4 = "10.0.0.0/8"
CLUSTER_V6 = "2001:db8:1::/48"
SERVICE_V4 = "10.96.0.0/16"
SERVICE_V6 = "fd00:10:96::/112"
INTERNET_V4 = "198.51.100.10"
INTERNET_V6 = "2001:db8:ffff::10"
NAT_PRIVATE_V4 = "10.0.9.10"
NAT_PUBLIC_V4 = "198.51.100.1"
MTU = 1500


@dataclass(frozen=True)
class Node:
    """A machine in one zone. `number` (1..9) fixes its addresses."""

    name: str
    number: int
    zone_id: str
    zone_name: str

    @property
    def v4(self) -> str:
        """Return the node's address."""
        return f"10.0.{self.number}.10"

    @property
    def v6(self) -> str:
        """Return the node's IPv6 address."""
        return f"2001:db8:1:{self.number}::10"

    @property
    def pods_v4(self) -> str:
        """Return the block its pods take addresses from."""
        return f"10.244.{self.number}.0/24"

    @property
    def pods_v6(self) -> str:
        """Return the IPv6 block its pods take addresses from."""
        return f"2001:db8:1:f{self.number}::/64"

    @property
    def subnet_id(self) -> str:
        """Return the subnet the node sits in."""
        return f"subnet-0lab{self.number}"


@dataclass(frozen=True)
class Pod:
    """A pod; with `host_network` it lives in its node's namespace and has its address.

    `runtime` picks the cgroup path shape, so that a run meets several of them. Without
    `offload` the pod hands single packets to the network, so that even traffic that never
    leaves the node can be compared packet by packet.
    """

    name: str
    namespace: str
    workload: str
    node: Node
    number: int
    host_network: bool = False
    runtime: str = "containerd-systemd"
    offload: bool = True

    @property
    def v4(self) -> str:
        """Return the pod's address."""
        return self.node.v4 if self.host_network else f"10.244.{self.node.number}.{self.number}"

    @property
    def v6(self) -> str:
        """Return the pod's IPv6 address."""
        number = self.node.number
        return self.node.v6 if self.host_network else f"2001:db8:1:f{number}::{self.number}"

    def address(self, family: int) -> str:
        """Return the address of `family` (4 or 6)."""
        return self.v4 if family == 4 else self.v6

    @property
    def uid(self) -> str:
        """Return the pod uid, a stable function of its name."""
        digest = hashlib.sha256(f"{self.namespace}/{self.name}".encode()).hexdigest()
        return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))

    @property
    def container_id(self) -> str:
        """Return the 64 hex digits of its only container."""
        return hashlib.sha256(f"container {self.namespace}/{self.name}".encode()).hexdigest()


@dataclass(frozen=True)
class Port:
    """One port of a Service: what clients dial and where it lands."""

    transport: str
    port: int
    target: int


@dataclass(frozen=True)
class Service:
    """A ClusterIP Service; its backends share the connections evenly."""

    name: str
    namespace: str
    v4: str
    v6: str
    ports: tuple[Port, ...]
    backends: tuple[Pod, ...]

    def address(self, family: int) -> str:
        """Return the virtual address of `family` (4 or 6)."""
        return self.v4 if family == 4 else self.v6


@dataclass(frozen=True)
class Plan:
    """A whole cluster."""

    name: str
    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...]
    services: tuple[Service, ...]

    def pod(self, name: str) -> Pod:
        """Return the pod called `name`."""
        return next(pod for pod in self.pods if pod.name == name)

    def service(self, name: str) -> Service:
        """Return the Service called `name`."""
        return next(service for service in self.services if service.name == name)


_WEB = (Port("tcp", 80, 8080), Port("udp", 443, 8443))


def shop() -> Plan:
    """Return the shop: carts call checkout in the other zone through a ClusterIP."""
    a = Node("node-a", 1, "use1-az1", "us-east-1a")
    b = Node("node-b", 2, "use1-az2", "us-east-1b")
    cart = Pod("cart-0", "shop", "cart", a, 11)
    batch = Pod("batch-0", "shop", "batch", a, 12, runtime="containerd-cgroupfs", offload=False)
    stock = Pod("stock-0", "shop", "stock", a, 13, runtime="crio-systemd", offload=False)
    proxy = Pod("proxy-a", "edge", "proxy", a, 14, host_network=True)
    checkout = Pod("checkout-0", "shop", "checkout", b, 21)
    spare = Pod("checkout-1", "shop", "checkout", b, 22, runtime="docker-cgroupfs")
    dns = Pod("coredns-0", "kube-system", "coredns", b, 23, runtime="kind")
    gateway = Pod("proxy-b", "edge", "proxy", b, 24, host_network=True)
    return Plan(
        name="shop",
        nodes=(a, b),
        pods=(cart, batch, stock, proxy, checkout, spare, dns, gateway),
        services=(
            Service("checkout", "shop", "10.96.0.10", "fd00:10:96::a", _WEB, (checkout, spare)),
            Service("stock", "shop", "10.96.0.11", "fd00:10:96::b", _WEB, (stock,)),
            Service(
                "kube-dns",
                "kube-system",
                "10.96.0.53",
                "fd00:10:96::35",
                (Port("udp", 53, 5353), Port("tcp", 53, 5353)),
                (dns,),
            ),
        ),
    )
