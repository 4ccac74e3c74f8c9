"""The agents' bytes against the router's, and what they cost."""

import pytest

from flowcost import money
from flowcost.lab import objects
from flowcost.lab.agents import Agents
from flowcost.lab.cluster import Cluster
from flowcost.lab.plan import shop
from flowcost.lab.scenarios import SCENARIOS, Scenario, measure, start_servers
from flowcost.lab.wire import Count
from flowcost.model import Direction, Path

pytestmark = pytest.mark.lab
NOTHING = Count(0, 0)


@pytest.fixture(scope="module")
def running(agents_allowed):
    with Cluster(shop()) as cluster, Agents(cluster) as agents:
        start_servers(cluster)
        yield cluster, agents


@pytest.fixture
def run(running):
    return lambda scenario: measure(*running, scenario)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_egress_equals_the_wire_to_the_byte_and_the_packet(run, scenario):
    result = run(scenario)
    sent = result.of(Direction.TRANSMIT)
    assert sent
    assert [leg.wire.packets > 0 for leg in sent] == [True] * len(sent)
    assert [(leg.pod, leg.difference) for leg in sent] == [(leg.pod, NOTHING) for leg in sent]
    for leg in result.of(Direction.RECEIVE):
        if scenario.gap:
            assert leg.difference.packets <= 0
            assert -leg.difference.packets <= leg.wire.packets // 100
        else:
            assert (leg.pod, leg.difference) == (leg.pod, NOTHING)


def test_no_byte_is_unknown_where_every_zone_is_known(run):
    result = run(SCENARIOS[0])
    assert {line.verdict.path for line in result.lines} == {Path.CROSS_AZ}
    assert sum(line.unpriced_bytes for line in result.lines) == 0


def test_the_dialing_pod_pays_by_the_real_backends_zone_and_both_legs_make_the_bill(run):
    """2 x $0.01/GiB in each direction: each end pays for its own end, once."""
    result = run(
        Scenario(
            name="",
            client="cart-0",
            do="tcp",
            to="service/checkout",
            arguments={"up": 1 << 20, "down": 1 << 16},
        )
    )
    cart = [line for line in result.lines if line.local.k8s_workload_name == "cart"]
    assert {line.dialed for line in cart} == {"shop/checkout"}
    assert {line.remote.cloud_availability_zone for line in cart} == {"use1-az2"}
    wire = sum(leg.wire.bytes for leg in result.of(Direction.TRANSMIT))
    cent_per_gib = money.ONE // 100 // money.GIB
    assert result.cost == 2 * cent_per_gib * wire
    meters = sorted(
        (line.local.k8s_workload_name, line.direction, meter.operation)
        for line in result.lines
        for meter in line.verdict.meters
    )
    assert meters == [
        ("cart", "receive", "InterZone-In"),
        ("cart", "transmit", "InterZone-Out"),
        ("checkout", "receive", "InterZone-In"),
        ("checkout", "transmit", "InterZone-Out"),
    ]


def test_a_service_that_conntrack_does_not_know_stays_unknown_and_unpriced(running):
    cluster, agents = running
    agent = agents.by_node["node-a"].agent
    blind, agent._connections = agent._connections, None
    try:
        result = measure(cluster, agents, SCENARIOS[3])
    finally:
        agent._connections = blind
    cart = [line for line in result.lines if line.local.k8s_workload_name == "cart"]
    assert {line.verdict.path for line in cart} == {Path.UNKNOWN}
    assert all(line.cost == 0 and line.unpriced_bytes == line.bytes for line in cart)
    assert {line.dialed for line in cart} == {"shop/checkout"}
    assert agent.status.join_misses > 0


def test_a_refusing_host_shows_its_answer_to_the_dialer_only(running):
    cluster, agents = running
    agents.round()
    before = cluster.wire()
    checkout = cluster.plan.pod("checkout-0")
    cluster.pods["cart-0"].call("tcp", host=checkout.v4, port=9, connections=20)
    seen = cluster.wire().since(before)
    lines = agents.round()
    assert {line.local.k8s_workload_name for line in lines} == {"cart"}
    sizes = {line.direction: (line.bytes, line.packets) for line in lines}
    sent = seen.total("10.244.1.11", checkout.v4)
    refused = seen.total(checkout.v4, "10.244.1.11")
    assert sizes == {
        Direction.TRANSMIT: (sent.bytes, sent.packets),
        Direction.RECEIVE: (refused.bytes, refused.packets),
    }


def test_a_name_the_pod_resolved_names_the_internet_host_it_then_called(running):
    cluster, agents = running
    names = {"api.example.com": ["198.51.100.10", "2001:db8:ffff::10"]}
    cluster.pods["coredns-0"].call("serve_udp", port=5353, names=names)
    cart, dns = cluster.pods["cart-0"], cluster.plan.service("kube-dns")
    for family in (4, 6):
        (address,) = cart.call("resolve", server=dns.v4, name="api.example.com", family=family)
        cart.call("tcp", host=address, port=8080, up=1000, down=1000)
    cluster.pods["batch-0"].call("tcp", host="198.51.100.10", port=8080, up=1000, down=1000)
    lines = agents.round()
    outside = {
        (line.local.k8s_workload_name, line.name)
        for line in lines
        if line.verdict.path in {Path.NAT_GATEWAY, Path.INTERNET_EGRESS, Path.INTERNET_INGRESS}
    }
    assert outside == {("cart", "api.example.com"), ("batch", "")}


def test_an_internet_transfer_pays_the_gateway_and_the_way_out(run):
    result = run(next(one for one in SCENARIOS if one.name == "internet through NAT, IPv4"))
    (out,) = [line for line in result.lines if line.direction is Direction.TRANSMIT]
    assert {meter.usage_type for meter in out.verdict.meters} == {
        "NatGateway-Bytes",
        "DataTransfer-Out-Bytes",
    }
    per_gib = out.cost * money.GIB // out.bytes
    assert money.rounded(per_gib, 3) == "0.135"  # 0.045 to process, 0.09 to leave


def test_a_gateway_in_another_zone_adds_the_hop_to_it(run):
    result = run(next(one for one in SCENARIOS if one.name.endswith("in another zone")))
    (out,) = [line for line in result.lines if line.direction is Direction.TRANSMIT]
    assert "InterZone-Out" in {meter.operation for meter in out.verdict.meters}
    per_gib = out.cost * money.GIB // out.bytes
    assert money.rounded(per_gib, 3) == "0.155"  # both ends of the hop, processing, internet


def test_a_pod_that_appears_while_the_agent_runs_is_known_before_its_bytes_are_booked(running):
    cluster, agents = running
    agent = agents.by_node["node-a"]
    known = agent.identities
    files = known.source.directory
    known._keep_s = 0.0
    try:
        (files / "pods.json").write_bytes(b'{"items": []}')
        known.refresh(5.0)
        assert known.directory.world.pods == {}
        objects.write(cluster.plan, files)
        cluster.pods["cart-0"].call("tcp", host="10.96.0.10", port=80, up=10, down=10)
        lines = agents.round()
    finally:
        objects.write(cluster.plan, files)
        known.refresh(5.0)
    assert {line.local.k8s_pod_name for line in lines} >= {"cart-0"}
