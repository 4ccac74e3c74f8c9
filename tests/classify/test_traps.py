"""The traps of billing, one named test each; `docs/traps.md` tells the stories.

These are the ones a classifier or a calculator falls into. A test states the facts of one
transmission and checks which lines fire, at whose end, and what a GiB of it costs.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import msgspec
import pytest

from flowcost.classify import assemble, classify, mirror
from flowcost.classify.facts import Way
from flowcost.model import (
    Confidence,
    Direction,
    EndKind,
    Facts,
    GatewayKind,
    Identity,
    Meter,
    Path,
    Position,
    VpcRelation,
)
from flowcost.price import NoRate, list_book
from flowcost.price.tiers import marginal

TODAY = date(2026, 11, 2)
OUT, IN = Direction.TRANSMIT, Direction.RECEIVE


def flow(direction: Direction = OUT, **facts) -> Facts:
    """One VPC of us-east-1, client in zone 1, peer in zone 1, private addresses."""
    usual = {
        "provider": "aws",
        "direction": direction,
        "local_region": "us-east-1",
        "local_az": "use1-az1",
        "remote_kind": EndKind.COMPUTE,
        "remote_region": "us-east-1",
        "remote_az": "use1-az1",
        "vpc": VpcRelation.SAME,
    }
    return Facts(**(usual | facts))


def public(kind: EndKind, direction: Direction = OUT, region: str = "us-east-1", **facts) -> Facts:
    """Through the internet gateway, to a public address of `kind`."""
    ends = {"remote_kind": kind, "remote_region": region, "remote_public": True}
    way = {"gateway": GatewayKind.INTERNET_GATEWAY, "vpc": VpcRelation.UNKNOWN}
    return flow(direction, **(ends | way | facts))


def nat(kind: EndKind, direction: Direction = OUT, region: str = "", **facts) -> Facts:
    """Through a NAT gateway in the client's zone, to a public address of `kind`."""
    device = {
        "gateway": GatewayKind.NAT_GATEWAY,
        "gateway_region": "us-east-1",
        "gateway_az": "use1-az1",
    }
    return public(kind, direction, region, **(device | facts))


def through(gateway: GatewayKind, direction: Direction = OUT, **facts) -> Facts:
    return flow(direction, **({"gateway": gateway, "vpc": VpcRelation.OTHER} | facts))


def lines(facts: Facts, on: date = TODAY) -> list[str]:
    """Return `usage type:operation@position` of every meter that fires."""
    return [f"{one.usage_type}:{one.operation}@{one.at}" for one in meters(facts, on)]


def meters(facts: Facts, on: date = TODAY) -> tuple[Meter, ...]:
    return classify(facts, on).meters


def dollars(facts: Facts, on: date = TODAY) -> Decimal:
    """Return what a GiB costs at the marginal rate, all lines of this end and its gateway."""
    total = Decimal(0)
    for one in meters(facts, on):
        rates = list_book().rates_of("aws", one, on)
        assert not isinstance(rates, NoRate), rates
        total += marginal(rates).price
    return total


def account(facts: Facts, on: date = TODAY) -> Decimal:
    """Return what a GiB costs with the far end's lines, where it is ours."""
    far = mirror(facts)
    return dollars(facts, on) + (dollars(far, on) if far else Decimal(0))


CROSSING = {"remote_az": "use1-az2"}


def test_trap_3_a_zone_crossing_is_a_cent_at_each_end_for_its_own_account():
    sent = flow(**CROSSING)
    assert lines(sent) == ["DataTransfer-Regional-Bytes:InterZone-Out@local"]
    assert lines(mirror(sent)) == ["DataTransfer-Regional-Bytes:InterZone-In@local"]
    assert (dollars(sent), account(sent)) == (Decimal("0.01"), Decimal("0.02"))


def test_trap_4_one_direction_says_nothing_about_the_other():
    sent, received = flow(OUT, **CROSSING), flow(IN, **CROSSING)
    assert len(lines(sent)) == len(lines(received)) == 1
    assert lines(received) == ["DataTransfer-Regional-Bytes:InterZone-In@local"]


@pytest.mark.parametrize("direction", [OUT, IN])
def test_trap_5_a_managed_services_own_side_is_free(direction):
    client = flow(direction, remote_kind=EndKind.MANAGED, **CROSSING)
    assert dollars(client) == Decimal("0.01")
    assert dollars(mirror(client)) == 0
    assert account(client) == Decimal("0.01")


