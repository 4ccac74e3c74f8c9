"""From a plan to the words of `ip` and `nft`: pure text, one batch per namespace.

The router (`vpc`) joins the nodes' subnets, drops a share of packets on request, and counts
every packet before and after that: the ground truth. Each node translates Services as kube-proxy
does and masquerades what leaves the cluster; the NAT gateway masquerades once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flowcost.lab import plan as p
from flowcost.lab.plan import Node, Plan, Pod, Service

ROUTER = "vpc"
NAT = "nat"
INTERNET = "internet"


def pod_interface(pod: Pod) -> str:
    """Return the name of the pod's device in its node."""
    return f"pod{pod.number}"


def links(plan: Plan, path: Mapping[str, str]) -> dict[str, str]:
    """Return the `ip -batch` text per namespace that makes the devices.

    `path` maps a namespace label to a path that `ip` can open.
    """
    router = [
        f"link add n{node.number} mtu {p.MTU} type veth peer name eth0 netns {path[node.name]}"
        for node in plan.nodes
    ]
    router += [
        f"link add nat type veth peer name private netns {path[NAT]}",
        f"link add inet6 type veth peer name eth6 netns {path[INTERNET]}",
    ]
    texts = {
        ROUTER: router,
        NAT: [f"link add public type veth peer name eth0 netns {path[INTERNET]}"],
    }
    for node in plan.nodes:
        texts[node.name] = [
            f"link add {pod_interface(pod)} type veth peer name eth0 netns {path[pod.name]}"
            for pod in plan.pods
            if pod.node == node and not pod.host_network
        ]
    return {label: "\n".join(lines) + "\n" for label, lines in texts.items()}


def addresses(plan: Plan) -> dict[str, str]:
    """Return the `ip -batch` text per namespace that gives addresses and routes."""
    texts: dict[str, list[str]] = {ROUTER: list(_router(plan))}
    texts[NAT] = [
        "link set lo up",
        *_device("private", f"{p.NAT_PRIVATE_V4}/24"),
        *_device("public", f"{p.NAT_PUBLIC_V4}/24"),
        f"route add {p.CLUSTER_V4} via 10.0.9.1",
    ]
    texts[INTERNET] = [
        "link set lo up",
        *_device("eth0", f"{p.INTERNET_V4}/24"),
        *_device("eth6", f"{p.INTERNET_V6}/64"),
        f"route add {p.CLUSTER_V6} via 2001:db8:ffff::1",
    ]
    for node in plan.nodes:
        texts[node.name] = list(_node(plan, node))
    for pod in plan.pods:
        if not pod.host_network:
            texts[pod.name] = list(_pod(pod))
    return {label: "\n".join(lines) + "\n" for label, lines in texts.items()}


def _device(name: str, *cidrs: str) -> Iterator[str]:
    yield f"link set {name} up"
    for cidr in cidrs:
        yield f"address add {cidr} dev {name}" + (" nodad" if ":" in cidr else "")


def _router(plan: Plan) -> Iterator[str]:
    yield "link set lo up"
    for node in plan.nodes:
        n = node.number
        yield from _device(f"n{n}", f"10.0.{n}.1/24", f"2001:db8:1:{n}::1/64")
        yield f"route add {node.pods_v4} via {node.v4}"
        yield f"route add {node.pods_v6} via {node.v6}"
    yield from _device("nat", "10.0.9.1/24")
    yield f"route add default via {p.NAT_PRIVATE_V4}"
    yield from _device("inet6", "2001:db8:ffff::1/64")


def _node(plan: Plan, node: Node) -> Iterator[str]:
    n = node.number
    yield "link set lo up"
    yield from _device("eth0", f"{node.v4}/24", f"{node.v6}/64")
    yield f"route add default via 10.0.{n}.1"
    yield f"route add ::/0 via 2001:db8:1:{n}::1"
    for pod in plan.pods:
        if pod.node != node or pod.host_network:
            continue
        device = pod_interface(pod)
        yield from _device(device, "169.254.1.1/32", "fe80::1/64")
        yield f"route add {pod.v4}/32 dev {device}"
        yield f"route add {pod.v6}/128 dev {device}"


