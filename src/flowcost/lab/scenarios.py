"""Traffic whose bytes are known twice: by the agents, and by the router it crossed.

Egress at a sender is exact: it equals what entered the router, to the byte and the packet.
Ingress is what reached a socket: what the router let out, but for packets that arrive when the
socket is gone (a FIN or RST after the end), which the kernel hands to no cgroup.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from flowcost import address
from flowcost.agent.lines import Line
from flowcost.lab import plan as p
from flowcost.lab.agents import Agents, counted
from flowcost.lab.cluster import Cluster
from flowcost.lab.plan import Plan, Pod
from flowcost.lab.wire import Count, Wire
from flowcost.model import Direction

TCP_PORT, UDP_PORT = 8080, 8443
MIB = 1 << 20
INTERNET = "internet"


class Scenario(Struct, frozen=True, kw_only=True):
    """One client at work: it does `do` (`workload.COMMANDS`) towards `to`.

    `to` is `service/<name>` (dialed by its virtual address), `pod/<name>` or `internet`. `gap`
    names what the kernel shows to no cgroup here. Where `crosses` is false the traffic stays on
    its node, and the two pods' own counts are compared with each other.
    """

    name: str
    client: str
    do: str
    to: str
    family: int = 4
    arguments: dict[str, Any] = {}
    loss: int = 0
    crosses: bool = True
    gap: str = ""


_LATE = "packets that arrive after the socket is gone: no cgroup sees them"


def _tcp(name: str, to: str, client: str = "cart-0", **options: Any) -> Scenario:  # noqa: ANN401
    return _scenario("tcp", name, to, client, options)


def _udp(name: str, to: str, client: str = "cart-0", **options: Any) -> Scenario:  # noqa: ANN401
    return _scenario("udp", name, to, client, options)


def _scenario(do: str, name: str, to: str, client: str, options: dict[str, Any]) -> Scenario:
    """Return a scenario; options that are no field of it are the command's own arguments."""
    fields = {key: options.pop(key) for key in (*options,) if key in Scenario.__struct_fields__}
    return Scenario(name=name, client=client, do=do, to=to, arguments=options, **fields)


CHECKOUT, DIRECT = "service/checkout", "pod/checkout-0"

SCENARIOS = (
    _tcp("bulk TCP, IPv4, by Service, 0.5 % loss", CHECKOUT, up=100 * MIB, loss=5),
    _tcp("bulk TCP, IPv6, by Service, 0.5 % loss", CHECKOUT, up=100 * MIB, loss=5, family=6),
    _tcp("bulk download, IPv4, direct, 0.5 % loss", DIRECT, down=100 * MIB, loss=5),
    _tcp("request/response, IPv4, by Service", CHECKOUT, up=128, down=1024, requests=2000),
    _tcp("request/response, IPv6, direct", DIRECT, up=128, down=1024, requests=2000, family=6),
    _tcp("churn, 500 connections, by Service", CHECKOUT, up=64, down=64, connections=500),
    _tcp("churn closed by RST", CHECKOUT, up=64, down=64, connections=200, reset=True, gap=_LATE),
    _tcp("host network to Service", CHECKOUT, "proxy-a", up=MIB, down=MIB, connections=5),
    _tcp("host network to host network", "pod/proxy-b", "proxy-a", up=MIB, down=MIB, family=6),
    _tcp("same node, by Service", "service/stock", "batch-0", up=MIB, down=MIB, crosses=False),
    _tcp("internet through NAT, IPv4", INTERNET, up=MIB, down=10 * MIB),
    _tcp("internet through NAT in another zone", INTERNET, "checkout-0", up=MIB, down=MIB),
    _tcp("internet, IPv6", INTERNET, up=MIB, down=10 * MIB, family=6),
    _udp("UDP connected, by Service", CHECKOUT, count=500, size=200),
    _udp("UDP unconnected, by Service", CHECKOUT, count=500, size=200, connected=False),
    _udp("UDP unconnected, IPv6, direct", DIRECT, count=500, size=200, connected=False, family=6),
    _udp("UDP GSO, 30 segments of 1200", CHECKOUT, count=40, size=36_000, segment=1200),
    _udp("UDP fragments, 8000 B, IPv4", DIRECT, count=100, size=8000),
    _udp("UDP fragments, 8000 B, IPv6", DIRECT, count=100, size=8000, family=6),
)


