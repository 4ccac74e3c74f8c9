"""The AWS files of an inventory: who an address is, and which way it leaves."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from flowcost.address import pack
from flowcost.clock import parse
from flowcost.errors import InventoryError
from flowcost.model import EndKind, GatewayKind
from flowcost.resolve import inventory
from flowcost.resolve.aws_managed import role
from flowcost.resolve.aws_operations import OPERATIONS
from flowcost.resolve.lookup import lookup, route, route_from
from flowcost.resolve.timeline import build
from tests.resolve import aws_world

AT = parse("2026-11-15")


@pytest.fixture(scope="module")
def resolution(tmp_path_factory):
    directory = aws_world.write(tmp_path_factory.mktemp("inventory"))
    return build(inventory.read(directory))


def who(resolution, address: str):
    return lookup(resolution, pack(address), AT)


@pytest.mark.parametrize(
    "address",
    ["10.0.1.10", "10.0.1.11", "10.0.1.33", "3.80.0.10", "2600:1f18:aaaa:1::10"],
)
def test_every_address_of_an_interface_is_its_instance(resolution, address):
    found = who(resolution, address)
    assert found.kind is EndKind.COMPUTE
    assert found.cloud_resource_id == "i-0abc"
    assert found.cloud_availability_zone == "use1-az4"
    assert found.cloud_account_id == aws_world.ACCOUNT
    assert (found.cloud_vpc_id, found.cloud_subnet_id) == ("vpc-a", "subnet-a")
    assert found.owner_team == "platform"
    assert found.cloud_service == ""


def test_an_address_in_a_delegated_ipv6_prefix_is_its_instance(resolution):
    assert who(resolution, "2600:1f18:aaaa:1:8::5").cloud_resource_id == "i-0abc"


def test_a_zone_is_an_id_and_a_subnet_lends_it_to_any_address_in_it(resolution):
    found = who(resolution, "10.0.2.77")
    assert (found.cloud_availability_zone, found.cloud_subnet_id) == ("use1-az6", "subnet-b")
    assert found.stage == "prod"  # from the VPC's tag
    assert who(resolution, "100.64.3.3").cloud_vpc_id == "vpc-a"
    assert who(resolution, "100.64.3.3").cloud_availability_zone == ""


def test_instances_stand_in_where_interfaces_were_not_dumped(resolution):
    found = who(resolution, "10.0.2.30")
    assert (found.cloud_resource_id, found.service_name) == ("i-0def", "batch")
    assert found.cloud_availability_zone == "use1-az6"


def test_an_idle_elastic_address_is_ours(resolution):
    found = who(resolution, "3.80.0.99")
    assert found.cloud_resource_id == "eipalloc-idle"
    assert found.cloud_account_id == aws_world.ACCOUNT


def test_the_far_end_of_a_peering_connection_is_known(resolution):
    found = who(resolution, "10.9.1.1")
    assert (found.cloud_account_id, found.cloud_region) == ("222222222222", "eu-west-1")
    assert found.cloud_vpc_id == "vpc-far"
    assert who(resolution, "10.8.0.1").cloud_vpc_id == ""


@pytest.mark.parametrize(
    ("address", "kind", "resource"),
    [
        ("10.0.2.220", EndKind.NAT_GATEWAY, "nat-1"),
        ("3.80.0.20", EndKind.NAT_GATEWAY, "nat-1"),
        ("10.0.1.50", EndKind.INTERFACE_ENDPOINT, "vpce-sts"),
        ("10.0.1.60", EndKind.TRANSIT_GATEWAY, "tgw-attach-a"),
        (
            "3.80.0.80",
            EndKind.NETWORK_LB,
            "arn:aws:elasticloadbalancing:us-east-1:111111111111:loadbalancer/net/edge/50dc",
        ),
    ],
)
def test_gateways_and_balancers_are_known_by_address(resolution, address, kind, resource):
    found = who(resolution, address)
    assert (found.kind, found.cloud_resource_id) == (kind, resource)


def test_an_interface_endpoint_names_its_service(resolution):
    assert who(resolution, "10.0.1.50").cloud_service == "STS"


def test_an_interface_of_a_service_we_do_not_know_stays_unknown_and_is_reported(resolution):
    assert who(resolution, "10.0.1.70").kind is EndKind.UNKNOWN
    (finding,) = [one for one in resolution.findings if one.code == "unrecognised-interface"]
    assert "made by a service of tomorrow" in finding.sample


def test_gateways_carry_their_own_addresses_interfaces_and_place(resolution):
    gateways = {gateway.id: gateway for gateway in resolution.gateways}
    nat = gateways["nat-1"]
    assert nat.kind is GatewayKind.NAT_GATEWAY
    assert nat.addresses == {pack("10.0.2.220"), pack("3.80.0.20")}
    assert nat.interfaces == {"eni-nat"}
    assert nat.identity.cloud_availability_zone == "use1-az6"
    regional = gateways["nat-regional"]
    assert regional.kind is GatewayKind.REGIONAL_NAT_GATEWAY
    assert regional.addresses == {pack("3.80.0.21"), pack("3.80.0.22")}
    assert regional.identity.cloud_availability_zone == ""
    assert "nat-old" not in gateways
    assert gateways["vpce-sts"].addresses == {pack("10.0.1.50")}
    assert gateways["vpce-s3"].kind is GatewayKind.GATEWAY_ENDPOINT
    assert gateways["vpce-s3"].identity.cloud_service == "S3"
    assert gateways["vpce-firewall"].kind is GatewayKind.GWLB_ENDPOINT
    assert gateways["tgw-1"].identity.cloud_account_id == "333333333333"
    assert gateways["tgw-attach-a"].interfaces == {"eni-tgw"}
    assert gateways["tgw-attach-egress"].identity.cloud_account_id == "444444444444"
    assert gateways["pcx-1"].kind is GatewayKind.VPC_PEERING


@pytest.mark.parametrize(
    ("destination", "kind", "gateway"),
    [
        ("10.0.9.9", GatewayKind.NONE, ""),
        ("93.184.216.34", GatewayKind.NAT_GATEWAY, "nat-1"),
        ("52.216.10.10", GatewayKind.GATEWAY_ENDPOINT, "vpce-s3"),
        ("52.94.0.1", GatewayKind.GATEWAY_ENDPOINT, "vpce-ddb"),  # list from published ranges
        ("172.30.1.1", GatewayKind.UNKNOWN, "vgw-1"),
        ("2001:db8::1", GatewayKind.EGRESS_ONLY_GATEWAY, "eigw-1"),
        ("10.9.3.3", GatewayKind.VPC_PEERING, "pcx-1"),
        ("10.77.0.1", GatewayKind.TRANSIT_GATEWAY, "tgw-1"),
        ("10.7.0.1", GatewayKind.TRANSIT_GATEWAY, "tgw-1"),  # static before propagated
        ("10.5.0.1", GatewayKind.BLACKHOLE, ""),
        ("203.0.113.9", GatewayKind.GWLB_ENDPOINT, "vpce-firewall"),
        ("198.51.100.9", GatewayKind.UNKNOWN, "eni-box"),
        ("192.0.2.9", GatewayKind.REGIONAL_NAT_GATEWAY, "nat-regional"),
    ],
)
def test_a_subnets_table_decides_the_way(resolution, destination, kind, gateway):
    pod = who(resolution, "10.0.1.11")
    found = route_from(resolution, pod, pack(destination), AT)
    assert (found.kind, found.gateway_id) == (kind, gateway)


def test_a_subnet_without_a_table_uses_the_main_one(resolution):
    for scope in ("subnet-b", "vpc-a"):
        found = route(resolution, scope, pack("93.184.216.34"), AT)
        assert (found.kind, found.gateway_id) == (GatewayKind.INTERNET_GATEWAY, "igw-1")


def test_a_transit_gateway_sends_each_attachment_by_its_own_table(resolution):
    ways = {
        address: route(resolution, "tgw-attach-a", pack(address), AT)
        for address in ("93.184.216.34", "192.168.1.1", "10.66.0.1")
    }
    assert [(one.kind, one.gateway_id) for one in ways.values()] == [
        (GatewayKind.TRANSIT_GATEWAY, "tgw-attach-egress"),
        (GatewayKind.VPN, "tgw-attach-vpn"),
        (GatewayKind.BLACKHOLE, ""),
    ]


def test_a_prefix_list_that_no_file_spells_out_is_reported(resolution):
    (finding,) = [one for one in resolution.findings if one.code == "unknown-prefix-list"]
    assert finding.sample == "pl-lost"


def test_a_transit_table_that_aws_cut_off_is_reported(tmp_path):
    world = json.loads(json.dumps(aws_world.WORLD))
    world["search-transit-gateway-routes/tgw-rtb-1"]["AdditionalRoutesAvailable"] = True
    findings = build(inventory.read(aws_world.write(tmp_path, world))).findings
    assert [one.sample for one in findings if one.code == "truncated-routes"] == ["tgw-rtb-1"]


@pytest.mark.parametrize(
    ("interface_type", "description", "kind", "service", "resource"),
    [
        ("interface", "ELB app/shop/50dc6c49", EndKind.APPLICATION_LB, "", "app/shop/50dc6c49"),
        ("network_load_balancer", "ELB net/n/1", EndKind.NETWORK_LB, "", "net/n/1"),
        ("interface", "ELB old-shop", EndKind.CLASSIC_LB, "", "old-shop"),
        ("interface", "RDSNetworkInterface", EndKind.MANAGED, "RDS", ""),
        ("interface", "ElastiCache cart-001", EndKind.MANAGED, "ELASTICACHE", "cart-001"),
        ("interface", "ElastiCache+cart-001", EndKind.MANAGED, "ELASTICACHE", "cart-001"),
        ("interface", "EFS mount target for fs-1 (fsmt-2)", EndKind.MANAGED, "EFS", "fs-1"),
        ("interface", "ES logs", EndKind.MANAGED, "OPENSEARCH", "logs"),
        ("interface", "RedshiftNetworkInterface", EndKind.MANAGED, "REDSHIFT", ""),
        ("interface", "DMSNetworkInterface", EndKind.MANAGED, "DMS", ""),
        ("interface", "Amazon EKS prod", EndKind.MANAGED, "EKS", "prod"),
        (
            "interface",
            "DO NOT DELETE - Amazon MSK network interface for cluster arn:aws:kafka:r:1:c/k.",
            EndKind.MANAGED,
            "MSK",
            "arn:aws:kafka:r:1:c/k",
        ),
        (
            "lambda",
            "AWS Lambda VPC ENI-thumbs-30bb1fd5-e726-4d80-9ff2-52fd62cd548c",
            EndKind.COMPUTE,
            "LAMBDA",
            "thumbs",
        ),
        (
            "interface",
            "arn:aws:ecs:us-east-1:1:attachment/9812f5e5",
            EndKind.COMPUTE,
            "ECS",
            "9812f5e5",
        ),
        ("branch", "aws-k8s-branch-eni", EndKind.COMPUTE, "", ""),
        ("quicksight", "", EndKind.MANAGED, "QUICKSIGHT", ""),
    ],
)
def test_managed_interfaces_are_known_by_type_and_description(
    interface_type, description, kind, service, resource
):
    found = role(interface_type, description, managed=True, attached=False)
    assert (found.kind, found.service, found.resource) == (kind, service, resource)


def test_a_description_an_operator_wrote_on_an_instance_decides_nothing():
    assert role("interface", "ELB lookalike", managed=False, attached=True).kind is EndKind.COMPUTE
    assert role("interface", "", managed=False, attached=False).kind is EndKind.COMPUTE


def test_a_file_that_is_not_its_command_names_itself_and_the_field(tmp_path):
    broken = dict(aws_world.WORLD)
    broken["describe-subnets"] = {"Subnets": [{"SubnetId": 7}]}
    with pytest.raises(InventoryError) as caught:
        inventory.read(aws_world.write(tmp_path, broken))
    assert "describe-subnets.json" in caught.value.message
    assert "$.Subnets[0].SubnetId" in caught.value.message


def test_a_bad_address_names_its_account_and_region(tmp_path):
    broken = {"describe-addresses": {"Addresses": [{"PublicIp": "3.80.0.999"}]}}
    with pytest.raises(InventoryError, match=r"111111111111/us-east-1.*3\.80\.0\.999"):
        inventory.read(aws_world.write(tmp_path, broken))


def test_files_that_nothing_reads_are_reported(tmp_path):
    directory = aws_world.write(tmp_path, {"describe-moons": {}, **aws_world.WORLD})
    findings = build(inventory.read(directory)).findings
    (finding,) = [one for one in findings if one.code == "unread-file"]
    assert finding.count == 1
    assert finding.sample.endswith("describe-moons.json")


# What is lost without each file; `describe-transit-gateway-route-tables` only lists the tables
# to search, and the two attachment files overlap.
ONLY_LISTS = {"describe-transit-gateway-route-tables"}


@pytest.mark.parametrize(
    "operation", [one.name for one in OPERATIONS if one.name not in ONLY_LISTS]
)
def test_every_operation_of_the_table_is_read(tmp_path, operation):
    """Breaking the file must be noticed, so it is read; leaving it out must not be an error."""
    names = [name for name in aws_world.WORLD if name.partition("/")[0] == operation]
    assert names, f"{operation} is not in the world of the tests"
    without = {name: one for name, one in aws_world.WORLD.items() if name not in names}
    inventory.read(aws_world.write(tmp_path / "without", without))
    directory = aws_world.write(tmp_path / "broken")
    for name in names:
        path = directory / "aws" / aws_world.ACCOUNT / aws_world.REGION / f"{name}.json"
        path.write_text(json.dumps([]))
    with pytest.raises(InventoryError, match=operation):
        inventory.read(directory)


def test_two_accounts_name_one_zone_differently_and_share_its_id(tmp_path):
    other = json.loads(json.dumps(aws_world.WORLD).replace("10.0.", "10.20."))
    subnets = other["describe-subnets"]["Subnets"]
    for subnet in subnets:
        subnet["AvailabilityZoneId"] = {"use1-az4": "use1-az6", "use1-az6": "use1-az4"}[
            subnet["AvailabilityZoneId"]
        ]
        subnet["OwnerId"] = "555555555555"
    only = {"describe-subnets": other["describe-subnets"]}
    aws_world.write(tmp_path)
    aws_world.write(tmp_path, only, account="555555555555")
    resolution = build(inventory.read(tmp_path))
    ours, theirs = who(resolution, "10.0.1.99"), who(resolution, "10.20.2.99")
    assert ours.cloud_availability_zone == theirs.cloud_availability_zone == "use1-az4"
    assert theirs.cloud_account_id == "555555555555"


def test_a_history_moves_an_address_from_one_instance_to_the_next(tmp_path):
    first = parse("2026-11-01")
    second = json.loads(json.dumps(aws_world.WORLD).replace("i-0abc", "i-0123"))
    for start, world in (
        (first, aws_world.WORLD),
        (first + timedelta(hours=1), second),
        (first + timedelta(hours=2), second),
        (first + timedelta(hours=3), {"describe-vpcs": aws_world.WORLD["describe-vpcs"]}),
    ):
        aws_world.write(tmp_path / start.isoformat(), world)
    resolution = build(inventory.read(tmp_path))
    seen = [
        lookup(resolution, pack("10.0.1.10"), first + timedelta(minutes=minute)).cloud_resource_id
        for minute in (-1, 0, 59, 60, 179, 180)
    ]
    assert seen == ["", "i-0abc", "i-0abc", "i-0123", "i-0123", ""]
    nat = [one for one in resolution.gateways if one.id == "nat-1"]
    assert [(one.valid_from, one.valid_to) for one in nat] == [(first, first + timedelta(hours=3))]
    way = [
        route(resolution, "subnet-a", pack("93.184.216.34"), first + timedelta(hours=hour))
        for hour in (-1, 0, 2, 3)
    ]
    assert [one and one.gateway_id for one in way] == [None, "nat-1", "nat-1", None]