@pytest.mark.parametrize("direction", [OUT, IN])
def test_trap_6_public_addresses_cost_a_cent_inside_one_zone(direction):
    by_elastic_ip = public(EndKind.COMPUTE, direction)
    assert by_elastic_ip.local_az == by_elastic_ip.remote_az
    assert dollars(by_elastic_ip) == Decimal("0.01")
    assert account(by_elastic_ip) == Decimal("0.02")


def test_trap_7_a_public_address_is_not_yet_the_internet():
    paths = {
        kind: classify(public(kind, region=region), TODAY).path
        for kind, region in (
            (EndKind.EC2_PUBLIC, "us-east-1"),
            (EndKind.SERVICE, "eu-west-1"),
            (EndKind.INTERNET, ""),
        )
    }
    assert list(paths.values()) == [Path.CROSS_AZ, Path.CROSS_REGION, Path.INTERNET_EGRESS]


def test_trap_8_only_service_prefixes_of_the_own_region_are_free():
    assert dollars(public(EndKind.SERVICE)) == 0
    assert dollars(public(EndKind.SERVICE, region="eu-west-1")) == Decimal("0.02")
    assert dollars(public(EndKind.EC2_PUBLIC)) == Decimal("0.01")
    assert classify(public(EndKind.GLOBAL_ACCELERATOR, region=""), TODAY).priced is False


def test_trap_9_zones_are_compared_by_id_and_their_prefix_is_no_billing_code():
    mumbai = {"local_region": "ap-south-1", "remote_region": "ap-south-1"}
    apart = flow(local_az="aps1-az1", remote_az="aps1-az2", **mumbai)
    assert lines(apart) == ["APS3-DataTransfer-Regional-Bytes:InterZone-Out@local"]
    singapore = msgspec.structs.replace(
        apart, local_region="ap-southeast-1", remote_region="ap-southeast-1"
    )
    assert lines(singapore) == ["APS1-DataTransfer-Regional-Bytes:InterZone-Out@local"]


@pytest.mark.parametrize(
    ("region", "egress", "endpoint"),
    [
        ("us-east-1", "DataTransfer-Out-Bytes", "USE1-VpcEndpoint-Bytes"),
        ("eu-west-1", "EU-DataTransfer-Out-Bytes", "EU-VpcEndpoint-Bytes"),
        ("eu-west-2", "EUW2-DataTransfer-Out-Bytes", "EUW2-VpcEndpoint-Bytes"),
        ("ap-southeast-3", "APS4-DataTransfer-Out-Bytes", "APS4-VpcEndpoint-Bytes"),
        ("ca-west-1", "CAN2-DataTransfer-Out-Bytes", "CAN2-VpcEndpoint-Bytes"),
    ],
)
def test_trap_10_the_prefix_of_a_usage_type_comes_from_a_table(region, egress, endpoint):
    out = public(EndKind.INTERNET, region="", local_region=region)
    inside = through(GatewayKind.INTERFACE_ENDPOINT, local_region=region, gateway_region=region)
    assert [meters(out)[0].usage_type, meters(inside)[0].usage_type] == [egress, endpoint]


def test_trap_11_the_three_kinds_of_nat_bytes_are_three_meters():
    regional = nat(EndKind.INTERNET, gateway=GatewayKind.REGIONAL_NAT_GATEWAY)
    assert meters(regional)[0].usage_type == "USE1-RegionalNatGateway-Bytes"
    assert meters(nat(EndKind.INTERNET))[0].usage_type == "NatGateway-Bytes"
    provisioned = list_book().lookup(
        provider="aws", usage_type="NatGateway-Prvd-Bytes", operation="NatGateway",
        region="us-east-1", on=TODAY,
    )  # fmt: skip
    assert [rate.price for rate in provisioned] == [0]


def test_trap_12_a_nat_gateway_processes_both_directions_and_egress_comes_on_top():
    assert dollars(nat(EndKind.INTERNET, OUT)) == Decimal("0.135")
    assert dollars(nat(EndKind.INTERNET, IN)) == Decimal("0.045")


def test_trap_13_services_of_the_region_through_nat_pay_processing_and_no_egress():
    assert dollars(nat(EndKind.SERVICE, OUT, "us-east-1")) == Decimal("0.045")
    assert dollars(nat(EndKind.SERVICE, IN, "us-east-1")) == Decimal("0.045")


def test_trap_14_egress_through_nat_is_the_gateways_line_not_the_instances():
    assert lines(nat(EndKind.INTERNET)) == [
        "NatGateway-Bytes:NatGateway@gateway",
        "DataTransfer-Out-Bytes:NatGateway@gateway",
    ]


