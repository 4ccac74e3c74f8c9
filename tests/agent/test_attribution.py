from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcost import clock, money
from flowcost.address import V4_MAPPED, network, pack, unpack
from flowcost.agent.attribution import Attribution
from flowcost.agent.cgroups import Owner
from flowcost.agent.conntrack import Backend
from flowcost.agent.conversations import JOINED, conversations, no_join
from flowcost.agent.directory import Directory
from flowcost.agent.dns import Names
from flowcost.agent.drained import (
    CGROUP_KEY,
    COUNTERS,
    FLAG_SERVICE,
    KEY4,
    KEY6,
    Drained,
    Lost,
    Table,
)
from flowcost.agent.identity import world
from flowcost.agent.imds import Place
from flowcost.agent.lines import LOST, OVERFLOW
from flowcost.lab import objects, plan
from flowcost.model import Direction, EndKind, GatewayKind, Identity, Path
from flowcost.price import book_of, list_book
from flowcost.resolve import Claim, Gateway, Layer, Route, declared
from flowcost.resolve.lookup import lookup, route_from

NOW = clock.parse("2026-11-20T12:00:00Z")
TODAY = date(2026, 11, 20)
SHOP = plan.shop()
CART, CHECKOUT = SHOP.pod("cart-0"), SHOP.pod("checkout-0")
VIP = "10.96.0.10"
TCP = 6
CART_CGROUP, UNIT_CGROUP, NEW_CGROUP, ROOT_CGROUP = 100, 200, 300, 1
CENT = money.ONE // 100 // money.GIB


class KnownCgroups:
    """The cgroups of a node, without a kernel."""

    def __init__(self):
        self.owners = {
            CART_CGROUP: Owner("/kubepods/pod1/c", CART.uid, "c"),
            UNIT_CGROUP: Owner("/system.slice/sshd.service"),
            NEW_CGROUP: Owner("/kubepods/pod2/c", "0000-new", "c"),
        }

    def owner(self, cgroup_id, now):
        return self.owners.get(cgroup_id)


def directory(place=None):
    known = world(
        objects.objects(SHOP, node="node-a"),
        node_name="node-a",
        cluster="lab",
        place=objects.place(SHOP.nodes[0]) if place is None else place,
        at=NOW,
        layers=(declared.parse(objects.declaration(SHOP)),),
    )
    return Directory(known, NOW)


@pytest.fixture
def attribution():
    return Attribution(directory(), KnownCgroups(), Names(), list_book())


def row(remote, sent=(0, 0), received=(0, 0), cgroup=CART_CGROUP, local=None, port=40000, flags=0):
    return cgroup, local or CART.v4, remote, port, flags, sent, received


def drained(*rows, overflow=(), lost=None, before=None):
    tables = {4: ([], []), 6: ([], [])}
    for cgroup, local, remote, port, flags, sent, received in rows:
        ends = pack(local), pack(remote)
        version = 4 if ends[0].startswith(V4_MAPPED) else 6
        key = KEY4 if version == 4 else KEY6
        cut = slice(12, 16) if version == 4 else slice(0, 16)
        tables[version][0].append(
            key.pack(cgroup, ends[0][cut], ends[1][cut], port, 80, TCP, flags, 0)
        )
        tables[version][1].append(COUNTERS.pack(*sent, *received, 0, 0))
    return Drained(
        boot="b",
        epoch=1,
        sequence=1,
        window_start=0,
        window_end=1,
        flows4=Table(*map(b"".join, tables[4])),
        flows6=Table(*map(b"".join, tables[6])),
        overflow=Table(
            b"".join(CGROUP_KEY.pack(cgroup) for cgroup, _, _ in overflow),
            b"".join(COUNTERS.pack(*sent, *received, 0, 0) for _, sent, received in overflow),
        ),
        lost=lost or Lost(),
        lost_before=before or Lost(),
    )


def lines(attribution, *rows, backends=None, on=TODAY, **options):
    return attributed(attribution, drained(*rows, **options), knowing(backends or {}), on=on)


def attributed(attribution, segment, join=no_join, on=TODAY):
    return attribution.lines(segment, conversations(segment, join), now=0.0, on=on)


def knowing(backends):
    return lambda dialed: [backends.get(one) for one in dialed]


def dialed(port=40000):
    return pack(CART.v4), port, pack(VIP), 80, TCP


def to_service(port=40000, sent=(1000, 2)):
    return row(VIP, sent=sent, port=port, flags=FLAG_SERVICE)


def test_a_dialed_service_is_priced_by_its_backends_zone_and_keeps_its_name(attribution):
    backend = Backend(pack(CHECKOUT.v4), 8080, masqueraded=False)
    (line,) = lines(attribution, to_service(), backends={dialed(): backend})
    assert (line.verdict.path, line.dialed) == (Path.CROSS_AZ, "shop/checkout")
    assert line.remote.k8s_pod_name == "checkout-0"
    assert line.cost == 1000 * CENT
    assert attribution.join_misses == 0


