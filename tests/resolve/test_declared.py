"""The operator's file and the one-line grammars."""

from __future__ import annotations

import pytest

from flowcost.address import pack
from flowcost.clock import parse as instant
from flowcost.errors import InventoryError
from flowcost.model import EndKind, GatewayKind, Identity
from flowcost.resolve import ALWAYS, FOREVER, declared
from flowcost.resolve.grammar import ATTRIBUTES
from flowcost.resolve.lookup import lookup, route_from
from flowcost.resolve.rules import parse_owners, parse_zones, region_of_zone
from flowcost.resolve.timeline import build

WORLD = """
[[network]]
cidr = "10.1.0.0/16"
cloud.region = "us-east-1"
cloud.account.id = "111111111111"
cloud.vpc_id = "vpc-a"

[[network]]
cidr = "10.1.2.0/24"
kind = "compute"
k8s.namespace.name = "shop"
cloud.availability_zone = "use1-az1"
from = 2026-11-01
to = "2026-12-01T00:00:00Z"

[[service]]
address = "172.20.0.10"
name = "shop/cart"

[[gateway]]
id = "nat-1"
kind = "nat_gateway"
addresses = ["10.1.0.220", "198.51.100.7"]
interfaces = ["eni-n"]
cloud.availability_zone = "use1-az2"

[[route]]
from = "vpc-a"
to = "0.0.0.0/0"
via = "nat-1"

[[route]]
from = "vpc-a"
to = "10.1.0.0/16"
via = "local"
"""


def test_a_world_declares_networks_services_gateways_and_routes():
    resolution = build([declared.parse(WORLD)])
    at = instant("2026-11-15")
    pod = lookup(resolution, pack("10.1.2.3"), at)
    assert pod == Identity(
        kind=EndKind.COMPUTE,
        k8s_namespace_name="shop",
        cloud_availability_zone="use1-az1",
        cloud_region="us-east-1",
        cloud_account_id="111111111111",
        cloud_vpc_id="vpc-a",
    )
    assert lookup(resolution, pack("10.1.2.3"), instant("2026-12-01")).k8s_namespace_name == ""
    nat = lookup(resolution, pack("10.1.0.220"), at)
    assert (nat.kind, nat.cloud_resource_id) == (EndKind.NAT_GATEWAY, "nat-1")
    assert (nat.cloud_availability_zone, nat.cloud_vpc_id) == ("use1-az2", "vpc-a")
    out = route_from(resolution, pod, pack("8.8.8.8"), at)
    assert (out.kind, out.gateway_id) == (GatewayKind.NAT_GATEWAY, "nat-1")
    home = route_from(resolution, pod, pack("10.1.9.9"), at)
    assert (home.kind, home.gateway_id) == (GatewayKind.NONE, "")
    (gateway,) = resolution.gateways
    assert gateway.addresses == {pack("10.1.0.220"), pack("198.51.100.7")}
    assert gateway.interfaces == {"eni-n"}
    (service,) = resolution.services
    assert (service.name, service.valid_from, service.valid_to) == ("shop/cart", ALWAYS, FOREVER)


@pytest.mark.parametrize("spelling", [name for name in ATTRIBUTES if name != "kind"])
def test_every_identity_attribute_can_be_declared(spelling):
    layer = declared.parse(f'[[network]]\ncidr = "10.0.0.0/8"\n{spelling} = "x"\n')
    assert getattr(layer.claims[0].identity, ATTRIBUTES[spelling]) == "x"


def test_everything_wrong_is_said_at_once_with_file_entry_and_key():
    text = """
[[network]]
cidr = "10.1.0.5/16"
cloud.zone = "a"

[[network]]
cidr = "10.2.0.0/99"
kind = "toaster"

[[network]]
cloud.availability_zone = ""
from = 2026-12-01
to = 2026-11-01

[[network]]
cidr = "10.3.0.0/16"
owner.team = "a"

[[network]]
cidr = "10.3.0.0/16"
owner.team = "b"

[[gateway]]
id = "g"
kind = "hole"
addresses = "10.0.0.1"

[[route]]
from = "vpc-a"
to = "everywhere"
via = "nowhere"

[[route]]
from = "vpc-a"
to = "::/0"
via = "nowhere"

[[service]]
address = 7

[[subnet]]
cidr = "10.0.0.0/8"
"""
    with pytest.raises(InventoryError) as caught:
        declared.parse(text, "world/declared.toml")
    lines = caught.value.message.splitlines()
    assert all(line.startswith("world/declared.toml: ") for line in lines)
    for expected in (
        "network 1: cidr: '10.1.0.5/16' has host bits set",
        "network 1: cloud.zone: unknown key",
        "network 2: cidr: '10.2.0.0/99': prefix length over 32",
        "network 2: kind: 'toaster' is no kind of end",
        "network 3: cidr: is missing",
        "network 3: cloud.availability_zone: is empty",
        "network 3: from: is not before to",
        "network 5: cidr: the same block as network 4, with another identity",
        "gateway 1: kind: 'hole' is not a valid GatewayKind",
        "gateway 1: addresses: must be a list",
        "route 1: to: 'everywhere' is not an IP address",
        "route 2: via: 'nowhere' is no declared gateway",
        "service 1: address: must be a text, not 7",
        "service 1: name: is missing",
        "subnet: unknown table",
    ):
        assert any(expected in line for line in lines), expected
    assert len(lines) == 15


