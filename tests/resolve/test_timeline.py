"""The merged answer against a brute-force reading of the rule."""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcost.address import network, pack
from flowcost.clock import parse
from flowcost.content import content_id, remember
from flowcost.errors import FlowcostError, InventoryError
from flowcost.model import EndKind, GatewayKind, Identity
from flowcost.resolve import ALWAYS, FOREVER, PRECEDENCE, Claim, Gateway, Layer, Route
from flowcost.resolve.lookup import lookup, route, route_from
from flowcost.resolve.plans import plans_of
from flowcost.resolve.timeline import build
from flowcost.schema import IDENTITY_FIELDS

START = parse("2026-11-01")


def claim(cidr: str, start: int | None = None, end: int | None = None, **attributes) -> Claim:
    first, last = network(cidr)
    return Claim(
        first=first,
        last=last,
        identity=Identity(**attributes),
        valid_from=ALWAYS if start is None else START + timedelta(hours=start),
        valid_to=FOREVER if end is None else START + timedelta(hours=end),
    )


def who(layers: list[Layer], address: str, hour: float = 0) -> Identity:
    return lookup(build(layers), pack(address), START + timedelta(hours=hour))


def test_the_longest_prefix_wins_and_wider_ones_fill_its_gaps():
    layers = [
        Layer(
            source="subnets",
            claims=(
                claim("10.0.0.0/8", cloud_region="us-east-1", owner_team="network"),
                claim("10.1.2.0/24", cloud_availability_zone="use1-az1", cloud_vpc_id="vpc-a"),
            ),
        ),
        Layer(source="kubernetes", claims=(claim("10.1.2.3", k8s_pod_name="cart-0"),)),
    ]
    assert who(layers, "10.1.2.3") == Identity(
        k8s_pod_name="cart-0",
        cloud_availability_zone="use1-az1",
        cloud_vpc_id="vpc-a",
        cloud_region="us-east-1",
        owner_team="network",
    )
    assert who(layers, "10.1.3.0") == Identity(cloud_region="us-east-1", owner_team="network")
    assert who(layers, "192.0.2.1") == Identity()


def test_a_declared_network_over_a_longer_subnet_only_fills_it():
    layers = [
        Layer(source="declared", claims=(claim("10.0.0.0/8", owner_team="shop", stage="prod"),)),
        Layer(source="subnets", claims=(claim("10.1.0.0/16", owner_team="infra"),)),
    ]
    assert who(layers, "10.1.0.1") == Identity(owner_team="infra", stage="prod")


@pytest.mark.parametrize("winner", range(len(PRECEDENCE) - 1))
def test_of_equal_blocks_the_earlier_source_wins(winner):
    layers = [
        Layer(source=source, claims=(claim("10.0.0.0/24", owner_team=source),))
        for source in PRECEDENCE[winner:]
    ]
    assert who(layers[::-1], "10.0.0.9").owner_team == PRECEDENCE[winner]


def test_an_address_reused_by_another_pod_belongs_to_each_in_its_time():
    layers = [
        Layer(
            source="kubernetes",
            claims=(
                claim("10.0.0.7", 0, 2, k8s_pod_name="old", owner_team="a"),
                claim("10.0.0.7", 3, 5, k8s_pod_name="new"),
            ),
        ),
        Layer(source="subnets", claims=(claim("10.0.0.0/24", cloud_region="us-east-1"),)),
    ]
    names = [who(layers, "10.0.0.7", hour).k8s_pod_name for hour in (-1, 0, 1.99, 2, 3, 4.99, 5)]
    assert names == ["", "old", "old", "", "new", "new", ""]
    assert who(layers, "10.0.0.7", 4).owner_team == ""
    assert {who(layers, "10.0.0.7", hour).cloud_region for hour in range(-1, 6)} == {"us-east-1"}


def test_two_networks_with_one_address_plan_leave_what_differs_unknown_and_say_so():
    layers = [
        Layer(
            source="subnets",
            claims=(
                claim("10.0.0.0/16", cloud_vpc_id="vpc-a", cloud_account_id="1", stage="prod"),
                claim("10.0.0.0/16", cloud_vpc_id="vpc-b", cloud_account_id="2", stage="prod"),
                claim("10.0.0.0/8", cloud_vpc_id="vpc-a", cloud_account_id="1"),
            ),
        )
    ]
    assert who(layers, "10.0.0.1") == Identity(stage="prod")
    (finding,) = build(layers).findings
    assert finding.code == "overlapping-address-plans"
    assert finding.subject == "cloud_account_id, cloud_vpc_id"