def test_a_service_without_a_known_backend_is_unknown_unpriced_and_counted(attribution):
    (line,) = lines(attribution, to_service())
    assert (line.verdict.path, line.dialed) == (Path.UNKNOWN, "shop/checkout")
    assert (line.cost, line.unpriced_bytes) == (0, 1000)
    assert attribution.join_misses == 1


def test_an_address_in_a_service_block_that_is_no_service_is_taken_as_it_is(attribution):
    (line,) = lines(attribution, row("10.96.99.99", sent=(10, 1), flags=FLAG_SERVICE))
    assert line.dialed == ""
    assert attribution.join_misses == 0


def test_only_connections_to_services_are_asked_for_some_thousands_at_a_time(attribution):
    asked = []

    def join(some):
        asked.append(list(some))
        return no_join(some)

    rows = [to_service(1 + port) for port in range(JOINED + 1)]
    segment = drained(*rows, row(CHECKOUT.v4, sent=(1, 1)))
    found = attributed(attribution, segment, join)
    assert [len(one) for one in asked] == [JOINED, 1]
    assert asked[0][:2] == [dialed(1), dialed(2)]
    assert sum(line.bytes for line in found) == 1000 * (JOINED + 1) + 1


def test_each_direction_is_a_line_with_its_own_meter(attribution):
    out, back = lines(attribution, row(CHECKOUT.v4, sent=(1000, 2), received=(500, 1)))
    assert (out.direction, out.verdict.meters[0].operation) == (Direction.TRANSMIT, "InterZone-Out")
    assert (back.direction, back.verdict.meters[0].operation) == (Direction.RECEIVE, "InterZone-In")


def test_global_ipv6_addresses_inside_the_network_are_no_way_out(attribution):
    (line,) = lines(attribution, row(CHECKOUT.v6, sent=(1000, 2), local=CART.v6))
    assert line.verdict.path is Path.CROSS_AZ
    (line,) = lines(attribution, row("2001:db8:ffff::10", sent=(1000, 2), local=CART.v6))
    assert line.verdict.path is Path.INTERNET_EGRESS


def test_the_nodes_own_processes_are_told_by_their_unit(attribution):
    (line,) = lines(
        attribution, row(CHECKOUT.v4, sent=(9, 1), cgroup=UNIT_CGROUP, local=CART.node.v4)
    )
    assert line.local.service_name == "/system.slice/sshd.service"
    assert line.local.k8s_pod_uid == ""
    assert line.verdict.path is Path.CROSS_AZ


def test_on_a_hybrid_node_a_pod_is_told_by_its_address(attribution):
    (line,) = lines(attribution, row(CHECKOUT.v4, sent=(9, 1), cgroup=ROOT_CGROUP))
    assert line.local.k8s_pod_name == "cart-0"


def test_a_pod_the_api_has_not_told_of_keeps_its_uid_and_its_nodes_zone(attribution):
    segment = drained(row(CHECKOUT.v4, sent=(9, 1), cgroup=NEW_CGROUP, local="10.244.1.99"))
    assert attribution.unknown_pods(segment, 0.0)
    (line,) = attributed(attribution, segment)
    assert line.local.k8s_pod_uid == "0000-new"
    assert line.verdict.path is Path.CROSS_AZ


def test_a_name_is_kept_for_ends_outside_the_cluster_by_the_pod_that_asked(attribution):
    attribution.names._names[CART.uid, pack("198.51.100.10")] = (1e9, "api.example.com")
    attribution.names._names[CART.uid, pack(CHECKOUT.v4)] = (1e9, "checkout.shop.svc")
    outside, inside = lines(
        attribution, row("198.51.100.10", sent=(9, 1)), row(CHECKOUT.v4, sent=(9, 1))
    )
    assert (outside.name, inside.name) == ("api.example.com", "")


def test_an_answer_that_a_resolver_of_the_node_received_belongs_to_the_pod_that_asked(attribution):
    assert attribution.owner(UNIT_CGROUP, pack(CART.v4), 0.0) == CART.uid
    assert attribution.owner(UNIT_CGROUP, pack(CART.node.v4), 0.0) == CART.node.v4


def test_without_a_place_everything_is_unknown_and_nothing_is_lost():
    bare = Attribution(directory(Place()), KnownCgroups(), Names(), list_book())
    found = lines(bare, row("198.51.100.10", sent=(9, 1)))
    assert [(line.verdict.path, line.unpriced_bytes) for line in found] == [(Path.UNKNOWN, 9)]


def test_a_meter_without_a_rate_is_unpriced_never_free():
    empty = Attribution(directory(), KnownCgroups(), Names(), book_of([], "empty"))
    (line,) = lines(empty, row(CHECKOUT.v4, sent=(9, 1)))
    assert line.verdict.path is Path.CROSS_AZ
    assert (line.cost, line.unpriced_bytes) == (0, 9)