def test_one_block_may_change_its_owner_over_time():
    text = """
[[network]]
cidr = "10.3.0.0/16"
owner.team = "a"
to = 2026-11-01

[[network]]
cidr = "10.3.0.0/16"
owner.team = "b"
from = 2026-11-01
"""
    resolution = build([declared.parse(text)])
    teams = [
        lookup(resolution, pack("10.3.0.1"), instant(day)).owner_team
        for day in ("2026-10-31T23:59:59", "2026-11-01")
    ]
    assert teams == ["a", "b"]


def test_one_block_may_be_several_networks_or_clusters():
    both = "".join(
        f"""
[[network]]
cidr = "10.0.0.0/16"
{attribute} = "{name}"
owner.team = "{name}"
"""
        for attribute in ("cloud.vpc_id", "k8s.cluster.name")
        for name in ("a", "b")
    )
    with pytest.raises(InventoryError, match="network 3: cidr: the same block as network 1"):
        declared.parse(both)
    vpcs = declared.parse(both.split('[[network]]\ncidr = "10.0.0.0/16"\nk8s')[0])
    assert [one.identity.cloud_vpc_id for one in vpcs.claims] == ["a", "b"]


def test_a_file_that_is_not_there_or_not_toml_is_named(tmp_path):
    with pytest.raises(InventoryError, match=r"gone\.toml"):
        declared.read(tmp_path / "gone.toml")
    with pytest.raises(InventoryError, match="is not TOML"):
        declared.parse("[[network]")


def test_the_longest_rule_wins_whatever_the_order():
    rules = ["10.0.0.0/16=us-east-1a", " 10.0.2.0/24=eu-west-1b , ", "10.9.0.0/16=dc1/home"]
    for order in (rules, rules[::-1]):
        resolution = build([parse_zones(",".join(order))])

        def place(address: str, resolution=resolution) -> tuple[str, str]:
            found = lookup(resolution, pack(address), instant("2026-11-01"))
            return found.cloud_availability_zone, found.cloud_region

        assert place("10.0.2.9") == ("eu-west-1b", "eu-west-1")
        assert place("10.0.3.9") == ("us-east-1a", "us-east-1")
        assert place("::ffff:10.0.2.9") == ("eu-west-1b", "eu-west-1")
        assert place("10.9.0.1") == ("dc1", "home")


@pytest.mark.parametrize(
    ("zone", "region"),
    [
        ("us-east-1a", "us-east-1"),
        ("us-gov-west-1b", "us-gov-west-1"),
        ("us-central1-a", "us-central1"),
        ("eastus-1", ""),
        ("use1-az1", "us-east-1"),
        ("1", ""),
    ],
)
def test_a_region_follows_only_from_a_zone_name_that_holds_one(zone, region):
    assert region_of_zone(zone) == region


def test_owners_are_service_and_team_and_a_team_may_hold_a_colon():
    layer = parse_owners("10.0.0.0/24=cart:shop:eu,10.0.1.0/24=lost:,10.0.2.0/24=alone")
    assert [(one.identity.service_name, one.identity.owner_team) for one in layer.claims] == [
        ("cart", "shop:eu"),
        ("lost", ""),
        ("alone", ""),
    ]


@pytest.mark.parametrize(
    "rule",
    ["10.0.0.0/8", "10.0.0.0/8=", "10.0.0.1/8=a", "x=a", "10.0.0.0/8=a/", "10.0.0.0/33=a"],
)
def test_a_zone_rule_that_cannot_be_read_is_quoted(rule):
    with pytest.raises(InventoryError) as caught:
        parse_zones(f"10.5.0.0/16=a,{rule}")
    assert repr(rule) in caught.value.message


def test_one_block_in_two_zones_is_refused_and_an_owner_needs_a_service():
    with pytest.raises(InventoryError, match="twice"):
        parse_zones("10.0.0.0/8=a,10.0.0.0/8=b")
    with pytest.raises(InventoryError, match="service is empty"):
        parse_owners("10.0.0.0/8=:team")