def test_a_subnet_of_another_network_does_not_lend_its_zone():
    layers = [
        Layer(source="interfaces", claims=(claim("10.0.0.5", cloud_vpc_id="vpc-a"),)),
        Layer(
            source="subnets",
            claims=(
                claim("10.0.0.0/24", cloud_vpc_id="vpc-b", cloud_availability_zone="use1-az2"),
                claim("10.0.0.0/16", cloud_vpc_id="vpc-a", cloud_region="us-east-1"),
            ),
        ),
    ]
    assert who(layers, "10.0.0.5") == Identity(cloud_vpc_id="vpc-a", cloud_region="us-east-1")


def test_of_two_address_plans_the_one_of_the_interfaces_network_counts():
    layers = [
        Layer(source="interfaces", claims=(claim("10.0.0.5", cloud_vpc_id="vpc-a"),)),
        Layer(
            source="netbox",
            claims=(
                claim("10.0.0.5", cloud_vpc_id="vpc-b", owner_team="b"),
                claim("10.0.0.5", cloud_vpc_id="vpc-a", owner_team="a"),
            ),
        ),
    ]
    assert who(layers, "10.0.0.5").owner_team == "a"
    assert who(layers[1:], "10.0.0.5").owner_team == ""


def test_the_service_of_a_published_range_is_not_put_on_our_own_instance():
    layers = [
        Layer(source="interfaces", claims=(claim("3.5.1.1", kind=EndKind.COMPUTE),)),
        Layer(
            source="published",
            claims=(claim("3.5.0.0/16", kind=EndKind.SERVICE, cloud_service="S3"),),
        ),
    ]
    assert who(layers, "3.5.1.1") == Identity(kind=EndKind.COMPUTE)
    assert who(layers, "3.5.1.2") == Identity(kind=EndKind.SERVICE, cloud_service="S3")