class Leg(Struct, frozen=True):
    """One end in one direction: what its agent counted, what the wire had."""

    pod: str
    direction: Direction
    agent: Count
    wire: Count

    @property
    def difference(self) -> Count:
        """Return the agent's count minus the wire's."""
        return self.agent - self.wire


class Result(Struct, frozen=True):
    """What one scenario showed, with the agents' own lines."""

    scenario: Scenario
    legs: tuple[Leg, ...]
    lines: tuple[Line, ...]

    @property
    def cost(self) -> int:
        """Return what all ends together cost, a numerator over `money.ONE`."""
        return sum(line.cost for line in self.lines)

    def of(self, direction: Direction) -> list[Leg]:
        """Return the legs of one direction."""
        return [leg for leg in self.legs if leg.direction is direction]


def start_servers(cluster: Cluster) -> None:
    """Let every pod (and the internet) answer TCP exchanges and echo datagrams."""
    for name, running in cluster.pods.items():
        # Two host-network pods of one node would ask for one port.
        if name == "proxy-a":
            continue
        running.call("serve_tcp", port=TCP_PORT)
        running.call("serve_udp", port=UDP_PORT)


def measure(cluster: Cluster, agents: Agents, scenario: Scenario) -> Result:
    """Run one scenario between two drains and compare."""
    client = cluster.plan.pod(scenario.client)
    servers = _servers(cluster.plan, scenario)
    host, port = _target(cluster.plan, scenario)
    cluster.loss(scenario.loss)
    agents.round()
    before = cluster.wire()
    cluster.pods[client.name].call(scenario.do, host=host, port=port, **scenario.arguments)
    wire = cluster.wire().since(before)
    cluster.loss(0)
    lines = agents.round()
    if scenario.crosses:
        legs = [leg for pod in (client, *servers) for leg in _crossing(wire, lines, pod, scenario)]
    else:
        legs = list(_within(lines, client, servers))
    return Result(scenario, tuple(legs), tuple(lines))


def _servers(plan: Plan, scenario: Scenario) -> tuple[Pod, ...]:
    kind, _, name = scenario.to.partition("/")
    if kind == "service":
        return plan.service(name).backends
    return (plan.pod(name),) if kind == "pod" else ()


def _target(plan: Plan, scenario: Scenario) -> tuple[str, int]:
    kind, _, name = scenario.to.partition("/")
    if kind == "service":
        port = next(port for port in plan.service(name).ports if port.transport == scenario.do)
        return plan.service(name).address(scenario.family), port.port
    port_number = TCP_PORT if scenario.do == "tcp" else UDP_PORT
    if kind == "pod":
        return plan.pod(name).address(scenario.family), port_number
    return (p.INTERNET_V4 if scenario.family == 4 else p.INTERNET_V6), port_number


def _crossing(wire: Wire, lines: list[Line], pod: Pod, scenario: Scenario) -> Iterable[Leg]:
    """Yield a pod's legs against the packets that bear its address on the wire."""
    ours = {pod.address(scenario.family)}
    if scenario.to == INTERNET and scenario.family == 4:
        ours = {pod.node.v4}  # it leaves the cluster behind its node's address
    packed = {address.pack(text) for text in ours}
    sent = _total(count for (source, _), count in wire.entered.items() if source in packed)
    arrived = _total(count for (_, target), count in wire.left.items() if target in packed)
    if sent.packets or arrived.packets:
        for direction, truth in ((Direction.TRANSMIT, sent), (Direction.RECEIVE, arrived)):
            yield Leg(pod.name, direction, counted(lines, pod.name, direction), truth)


def _total(counts: Iterable[Count]) -> Count:
    return sum(counts, Count())


def _within(lines: list[Line], client: Pod, servers: tuple[Pod, ...]) -> Iterable[Leg]:
    """Yield what the client's agent counted against what its servers' did."""
    for direction, back in (
        (Direction.TRANSMIT, Direction.RECEIVE),
        (Direction.RECEIVE, Direction.TRANSMIT),
    ):
        others = _total(counted(lines, pod.name, back) for pod in servers)
        yield Leg(client.name, direction, counted(lines, client.name, direction), others)
