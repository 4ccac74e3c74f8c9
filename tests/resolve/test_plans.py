"""Clusters and VPCs that share addresses: whom an observer meets there (docs/inventory.md)."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from flowcost.address import pack
from flowcost.model import Identity
from flowcost.resolve import Layer, ServiceClaim
from flowcost.resolve.lookup import lookup
from flowcost.resolve.plans import plans_of
from flowcost.resolve.timeline import build
from tests.resolve.test_timeline import START, claim, timedelta

VPCS = [
    Layer(
        source="interfaces",
        claims=(
            claim("10.0.0.5", cloud_vpc_id="vpc-a", cloud_resource_id="i-a"),
            claim("10.0.0.5", cloud_vpc_id="vpc-b", cloud_resource_id="i-b"),
            claim("10.0.0.6", cloud_vpc_id="vpc-b", cloud_resource_id="i-b6"),
        ),
    ),
    Layer(
        source="subnets",
        claims=tuple(
            claim("10.0.0.0/24", cloud_vpc_id=f"vpc-{name}", cloud_availability_zone=f"use1-az{n}")
            for n, name in ((1, "a"), (2, "b"))
        ),
    ),
    Layer(source="netbox", claims=(claim("10.0.0.7", owner_team="shop"),)),
]


def met(layers, address: str, hour: float = 0, **observer: str) -> Identity:
    at = START + timedelta(hours=hour)
    return lookup(build(layers), pack(address), at, plans_of(**observer))


def test_in_each_vpc_an_address_is_its_own():
    a, b = met(VPCS, "10.0.0.5", vpc="vpc-a"), met(VPCS, "10.0.0.5", vpc="vpc-b")
    assert (a.cloud_resource_id, a.cloud_availability_zone) == ("i-a", "use1-az1")
    assert (b.cloud_resource_id, b.cloud_availability_zone) == ("i-b", "use1-az2")
    for vpc in ("", "vpc-c"):
        assert met(VPCS, "10.0.0.5", vpc=vpc).cloud_resource_id == ""


def test_an_address_of_the_own_vpc_is_never_an_interface_of_another():
    found = met(VPCS, "10.0.0.6", vpc="vpc-a")
    assert found == Identity(cloud_vpc_id="vpc-a", cloud_availability_zone="use1-az1")
    assert met(VPCS, "10.0.0.6", vpc="vpc-c").cloud_resource_id == "i-b6"  # the only one


def test_what_names_no_vpc_holds_in_all():
    found = met(VPCS, "10.0.0.7", vpc="vpc-b")
    assert (found.owner_team, found.cloud_availability_zone) == ("shop", "use1-az2")


def test_in_each_cluster_an_address_is_its_own_as_long_as_it_is_there():
    layers = [
        Layer(
            source="kubernetes",
            claims=(
                claim("10.244.0.5", 0, 4, k8s_cluster_name="blue", k8s_pod_name="cart"),
                claim("10.244.0.5", 2, 6, k8s_cluster_name="green", k8s_pod_name="stock"),
            ),
        )
    ]
    names = {
        cluster: [
            met(layers, "10.244.0.5", hour, cluster=cluster).k8s_pod_name for hour in (1, 3, 5)
        ]
        for cluster in ("blue", "green", "")
    }
    assert names["blue"] == ["cart", "cart", "stock"]  # when only green has it, nobody else does
    assert names["green"] == ["cart", "stock", "stock"]
    assert names[""] == ["cart", "", "stock"]


def test_a_smaller_block_of_another_cluster_in_one_network_is_that_clusters():
    layers = [
        Layer(
            source="declared",
            claims=(
                claim("10.0.0.0/16", k8s_cluster_name="blue", owner_team="a"),
                claim("10.0.9.0/24", k8s_cluster_name="green"),
            ),
        )
    ]
    for cluster in ("blue", "green", ""):
        assert met(layers, "10.0.9.1", cluster=cluster).k8s_cluster_name == "green"
    assert met(layers, "10.0.8.1", cluster="green").k8s_cluster_name == "blue"


def test_nothing_is_kept_apart_where_nothing_is_shared():
    layers = [
        Layer(
            source="interfaces",
            claims=tuple(
                claim(f"10.{n}.0.5", cloud_vpc_id=f"vpc-{n}", k8s_cluster_name=f"c{n}")
                for n in range(9)
            ),
        ),
        Layer(
            source="subnets",
            claims=tuple(claim(f"10.{n}.0.0/16", cloud_vpc_id=f"vpc-{n}") for n in range(9)),
        ),
    ]
    assert build(layers).plans == {}


def test_many_equal_plans_cost_what_they_hold_and_not_its_square():
    count = 30
    layers = [
        Layer(
            source="interfaces",
            claims=tuple(
                claim(
                    f"10.0.{n}.{host}", cloud_vpc_id=f"vpc-{n}", cloud_resource_id=f"i-{n}-{host}"
                )
                for n in range(count)
                for host in range(10)
            ),
        ),
        Layer(
            source="subnets",
            claims=tuple(claim("10.0.0.0/16", cloud_vpc_id=f"vpc-{n}") for n in range(count)),
        ),
    ]
    plans = build(layers).plans
    assert sum(len(known.hosts) for known in plans.values()) == count * 10
    assert sum(len(known.ranges) for known in plans.values()) == count


# Services


def service(name: str, cluster: str = "", start: int = 0, end: int = 8) -> ServiceClaim:
    return ServiceClaim(
        address=pack("10.96.0.10"),
        name=name,
        cluster=cluster,
        valid_from=START + timedelta(hours=start),
        valid_to=START + timedelta(hours=end),
    )


def test_a_virtual_address_is_named_by_the_callers_cluster():
    layer = Layer(
        source="kubernetes", services=(service("shop/cart", "blue"), service("kube/dns", "green"))
    )
    names = {one.cluster: one.name for one in build([layer]).services}
    assert names == {"blue": "shop/cart", "green": "kube/dns"}
    alike = Layer(
        source="kubernetes", services=(service("kube/dns", "blue"), service("kube/dns", "green"))
    )
    assert {one.cluster: one.name for one in build([alike]).services} == {"": "kube/dns"}


def test_two_services_on_one_address_of_one_cluster_have_no_name():
    layer = Layer(
        source="kubernetes", services=(service("a/x", "blue"), service("b/y", "blue", 4, 8))
    )
    (only,) = build([layer]).services
    assert (only.name, only.valid_to) == ("a/x", START + timedelta(hours=4))


SERVICES = st.lists(
    st.tuples(
        st.sampled_from(["kubernetes", "declared"]),
        st.builds(
            service,
            st.sampled_from(["a/x", "b/y"]),
            st.sampled_from(["", "blue", "green"]),
            st.integers(0, 7),
            st.integers(1, 8),
        ),
    ),
    max_size=7,
)


def named(claims, cluster: str, at) -> str:
    """The documented rule for one moment."""
    held = [(source, one) for source, one in claims if one.valid_from <= at < one.valid_to]
    own = [(source, one) for source, one in held if one.cluster == cluster]
    differ = len({one.name for _, one in held}) > 1
    for choice in ([own] if cluster and differ else []) + [held]:
        for source in ("kubernetes", "declared"):
            names = {one.name for said, one in choice if said == source}
            if len(names) == 1:
                return names.pop()
            if names:
                break
    return ""


@settings(max_examples=200, deadline=None)
@given(SERVICES)
def test_every_name_at_every_moment_equals_brute_force(claims):
    layers = [Layer(source=source, services=(one,)) for source, one in claims]
    services = build(layers).services
    for one, two in pairwise(services):
        assert (one.cluster, one.valid_to) <= (two.cluster, two.valid_from) or (
            one.cluster < two.cluster
        )
    for cluster in ("", "blue", "green", "red"):
        for hour in range(8):
            at = START + timedelta(hours=hour)
            held = {
                one.cluster: one.name for one in services if one.valid_from <= at < one.valid_to
            }
            assert held.get(cluster, held.get("", "")) == named(claims, cluster, at)