def test_rules_and_rates_are_those_of_the_day(attribution):
    (new,) = lines(attribution, row(CHECKOUT.v4, sent=(9, 1)), on=TODAY)
    (old,) = lines(attribution, row(CHECKOUT.v4, sent=(9, 1)), on=date(2007, 1, 1))
    assert (new.unpriced_bytes, old.unpriced_bytes) == (0, 9)


@pytest.mark.parametrize("kind", [GatewayKind.TRANSIT_GATEWAY, GatewayKind.GWLB_ENDPOINT])
def test_what_lies_beyond_a_device_that_leads_to_the_internet_is_shown_as_unpriced(kind):
    place = objects.place(SHOP.nodes[0])
    first, last = network("0.0.0.0/0")
    inside = network("10.9.0.0/16")
    route = Route(scope=place.vpc, first=first, last=last, kind=kind, gateway_id="device")
    device = Gateway(
        kind=kind,
        identity=Identity(cloud_resource_id="device", cloud_region=place.region),
    )
    far = Claim(first=inside[0], last=inside[1], identity=Identity(kind=EndKind.COMPUTE))
    known = world(
        objects.objects(SHOP, node="node-a"),
        node_name="node-a",
        cluster="lab",
        place=place,
        at=NOW,
        layers=(Layer(source="declared", routes=(route,), gateways=(device,), claims=(far,)),),
    )
    attribution = Attribution(Directory(known, NOW), KnownCgroups(), Names(), list_book())
    outside, inside = lines(
        attribution, row("8.8.8.8", sent=(100, 1)), row("10.9.0.1", sent=(7, 1))
    )
    assert outside.verdict.meters
    assert outside.cost > 0
    assert (outside.unpriced_bytes, inside.unpriced_bytes) == (100, 0)


def test_overflow_is_booked_to_its_pod_without_a_peer(attribution):
    (line,) = lines(attribution, overflow=[(CART_CGROUP, (70, 2), (0, 0))])
    assert line.verdict is OVERFLOW
    assert (line.local.k8s_pod_name, line.bytes, line.unpriced_bytes) == ("cart-0", 70, 70)


def test_losses_are_booked_once_to_the_node(attribution):
    before = Lost(transmitted_bytes=200, transmitted_packets=2)
    segment = drained(lost=Lost(transmitted_bytes=500, transmitted_packets=5), before=before)
    (line,) = attributed(attribution, segment)
    assert line.verdict is LOST
    assert (line.local.k8s_node_name, line.bytes, line.packets) == ("node-a", 300, 3)


ADDRESSES = st.sampled_from(
    [CHECKOUT.v4, VIP, "198.51.100.10", "10.244.2.77", "192.168.7.7", "169.254.169.254", "8.8.8.8"]
)
COUNTS = st.tuples(st.integers(1, 1 << 40), st.integers(1, 1 << 20))
ROWS = st.builds(
    row,
    ADDRESSES,
    sent=COUNTS,
    received=COUNTS,
    cgroup=st.sampled_from([CART_CGROUP, UNIT_CGROUP, NEW_CGROUP, ROOT_CGROUP, 4711]),
    port=st.integers(1, 65535),
    flags=st.sampled_from([0, FLAG_SERVICE]),
)


@given(st.lists(ROWS, max_size=20), COUNTS)
def test_every_byte_of_a_drain_is_in_exactly_one_line(rows, spilled):
    attribution = Attribution(directory_once(), KnownCgroups(), Names(), list_book())
    found = lines(attribution, *rows, overflow=[(CART_CGROUP, spilled, (0, 0))])
    sent = [line for line in found if line.direction is Direction.TRANSMIT]
    assert sum(line.bytes for line in sent) == sum(r[5][0] for r in rows) + spilled[0]
    assert sum(line.packets for line in sent) == sum(r[5][1] for r in rows) + spilled[1]
    received = sum(line.bytes for line in found) - sum(line.bytes for line in sent)
    assert received == sum(r[6][0] for r in rows)
    for line in found:
        assert line.verdict.path != Path.UNKNOWN or line.unpriced_bytes == line.bytes


_ONCE = []


def directory_once():
    if not _ONCE:
        _ONCE.append(directory())
    return _ONCE[0]


def test_the_directory_tells_what_the_resolution_tells():
    """The fast index against the room's own lookup."""
    known = directory()
    resolution = known.world.resolution
    for text in ("10.244.2.21", "10.244.2.99", "10.0.2.10", VIP, "8.8.8.8", "2001:db8:1:f2::21"):
        peer = known.peers[known.peer(pack(text))]
        assert peer.identity == lookup(resolution, pack(text), NOW), text
        route = route_from(resolution, known.world.node, pack(text), NOW)
        assert peer.way.routed is (route.kind if route else None), text
        assert unpack(pack(text)) == text