def test_trap_15_the_gateway_is_an_end_of_its_own_when_a_zone_is_crossed():
    away = nat(EndKind.INTERNET, gateway_az="use1-az2")
    assert [line for line in lines(away) if "InterZone" in line] == [
        "DataTransfer-Regional-Bytes:InterZone-Out@local",
        "DataTransfer-Regional-Bytes:InterZone-In@gateway",
    ]
    assert dollars(away) == Decimal("0.155")
    assert dollars(msgspec.structs.replace(away, direction=IN)) == Decimal("0.065")


def test_trap_16_a_regional_gateway_is_in_every_zone_of_its_clients():
    regional = nat(
        EndKind.INTERNET, gateway=GatewayKind.REGIONAL_NAT_GATEWAY, gateway_az="use1-az2"
    )
    assert not any("InterZone" in line for line in lines(regional))


def test_trap_17_a_transit_gateway_charges_the_sender_alone():
    sent, received = through(GatewayKind.TRANSIT_GATEWAY), through(GatewayKind.TRANSIT_GATEWAY, IN)
    assert (dollars(sent), lines(received)) == (Decimal("0.02"), [])
    assert lines(mirror(received)) == ["USE1-TransitGateway-Bytes:TransitGatewayVPC@local"]
    abroad = through(GatewayKind.TRANSIT_GATEWAY, remote_region="eu-west-1", remote_az="euw1-az1")
    assert dollars(abroad) == Decimal("0.04")
    assert dollars(mirror(abroad)) == 0


@pytest.mark.parametrize("gateway", [GatewayKind.TRANSIT_GATEWAY, GatewayKind.INTERFACE_ENDPOINT])
def test_trap_18_crossing_zones_to_a_device_is_free_since_april_2022(gateway):
    facts = through(gateway, gateway_region="us-east-1", gateway_az="use1-az2")
    before, since = (
        [line for line in lines(facts, day) if "InterZone" in line]
        for day in (date(2022, 3, 31), date(2022, 4, 1))
    )
    assert (len(before), since) == (1, [])


def test_trap_19_peering_inside_a_zone_is_free_and_across_zones_has_its_own_meters():
    near, away = through(GatewayKind.VPC_PEERING), through(GatewayKind.VPC_PEERING, **CROSSING)
    assert lines(near) == []
    assert lines(near, date(2021, 4, 30)) == ["DataTransfer-Regional-Bytes:VPCPeering-Out@local"]
    assert lines(away, date(2025, 3, 31)) == ["DataTransfer-Regional-Bytes:VPCPeering-Out@local"]
    assert lines(away, date(2025, 4, 1)) == ["USE1-VpcPeering-Out-Bytes:VPCPeering-Out@local"]


def test_trap_20_an_old_month_is_priced_by_the_rules_of_that_month():
    near = through(GatewayKind.VPC_PEERING)
    rules = [classify(near, day).rule for day in (date(2021, 4, 30), date(2021, 5, 1))]
    assert rules == ["aws.vpc_peering", "aws.vpc_peering.same_zone"]
    assert [account(near, day) for day in (date(2021, 4, 30), date(2021, 5, 1))] == [
        Decimal("0.02"),
        0,
    ]


def test_trap_25_bytes_from_the_internet_are_free_and_still_processed():
    assert dollars(public(EndKind.INTERNET, IN, "")) == 0
    assert dollars(nat(EndKind.INTERNET, IN)) == Decimal("0.045")
    balancer = public(EndKind.INTERNET, IN, "", local_kind=EndKind.CLASSIC_LB)
    assert dollars(balancer) == Decimal("0.008")


def test_trap_26_between_regions_only_the_source_pays_and_the_arriving_line_is_zero():
    sent = through(GatewayKind.VPC_PEERING, remote_region="eu-west-1", remote_az="euw1-az1")
    assert lines(sent) == ["USE1-EU-AWS-Out-Bytes:VPCPeering-Out@local"]
    assert lines(mirror(sent)) == ["EU-USE1-AWS-In-Bytes:VPCPeering-In@local"]
    assert (dollars(sent), dollars(mirror(sent))) == (Decimal("0.02"), 0)


@pytest.mark.parametrize(
    ("source", "destination", "price"),
    [
        ("us-east-1", "us-east-2", "0.01"),
        ("us-east-1", "ap-south-1", "0.02"),
        ("ap-south-1", "us-east-1", "0.086"),
        ("sa-east-1", "us-east-1", "0.138"),
    ],
)
def test_trap_27_the_source_sets_the_price_save_for_one_pair(source, destination, price):
    sent = through(GatewayKind.VPC_PEERING, local_region=source, remote_region=destination)
    assert dollars(sent) == Decimal(price)


