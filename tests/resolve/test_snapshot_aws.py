"""`flowcost snapshot` against a live AWS API over HTTP (moto's server on loopback)."""

from __future__ import annotations

import json
import logging
import urllib.request

import pytest
from click.testing import CliRunner

from flowcost.address import pack
from flowcost.cli.snapshot import command
from flowcost.clock import now
from flowcost.errors import NotPermittedError, UsageError
from flowcost.model import EndKind, GatewayKind
from flowcost.resolve import inventory
from flowcost.resolve.aws_operations import OPERATIONS
from flowcost.resolve.aws_session import Session
from flowcost.resolve.lookup import lookup, route_from
from flowcost.resolve.timeline import build

boto3 = pytest.importorskip("boto3", reason="the extra aws is not installed")
moto = pytest.importorskip("moto.server", reason="moto is not installed")

REGION = "us-east-1"


@pytest.fixture(scope="module")
def endpoint():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


@pytest.fixture
def credentials(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture(scope="module")
def world(endpoint):
    """A VPC with a private subnet behind a NAT gateway, endpoints, a peer and a balancer."""
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    ec2 = boto3.client("ec2", endpoint_url=endpoint, region_name=REGION, **keys)
    elb = boto3.client("elbv2", endpoint_url=endpoint, region_name=REGION, **keys)
    vpc = ec2.create_vpc(CidrBlock="10.30.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.30.{number}.0/24", AvailabilityZone=zone)[
            "Subnet"
        ]["SubnetId"]
        for number, zone in ((1, "us-east-1a"), (2, "us-east-1b"))
    ]
    elastic = ec2.allocate_address(Domain="vpc")
    nat = ec2.create_nat_gateway(SubnetId=subnets[1], AllocationId=elastic["AllocationId"])
    nat = nat["NatGateway"]["NatGatewayId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(VpcId=vpc, InternetGatewayId=gateway)
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnets[0])
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat)
    s3 = ec2.create_vpc_endpoint(
        VpcId=vpc,
        ServiceName=f"com.amazonaws.{REGION}.s3",
        VpcEndpointType="Gateway",
        RouteTableIds=[table],
    )["VpcEndpoint"]["VpcEndpointId"]
    interface = ec2.create_network_interface(
        SubnetId=subnets[0],
        PrivateIpAddress="10.30.1.10",
        TagSpecifications=[
            {"ResourceType": "network-interface", "Tags": [{"Key": "team", "Value": "shop"}]}
        ],
    )["NetworkInterface"]["NetworkInterfaceId"]
    peer = ec2.create_vpc(CidrBlock="10.31.0.0/16")["Vpc"]["VpcId"]
    peering = ec2.create_vpc_peering_connection(VpcId=vpc, PeerVpcId=peer)
    peering = peering["VpcPeeringConnection"]["VpcPeeringConnectionId"]
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    ec2.create_route(
        RouteTableId=table, DestinationCidrBlock="10.31.0.0/16", VpcPeeringConnectionId=peering
    )
    offices = ec2.create_managed_prefix_list(
        PrefixListName="offices",
        MaxEntries=5,
        AddressFamily="IPv4",
        Entries=[{"Cidr": "172.30.0.0/16", "Description": "office"}],
    )["PrefixList"]["PrefixListId"]
    transit = ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    attachment = ec2.create_transit_gateway_vpc_attachment(
        TransitGatewayId=transit, VpcId=vpc, SubnetIds=subnets[:1]
    )["TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"]
    ec2.create_route(
        RouteTableId=table, DestinationCidrBlock="10.0.0.0/8", TransitGatewayId=transit
    )
    elb.create_load_balancer(Name="edge", Subnets=subnets, Type="application")
    ec2.close()
    elb.close()
    return {
        "vpc": vpc,
        "subnets": subnets,
        "nat": nat,
        "s3": s3,
        "interface": interface,
        "offices": offices,
        "peering": peering,
        "transit": transit,
        "attachment": attachment,
    }


def snapshot(endpoint: str, directory, *options: str):
    return CliRunner().invoke(
        command,
        [str(directory), "--aws", "--region", REGION, "--endpoint-url", endpoint, *options],
        catch_exceptions=False,
    )