def _pod(pod: Pod) -> Iterator[str]:
    yield "link set lo up"
    yield from _device("eth0", f"{pod.v4}/32", f"{pod.v6}/128")
    yield "route add 169.254.1.1 dev eth0 scope link"
    yield "route add default via 169.254.1.1 dev eth0"
    yield "route add ::/0 via fe80::1 dev eth0"


def node_rules(plan: Plan) -> str:
    """Return the `nft` text of a node: Services to backends, masquerade out of the cluster."""
    chains: list[str] = []
    dispatch: list[str] = []
    for service in plan.services:
        for family in (4, 6):
            dispatch += _service(service, family, chains)
    return "\n".join(
        (
            "table inet services {",
            *chains,
            "chain dispatch {",
            *dispatch,
            "}",
            "chain prerouting { type nat hook prerouting priority dstnat; jump dispatch; }",
            "chain output { type nat hook output priority -100; jump dispatch; }",
            "chain postrouting { type nat hook postrouting priority srcnat;",
            f"ip saddr {p.CLUSTER_V4} ip daddr != {p.CLUSTER_V4} masquerade",
            "}",
            "}",
            "",
        )
    )


def _service(service: Service, family: int, chains: list[str]) -> Iterator[str]:
    ip = "ip" if family == 4 else "ip6"
    for port in service.ports:
        targets: list[str] = []
        for index, pod in enumerate(service.backends):
            name = f"ep_{service.name.replace('-', '_')}_{ip}_{port.transport}_{port.port}_{index}"
            address = pod.address(family) if family == 4 else f"[{pod.address(family)}]"
            target = f"meta l4proto {port.transport} dnat {ip} to {address}:{port.target}"
            chains.append(f"chain {name} {{ {target}; }}")
            targets.append(f"{index} : goto {name}")
        yield (
            f"{ip} daddr {service.address(family)} {port.transport} dport {port.port} "
            f"numgen inc mod {len(targets)} vmap {{ {', '.join(targets)} }}"
        )


NAT_RULES = """table ip nat {
chain postrouting { type nat hook postrouting priority srcnat; oifname "public" masquerade; }
}
"""

# A packet is counted when it enters the router and, if it survived, when it leaves.
WIRE_RULES = """table inet wire {
set entered4 { type ipv4_addr . ipv4_addr; size 65535; flags dynamic; counter; }
set left4 { type ipv4_addr . ipv4_addr; size 65535; flags dynamic; counter; }
set entered6 { type ipv6_addr . ipv6_addr; size 65535; flags dynamic; counter; }
set left6 { type ipv6_addr . ipv6_addr; size 65535; flags dynamic; counter; }
chain entered { type filter hook forward priority 0;
update @entered4 { ip saddr . ip daddr }
update @entered6 { ip6 saddr . ip6 daddr }
}
chain loss { type filter hook postrouting priority 0; }
chain left { type filter hook postrouting priority 10;
update @left4 { ip saddr . ip daddr }
update @left6 { ip6 saddr . ip6 daddr }
}
}
"""


def loss_rules(per_mille: int) -> str:
    """Return the `nft` text that drops `per_mille` of a thousand data packets inside the router.

    Bare acknowledgements and FINs pass, so that every connection ends while both sockets live:
    what arrives later is answered by the kernel, for no cgroup.
    """
    rule = f"meta length > 100 numgen random mod 1000 < {per_mille} drop"
    add = f"add rule inet wire loss {rule}\n" if per_mille else ""
    return f"flush chain inet wire loss\n{add}"


# A device that may take super-packets hides the wire; these make every skb one packet.
NO_OFFLOAD = ("tso", "off", "gso", "off", "tx-udp-segmentation", "off")

# Duplicate address detection would hold every IPv6 address back for a second.
HOST = {"ipv6.conf.all.accept_dad": 0, "ipv6.conf.default.accept_dad": 0}

FORWARDING = {
    "ipv4.ip_forward": 1,
    "ipv6.conf.all.forwarding": 1,
    "ipv4.conf.all.rp_filter": 0,
    "ipv4.conf.default.rp_filter": 0,
}