def test_trap_28_answers_are_charged_to_whoever_sends_them():
    download = public(EndKind.SERVICE, IN, "eu-west-1")
    assert lines(download) == ["USE1-EU-AWS-In-Bytes:PublicIP-In@local"]
    assert dollars(download) == 0


@pytest.mark.parametrize(
    ("kind", "price"),
    [
        (EndKind.APPLICATION_LB, 0),
        (EndKind.CLASSIC_LB, 0),
        (EndKind.NETWORK_LB, Decimal("0.02")),
        (EndKind.COMPUTE, Decimal("0.02")),
    ],
)
def test_trap_29_who_balances_decides_whether_crossing_to_a_target_costs(kind, price):
    from_balancer = flow(local_kind=kind, **CROSSING)
    assert account(from_balancer) == price


def test_trap_33_the_providers_own_link_local_services_are_free():
    verdict = classify(flow(remote_kind=EndKind.INFRASTRUCTURE, remote_region=""), TODAY)
    assert (verdict.path, verdict.meters, verdict.priced) == (Path.CLOUD_INFRA, (), True)


def test_trap_36_pods_of_one_node_never_reach_a_meter():
    assert account(flow(same_node=True, **CROSSING)) == 0


def test_trap_41_transfer_stands_under_the_service_that_faces_the_internet():
    balancer = public(EndKind.INTERNET, OUT, "", local_kind=EndKind.APPLICATION_LB)
    assert lines(balancer) == ["DataTransfer-Out-Bytes:LoadBalancing@local"]
    assert lines(nat(EndKind.INTERNET))[-1] == "DataTransfer-Out-Bytes:NatGateway@gateway"


def test_trap_43_the_zero_lines_of_a_managed_service_have_a_meter_of_their_own():
    service = flow(IN, local_kind=EndKind.MANAGED, **CROSSING)
    assert lines(service) == ["USE1-DataTransfer-xAZ-In-Bytes:@local"]
    assert dollars(service) == 0


def test_trap_47_a_gateways_lines_go_with_the_gateway_and_its_sender_pays_the_transit():
    central = nat(EndKind.INTERNET, gateway_vpc=VpcRelation.OTHER)
    assert {one.usage_type: one.at for one in meters(central)} == {
        "USE1-TransitGateway-Bytes": Position.LOCAL,
        "NatGateway-Bytes": Position.GATEWAY,
        "DataTransfer-Out-Bytes": Position.GATEWAY,
    }
    back = {
        one.usage_type: one.at for one in meters(msgspec.structs.replace(central, direction=IN))
    }
    assert back["USE1-TransitGateway-Bytes"] is Position.GATEWAY


def test_trap_48_an_origin_pays_nothing_towards_cloudfront():
    assert lines(public(EndKind.CLOUDFRONT, OUT, "")) == ["USE1-CloudFront-Out-Bytes:@local"]
    assert dollars(public(EndKind.CLOUDFRONT, OUT, "")) == 0
    assert lines(public(EndKind.CLOUDFRONT, IN, "")) == []


def test_trap_49_direct_connect_is_priced_by_region_and_location():
    def out(region: str) -> Facts:
        return through(GatewayKind.DIRECT_CONNECT, local_region=region, gateway_region="EqDC2",
                       remote_kind=EndKind.ON_PREMISES, remote_region="")  # fmt: skip

    assert [dollars(out(region)) for region in ("us-east-1", "eu-west-1", "ap-east-1")] == [
        Decimal("0.02"),
        Decimal("0.0282"),
        Decimal("0.09"),
    ]


def test_trap_55_a_virtual_address_has_no_zone_and_is_never_taken_for_the_same():
    pod = Identity(
        cloud_provider="aws", cloud_region="us-east-1", cloud_availability_zone="use1-az1"
    )
    dialed = assemble(local=pod, remote=Identity(), direction=OUT, way=Way())
    verdict = classify(dialed, TODAY)
    assert (verdict.priced, verdict.meters) == (False, ())
    backend = msgspec.structs.replace(pod, cloud_availability_zone="use1-az2")
    resolved = classify(assemble(local=pod, remote=backend, direction=OUT, way=Way()), TODAY)
    assert (resolved.path, resolved.confidence) == (Path.CROSS_AZ, Confidence.ASSUMED)