def test_a_snapshot_of_a_live_account_is_an_inventory(endpoint, world, credentials, tmp_path):
    result = snapshot(endpoint, tmp_path / "inventory", "--format", "json")
    assert result.exit_code == 0, result.output
    account = "123456789012"
    home = tmp_path / "inventory" / "aws" / account / REGION
    plain = {f"{one.name}.json" for one in OPERATIONS if not one.each}
    assert plain <= {path.name for path in home.iterdir()}
    assert (home / "get-managed-prefix-list-entries" / f"{world['offices']}.json").exists()
    files = {row["file"]: row["count"] for row in json.loads(result.output)}
    assert files[f"aws/{account}/{REGION}/describe-nat-gateways.json"] == 1

    resolution = build(inventory.read(tmp_path / "inventory"))
    found = lookup(resolution, pack("10.30.1.10"), now())
    assert found.cloud_resource_id == world["interface"]
    assert found.cloud_subnet_id == world["subnets"][0]
    assert found.cloud_account_id == account
    assert found.cloud_availability_zone.startswith("use1-az")
    assert (found.kind, found.owner_team) == (EndKind.COMPUTE, "shop")
    beside = lookup(resolution, pack("10.30.2.77"), now())
    assert beside.cloud_availability_zone not in ("", found.cloud_availability_zone)
    ways = {
        text: route_from(resolution, found, pack(text), now())
        for text in ("93.184.216.34", "10.31.0.9", "10.99.0.9", "10.30.2.77")
    }
    assert [(way.kind, way.gateway_id) for way in ways.values()] == [
        (GatewayKind.NAT_GATEWAY, world["nat"]),
        (GatewayKind.VPC_PEERING, world["peering"]),
        (GatewayKind.TRANSIT_GATEWAY, world["transit"]),
        (GatewayKind.NONE, ""),
    ]
    gateways = {gateway.id: gateway for gateway in resolution.gateways}
    assert gateways[world["nat"]].identity.cloud_subnet_id == world["subnets"][1]
    assert gateways[world["s3"]].identity.cloud_service == "S3"
    assert gateways[world["attachment"]].identity.cloud_vpc_id == world["vpc"]


def test_a_snapshot_is_replaced_and_a_history_grows(endpoint, world, credentials, tmp_path):
    one, many = tmp_path / "one", tmp_path / "many"
    for _ in range(2):
        assert snapshot(endpoint, one).exit_code == 0
    assert snapshot(endpoint, many, "--history").exit_code == 0
    assert [path.name for path in one.iterdir()] == ["aws"]
    (moment,) = many.iterdir()
    assert moment.name.endswith("Z")
    assert (moment / "aws").is_dir()
    assert build(inventory.read(many)).hosts
    with pytest.raises(UsageError, match="holds a history"):
        snapshot(endpoint, many)
    with pytest.raises(UsageError, match="holds a snapshot"):
        snapshot(endpoint, one, "--history")


def test_all_regions_are_those_the_account_has_enabled(endpoint, credentials):
    with Session(endpoint_url=endpoint) as session:
        regions = session.regions(["all"])
        assert session.regions(["eu-west-1", "eu-west-1"]) == ["eu-west-1"]
        assert session.regions([]) == [REGION]
    assert REGION in regions
    assert len(regions) > 5


def test_refused_calls_are_all_named_and_nothing_is_left_behind(
    endpoint, credentials, monkeypatch, tmp_path
):
    """moto checks permissions once its own counter of free calls has run out."""
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    iam = boto3.client("iam", endpoint_url=endpoint, region_name=REGION, **keys)
    iam.create_user(UserName="reader")
    statement = {"Effect": "Allow", "Action": ["ec2:DescribeVpcs"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="reader", PolicyName="p", PolicyDocument=document)
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    iam.close()

    def after(count: bytes) -> None:
        request = urllib.request.Request(  # moto's own switch
            f"{endpoint}/moto-api/reset-auth",
            data=count,
            headers={"Content-Type": "text/plain"},
            method="POST",
        )
        urllib.request.urlopen(request, timeout=10).close()

    after(b"0")
    try:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        with pytest.raises(NotPermittedError) as caught:
            snapshot(endpoint, tmp_path / "inventory")
    finally:
        after(b"Infinity")
    assert "ec2:DescribeSubnets" in caught.value.message
    assert "elasticloadbalancing:DescribeLoadBalancers" in caught.value.message
    assert "ec2:DescribeVpcs" not in caught.value.message
    assert "--print-policy" in caught.value.hint
    assert list((tmp_path / "inventory").iterdir()) == []


def test_missing_credentials_are_named(endpoint, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(NotPermittedError, match=r"[Cc]redentials"):
        snapshot(endpoint, tmp_path / "inventory")
    with pytest.raises(NotPermittedError, match="nobody"):
        snapshot(endpoint, tmp_path / "inventory", "--profile", "nobody")


def test_the_policy_allows_every_call_and_no_other():
    result = CliRunner().invoke(command, ["--print-policy"])
    (statement,) = json.loads(result.output)["Statement"]
    assert set(statement["Action"]) == {one.permission for one in OPERATIONS} | {
        "ec2:DescribeRegions"
    }
    verbs = {action.partition(":")[2][:4] for action in statement["Action"]}
    assert verbs == {"Desc", "GetM", "Sear"}


def test_a_snapshot_of_nothing_is_refused(tmp_path):
    with pytest.raises(UsageError, match="nothing to read"):
        CliRunner().invoke(command, [str(tmp_path / "x")], catch_exceptions=False)