def test_ipv6_and_the_last_address_of_all_resolve():
    layers = [
        Layer(
            source="declared",
            claims=(claim("::/0", stage="v6"), claim("2600:1f18::/32", stage="ours")),
        )
    ]
    assert who(layers, "2600:1f18:ffff::1").stage == "ours"
    assert who(layers, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").stage == "v6"


def test_an_unknown_source_and_an_upside_down_block_are_refused():
    with pytest.raises(InventoryError, match="hearsay"):
        build([Layer(source="hearsay")])
    backwards = Claim(first=pack("10.0.0.2"), last=pack("10.0.0.1"), identity=Identity())
    with pytest.raises(InventoryError, match=r"10\.0\.0\.2"):
        build([Layer(source="declared", claims=(backwards,))])


def test_ids_are_content_and_a_collision_is_an_error(monkeypatch):
    assert content_id(Identity(stage="a")) == content_id(Identity(stage="a"))
    assert content_id(Identity(stage="a")) != content_id(Identity(owner_team="a"))
    assert 0 < content_id(Identity()) < 1 << 63
    monkeypatch.setattr("flowcost.content.content_id", lambda value: 7)
    table = {}
    assert remember(table, "one") == remember(table, "one") == 7
    with pytest.raises(FlowcostError, match="share the id 7"):
        remember(table, "two")


# A plan of sixteen addresses over eight hours, small enough to ask about every point.
BASE = int.from_bytes(pack("10.0.0.0"))
VALUES = {
    "kind": st.sampled_from([EndKind.UNKNOWN, EndKind.COMPUTE, EndKind.SERVICE]),
    "cloud_vpc_id": st.sampled_from(["", "", "vpc-a", "vpc-b"]),
    "cloud_service": st.sampled_from(["", "S3"]),
    "owner_team": st.sampled_from(["", "a", "b"]),
    "k8s_cluster_name": st.sampled_from(["", "", "blue", "green"]),
    "k8s_pod_name": st.sampled_from(["", "x", "y"]),
}


@st.composite
def claims(draw) -> Claim:
    bits = draw(st.integers(0, 4))
    first = draw(st.integers(0, 15)) >> bits << bits
    start = draw(st.integers(0, 7))
    end = draw(st.integers(start, 8))
    return Claim(
        first=(BASE + first).to_bytes(16),
        last=(BASE + first + (1 << bits) - 1).to_bytes(16),
        identity=Identity(**{name: draw(values) for name, values in VALUES.items()}),
        valid_from=START + timedelta(hours=start),
        valid_to=START + timedelta(hours=end),
    )


LAYERS = st.lists(
    st.builds(
        Layer, source=st.sampled_from(PRECEDENCE), claims=st.lists(claims(), max_size=6).map(tuple)
    ),
    max_size=5,
)


OBSERVERS = [{}] + [
    {"cluster": cluster, "vpc": vpc}
    for cluster in ("", "blue", "green", "red")
    for vpc in ("", "vpc-a", "vpc-b", "vpc-c")
]


def met(ranked: dict[tuple[int, int], list[Identity]], cluster: str = "", vpc: str = ""):
    """What an observer meets of all that is claimed of a point."""
    everything = [(rank, one) for rank, group in ranked.items() for one in group]
    clusters = {one.k8s_cluster_name for _, one in everything} - {""}
    vpcs = {one.cloud_vpc_id for _, one in everything} - {""}
    if len(clusters) > 1 and cluster in clusters:
        closest = min(size for (size, _), one in everything if one.k8s_cluster_name == cluster)
        kept = [
            (rank, one)
            for rank, one in everything
            if one.k8s_cluster_name in ("", cluster) or rank[0] < closest
        ]
    elif len(vpcs) > 1 and vpc in vpcs:
        kept = [(rank, one) for rank, one in everything if one.cloud_vpc_id in ("", vpc)]
    else:
        kept = everything
    found: dict[tuple[int, int], list[Identity]] = {}
    for rank, one in kept:
        found.setdefault(rank, []).append(one)
    return found


def brute_force(layers: list[Layer], address: bytes, at, **observer: str) -> Identity:
    """The documented rule, read word by word for one point."""
    ranked: dict[tuple[int, int], list[Identity]] = {}
    for layer in layers:
        for one in layer.claims:
            if one.first <= address <= one.last and one.valid_from <= at < one.valid_to:
                size = int.from_bytes(one.last) - int.from_bytes(one.first)
                rank = (size, PRECEDENCE.index(layer.source))
                ranked.setdefault(rank, []).append(one.identity)
    answer: dict[str, str] = {}
    for _, tied in sorted(met(ranked, **observer).items()):
        group = tied
        if "cloud_vpc_id" in answer:
            group = [one for one in tied if one.cloud_vpc_id in ("", answer["cloud_vpc_id"])]
        said = {}
        for name in IDENTITY_FIELDS:
            distinct = {getattr(one, name) for one in group} - {"", EndKind.UNKNOWN}
            if distinct:
                said[name] = distinct.pop() if len(distinct) == 1 else None
        if "kind" in answer or "cloud_service" in answer:
            said.pop("cloud_service", None)
        answer = {**said, **answer}
    return Identity(**{name: value for name, value in answer.items() if value is not None})


def points():
    for offset in range(16):
        for hour in range(8):
            yield (BASE + offset).to_bytes(16), START + timedelta(hours=hour)


@settings(max_examples=150, deadline=None)
@given(LAYERS)
def test_every_point_equals_brute_force(layers):
    resolution = build(layers)
    for address, at in points():
        assert lookup(resolution, address, at) == brute_force(layers, address, at)


@settings(max_examples=150, deadline=None)
@given(LAYERS, st.sampled_from(OBSERVERS))
def test_every_point_met_by_an_observer_equals_brute_force(layers, observer):
    resolution, plans = build(layers), plans_of(**observer)
    for address, at in points():
        found = lookup(resolution, address, at, plans)
        assert found == brute_force(layers, address, at, **observer)


@settings(max_examples=150, deadline=None)
@given(LAYERS, st.randoms())
def test_intervals_are_disjoint_sorted_and_independent_of_order(layers, shuffled):
    resolution = build(layers)
    for known in resolution.everywhere():
        hosts = [(one.address, one.valid_from, one.valid_to) for one in known.hosts]
        assert hosts == sorted(hosts)
        for (address, start, end), (after, begin, _) in pairwise(hosts):
            assert start < end
            assert address < after or end <= begin
        for one, two in pairwise(known.ranges):
            if (one.first, one.last) == (two.first, two.last):
                assert one.valid_to <= two.valid_from
            else:
                assert one.last < two.first
    mixed = [
        Layer(source=layer.source, claims=tuple(shuffled.sample(layer.claims, len(layer.claims))))
        for layer in shuffled.sample(layers, len(layers))
    ]
    assert build(mixed) == resolution


@settings(max_examples=100, deadline=None)
@given(LAYERS, claims(), st.sampled_from(PRECEDENCE))
def test_one_more_claim_changes_nothing_outside_its_block_and_time(layers, extra, source):
    before = build(layers)
    after = build([*layers, Layer(source=source, claims=(extra,))])
    for address, at in points():
        inside = extra.first <= address <= extra.last and extra.valid_from <= at < extra.valid_to
        if not inside:
            assert lookup(after, address, at) == lookup(before, address, at)


@settings(max_examples=100, deadline=None)
@given(LAYERS, claims())
def test_the_widest_and_last_claim_only_fills(layers, extra):
    """Every attribute known before stays as it was."""
    everywhere = Claim(
        first=pack("0.0.0.0"),
        last=pack("255.255.255.255"),
        identity=extra.identity,
        valid_from=extra.valid_from,
        valid_to=extra.valid_to,
    )
    before = build(layers)
    after = build([*layers, Layer(source="published", claims=(everywhere,))])
    for address, at in points():
        old, new = lookup(before, address, at), lookup(after, address, at)
        for name in IDENTITY_FIELDS:
            known = getattr(old, name)
            assert known in ("", EndKind.UNKNOWN) or getattr(new, name) == known


# Routes and gateways


def way(scope: str, cidr: str, kind: GatewayKind, start=None, end=None, gateway: str = "") -> Route:
    held = claim(cidr, start, end)
    return Route(
        scope=scope,
        first=held.first,
        last=held.last,
        kind=kind,
        gateway_id=gateway,
        valid_from=held.valid_from,
        valid_to=held.valid_to,
    )


def test_the_longest_route_wins_in_its_time_and_its_table():
    nat, s3 = GatewayKind.NAT_GATEWAY, GatewayKind.GATEWAY_ENDPOINT
    resolution = build(
        [
            Layer(
                source="interfaces",
                routes=(
                    way("subnet-1", "0.0.0.0/0", nat, gateway="nat-1"),
                    way("subnet-1", "10.0.0.0/16", GatewayKind.NONE),
                    way("subnet-1", "52.216.0.0/15", s3, 2, gateway="vpce-1"),
                    way("vpc-a", "0.0.0.0/0", GatewayKind.INTERNET_GATEWAY, gateway="igw-1"),
                ),
            )
        ]
    )

    def kind(scope: str, address: str, hour: int) -> GatewayKind | None:
        found = route(resolution, scope, pack(address), START + timedelta(hours=hour))
        return found.kind if found else None

    assert kind("subnet-1", "52.216.0.1", 1) is nat
    assert kind("subnet-1", "52.216.0.1", 2) is s3
    assert kind("subnet-1", "10.0.3.3", 2) is GatewayKind.NONE
    assert kind("subnet-1", "93.184.216.34", 2) is nat
    assert kind("subnet-1", "2600::1", 2) is None
    assert kind("subnet-2", "93.184.216.34", 2) is None
    in_table = Identity(cloud_subnet_id="subnet-1", cloud_vpc_id="vpc-a")
    in_main = Identity(cloud_subnet_id="subnet-9", cloud_vpc_id="vpc-a")
    assert route_from(resolution, in_table, pack("8.8.8.8"), START).gateway_id == "nat-1"
    assert route_from(resolution, in_main, pack("8.8.8.8"), START).gateway_id == "igw-1"
    assert route_from(resolution, Identity(), pack("8.8.8.8"), START) is None


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            claims(),
            st.sampled_from([GatewayKind.NAT_GATEWAY, GatewayKind.NONE, GatewayKind.BLACKHOLE]),
        ),
        max_size=8,
    )
)
def test_every_route_equals_brute_force(drawn):
    given_routes = [
        Route(
            scope=scope,
            first=one.first,
            last=one.last,
            kind=kind,
            valid_from=one.valid_from,
            valid_to=one.valid_to,
        )
        for scope, one, kind in drawn
    ]
    resolution = build([Layer(source="interfaces", routes=tuple(given_routes))])
    for scope in "ab":
        for address, at in points():
            fitting = [
                (int.from_bytes(one.last) - int.from_bytes(one.first), one.kind)
                for one in given_routes
                if one.scope == scope
                and one.first <= address <= one.last
                and one.valid_from <= at < one.valid_to
            ]
            found = route(resolution, scope, address, at)
            assert (found.kind if found else None) == (min(fitting)[1] if fitting else None)


def test_sources_that_know_one_gateway_add_up():
    declared = Gateway(
        kind=GatewayKind.UNKNOWN,
        identity=Identity(cloud_resource_id="nat-1", owner_team="net"),
        interfaces=frozenset({"eni-1"}),
    )
    seen = Gateway(
        kind=GatewayKind.NAT_GATEWAY,
        identity=Identity(cloud_resource_id="nat-1", cloud_region="us-east-1"),
        addresses=frozenset({pack("10.0.0.220")}),
    )
    layers = [
        Layer(source="declared", gateways=(declared,)),
        Layer(source="interfaces", gateways=(seen,)),
    ]
    random.shuffle(layers)
    (merged,) = build(layers).gateways
    assert merged == Gateway(
        kind=GatewayKind.NAT_GATEWAY,
        identity=Identity(cloud_resource_id="nat-1", owner_team="net", cloud_region="us-east-1"),
        addresses=frozenset({pack("10.0.0.220")}),
        interfaces=frozenset({"eni-1"}),
    )
