import socket
from pathlib import Path

import pytest

from flowcost.address import pack, unpack
from flowcost.agent.conntrack import Conntrack

pytestmark = pytest.mark.lab


@pytest.fixture
def cluster(shop_cluster):
    for name in ("checkout-0", "checkout-1", "stock-0"):
        shop_cluster.pods[name].call("serve_tcp", port=8080)
        shop_cluster.pods[name].call("serve_udp", port=8443)
    return shop_cluster


@pytest.fixture
def conntrack(cluster):
    table = cluster.namespaces["node-a"].call(Conntrack)
    yield table
    table.close()


def dialed_by(cluster, node, conntrack):
    """What the node's clients dialed, told by an unrelated reader of the same table."""
    text = cluster.namespaces[node].call(Path("/proc/thread-self/net/nf_conntrack").read_text)
    found = {}
    for line in text.splitlines():
        words = line.split()
        pairs = [word.split("=") for word in words if "=" in word]
        src, dst, sport, dport = (value for _, value in pairs[:4])
        back = [value for name, value in pairs[4:] if name in {"src", "dst", "sport", "dport"}]
        key = pack(src), int(sport), pack(dst), int(dport), int(words[3])
        found[key] = (pack(back[0]), int(back[2]))
    return found


def join(conntrack, dialed):
    found = zip(dialed, conntrack.join(list(dialed)), strict=True)
    return {one: backend for one, backend in found if backend}


@pytest.mark.parametrize("family", [4, 6])
def test_a_dialed_service_leads_to_the_backend_that_answered(cluster, conntrack, family):
    service = cluster.plan.service("checkout")
    cart = cluster.pods["cart-0"]
    cart.call("tcp", host=service.address(family), port=80, up=10, down=10, connections=6)
    cart.call("udp", host=service.address(family), port=443, count=3)
    oracle = {
        dialed: backend
        for dialed, backend in dialed_by(cluster, "node-a", conntrack).items()
        if unpack(dialed[2]) == service.address(family)
    }
    assert len(oracle) == 7
    found = join(conntrack, oracle)
    assert {d: (b.address, b.port) for d, b in found.items()} == oracle
    assert not any(backend.masqueraded for backend in found.values())
    pods = {pack(pod.address(family)) for pod in service.backends}
    assert {backend.address for backend in found.values()} == pods


def test_a_connection_closed_by_a_reset_is_still_known(cluster, conntrack):
    service = cluster.plan.service("stock")
    cart = cluster.pods["cart-0"]
    cart.call("tcp", host=service.v4, port=80, up=10, down=10, reset=True)
    (dialed,) = dialed_by(cluster, "node-a", conntrack)
    assert unpack(conntrack.join([dialed])[0].address) == "10.244.1.13"


def test_a_connection_that_nobody_translated_is_not_found(cluster, conntrack):
    unknown = pack("10.244.1.11"), 40000, pack("10.96.0.10"), 80, socket.IPPROTO_TCP
    assert conntrack.join([unknown]) == [None]
    assert conntrack.join([]) == []


def test_a_connection_that_was_not_translated_has_no_other_backend(cluster, conntrack):
    direct = cluster.plan.pod("checkout-0").v4
    cluster.pods["cart-0"].call("tcp", host=direct, port=8080, up=10, down=10)
    known = dialed_by(cluster, "node-a", conntrack)
    assert len(known) == 1
    assert join(conntrack, known) == {}


def test_masquerade_is_seen_where_the_backend_meets_another_source(cluster, conntrack):
    node = cluster.namespaces["node-a"]
    node.run("nft", "add rule inet services postrouting ip daddr 10.244.2.0/24 masquerade")
    service = cluster.plan.service("checkout")
    cluster.pods["cart-0"].call("tcp", host=service.v4, port=80, up=10, down=10)
    (dialed,) = dialed_by(cluster, "node-a", conntrack)
    assert conntrack.join([dialed])[0].masqueraded


def test_a_host_network_client_is_joined_by_the_address_of_its_node(cluster, conntrack):
    service = cluster.plan.service("checkout")
    cluster.pods["proxy-a"].call("tcp", host=service.v4, port=80, up=10, down=10)
    (dialed,) = dialed_by(cluster, "node-a", conntrack)
    assert unpack(dialed[0]) == "10.0.1.10"
    assert unpack(conntrack.join([dialed])[0].address).startswith("10.244.2.2")


def test_hundreds_of_connections_are_asked_for_in_one_go(cluster, conntrack):
    service = cluster.plan.service("checkout")
    cart = cluster.pods["cart-0"]
    cart.call("tcp", host=service.v4, port=80, up=10, down=10, connections=300)
    oracle = dialed_by(cluster, "node-a", conntrack)
    unknown = [(one[0], 1, *one[2:]) for one in oracle]
    found = join(conntrack, [*oracle, *unknown])
    assert len(oracle) == 300
    assert {d: (b.address, b.port) for d, b in found.items()} == oracle
