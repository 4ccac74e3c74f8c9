"""The packaged AWS book: complete where it speaks, silent where nothing is known."""

from datetime import date
from decimal import Decimal

import pytest

from flowcost.price import NoRate, list_book, list_book_problems
from flowcost.usage_types import regions, usage_type

DAY = date(2026, 11, 20)
GIB = 2**30
COMMERCIAL = [region.code for region in regions("aws")]


def look(meter, region, *, operation="", to_region="", on=DAY):
    billed = usage_type(meter, region, to_region) if region != "global" else meter
    return list_book().lookup(
        provider="aws",
        usage_type=billed,
        operation=operation,
        region=region,
        to_region=to_region,
        on=on,
    )


def prices(*args, **kwargs):
    found = look(*args, **kwargs)
    assert not isinstance(found, NoRate), str(found)
    return [str(rate.price) for rate in found]


def test_the_packaged_book_has_no_fault():
    assert list_book_problems() == []


# Typed from the public pages, not from the files: a few of every family.
@pytest.mark.parametrize(
    ("meter", "region", "extra", "expected"),
    [
        ("DataTransfer-Regional-Bytes", "us-east-1", {"operation": "InterZone-Out"}, ["0.01"]),
        ("DataTransfer-Regional-Bytes", "ap-southeast-7", {"operation": "PublicIP-In"}, ["0.01"]),
        ("VpcPeering-In-Bytes", "eu-west-1", {"operation": "VPCPeering-In"}, ["0.01"]),
        ("DataTransfer-Out-Bytes", "us-east-1", {}, ["0.09", "0.085", "0.07", "0.05"]),
        (
            "DataTransfer-Out-Bytes",
            "us-east-1",
            {"operation": "NatGateway"},
            ["0.09", "0.085", "0.07", "0.05"],
        ),
        ("DataTransfer-Out-Bytes", "sa-east-1", {}, ["0.15", "0.138", "0.126", "0.114"]),
        ("DataTransfer-Out-Bytes", "af-south-1", {}, ["0.154", "0.147", "0.126", "0.112"]),
        ("DataTransfer-Out-Bytes", "ap-south-1", {}, ["0.1093", "0.085", "0.082", "0.08"]),
        ("Global-DataTransfer-Out-Bytes", "global", {}, ["0"]),
        ("DataTransfer-In-Bytes", "us-west-2", {"operation": "RunInstances"}, ["0"]),
        ("DataTransfer-xAZ-Out-Bytes", "us-east-1", {}, ["0"]),
        ("CloudFront-Out-Bytes", "us-east-1", {}, ["0"]),
        ("AWS-Out-Bytes", "us-east-1", {"to_region": "eu-west-1"}, ["0.02"]),
        ("AWS-Out-Bytes", "ap-southeast-2", {"to_region": "us-east-1"}, ["0.098"]),
        ("AWS-Out-Bytes", "af-south-1", {"to_region": "us-east-1"}, ["0.147"]),
        ("AWS-In-Bytes", "eu-west-1", {"to_region": "us-east-1"}, ["0"]),
        ("NatGateway-Hours", "us-east-1", {"operation": "NatGateway"}, ["0.045"]),
        ("NatGateway-Bytes", "sa-east-1", {"operation": "NatGateway"}, ["0.093"]),
        ("RegionalNatGateway-Bytes", "eu-west-1", {"operation": "RegionalNatGateway"}, ["0.048"]),
        ("TransitGateway-Bytes", "us-east-1", {"operation": "TransitGatewayVPC"}, ["0.02"]),
        ("TransitGateway-Hours", "us-east-1", {"operation": "TransitGatewayPeering"}, ["0.05"]),
        (
            "VpcEndpoint-Bytes",
            "us-east-1",
            {"operation": "VpcEndpoint"},
            ["0.01", "0.006", "0.004"],
        ),
        ("VpcEndpoint-GWLBE-Bytes", "us-east-1", {"operation": "VpcEndpoint"}, ["0.0035"]),
        ("PublicIPv4:InUseAddress", "us-east-1", {}, ["0.005"]),
        ("LCUUsage", "us-east-1", {"operation": "LoadBalancing:Network"}, ["0.006"]),
        ("LoadBalancerUsage", "eu-central-1", {"operation": "LoadBalancing"}, ["0.03"]),
        ("VPN-Usage-Hours:ipsec.1", "us-east-1", {"operation": "CreateVpnConnection"}, ["0.05"]),
    ],
)
def test_the_list_price_of_each_family(meter, region, extra, expected):
    assert prices(meter, region, **extra) == expected


def test_trap_2_tiers_end_at_powers_of_two_not_of_ten():
    tiers = look("DataTransfer-Out-Bytes", "us-east-1")
    assert [tier.tier_to for tier in tiers] == [10_240 * GIB, 51_200 * GIB, 153_600 * GIB, None]
    tiers = look("VpcEndpoint-Bytes", "us-east-1", operation="VpcEndpoint")
    assert [tier.tier_to for tier in tiers] == [1_048_576 * GIB, 5_242_880 * GIB, None]


def test_trap_1_a_gigabyte_is_2_to_the_30_bytes_everywhere():
    units = {rate.unit: rate.unit_bytes for _, rate in list_book().rates()}
    assert units == {"GB": GIB, "Hrs": 1, "LCU-Hrs": 1, "Gbps-hrs": 1}


def test_trap_20_rates_change_on_their_day():
    last, first = date(2024, 1, 31), date(2024, 2, 1)
    assert isinstance(look("PublicIPv4:InUseAddress", "us-east-1", on=last), NoRate)
    assert prices("PublicIPv4:InUseAddress", "us-east-1", on=first) == ["0.005"]
    assert isinstance(
        look(
            "RegionalNatGateway-Bytes",
            "us-east-1",
            operation="RegionalNatGateway",
            on=date(2025, 11, 18),
        ),
        NoRate,
    )
    assert isinstance(
        look("Global-DataTransfer-Out-Bytes", "global", on=date(2021, 11, 30)), NoRate
    )


def test_trap_19_peering_changes_its_usage_type_and_not_its_price_in_april_2025():
    old, new = date(2025, 3, 31), date(2025, 4, 1)
    regional = {"meter": "DataTransfer-Regional-Bytes", "region": "us-east-1"}
    peering = {"meter": "VpcPeering-Out-Bytes", "region": "us-east-1"}
    operation = {"operation": "VPCPeering-Out"}
    assert prices(**regional, **operation, on=old) == ["0.01"]
    assert isinstance(look(**regional, **operation, on=new), NoRate)
    assert isinstance(look(**peering, **operation, on=old), NoRate)
    assert prices(**peering, **operation, on=new) == ["0.01"]


def test_trap_49_direct_connect_is_priced_by_region_and_location():
    found = {
        region: prices("DataXfer-Out:dc.1", region, to_region="EqDC2")
        for region in ("us-east-1", "eu-west-1", "ap-east-1")
    }
    assert found == {"us-east-1": ["0.02"], "eu-west-1": ["0.0282"], "ap-east-1": ["0.09"]}
    assert isinstance(look("DataXfer-Out:dc.1", "us-east-1", to_region="EqSV5"), NoRate)


def test_trap_22_the_free_100_gigabytes_are_one_pool():
    (free,) = look("Global-DataTransfer-Out-Bytes", "global")
    assert (free.tier_from, free.tier_to, free.price) == (0, 100 * GIB, 0)


def test_trap_27_an_inter_region_rate_depends_on_the_source_save_for_the_two_us_east_regions():
    for source in COMMERCIAL:
        rates = {}
        for target in COMMERCIAL:
            if target != source:
                found = look("AWS-Out-Bytes", source, to_region=target)
                rates[target] = None if isinstance(found, NoRate) else found[0].price
        other = {"us-east-1": "us-east-2", "us-east-2": "us-east-1"}.get(source)
        if other:
            assert rates.pop(other) == Decimal("0.01")
        assert len(set(rates.values())) == 1, source


def test_every_commercial_region_prices_what_costs_the_same_everywhere():
    for region in COMMERCIAL:
        for operation in ("InterZone-In", "InterZone-Out", "PublicIP-In", "PublicIP-Out"):
            assert prices("DataTransfer-Regional-Bytes", region, operation=operation) == ["0.01"]
        assert prices("PublicIPv4:IdleAddress", region) == ["0.005"]
        assert prices("DataTransfer-In-Bytes", region) == ["0"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"meter": "DataTransfer-Out-Bytes", "region": "eu-south-2"}, "no rate is known"),
        ({"meter": "TransitGateway-Bytes", "region": "eu-west-1"}, "no rate is known"),
        ({"meter": "DataTransfer-Regional-Bytes", "region": "cn-north-1"}, "no rate is known"),
        ({"meter": "NatGateway-Bytes", "region": "xx-new-1"}, "no rate is known"),
        (
            {"meter": "NatGateway-Bytes", "region": "us-east-1", "operation": "Nat"},
            "operation 'Nat' has no rate; priced: NatGateway",
        ),
        (
            {"meter": "DataTransfer-Out-Bytes", "region": "us-east-1", "on": date(2015, 1, 1)},
            "its first rate holds from 2021-12-01",
        ),
        (
            {
                "meter": "DataTransfer-Regional-Bytes",
                "region": "us-east-1",
                "operation": "VPCPeering-In",
            },
            "its last rate held until 2025-04-01",
        ),
    ],
)
def test_a_missing_rate_is_a_value_with_its_reason_and_never_zero(arguments, reason):
    found = look(**arguments)
    assert isinstance(found, NoRate)
    assert reason in str(found)


def test_another_cloud_is_not_priced_by_this_one():
    found = list_book().lookup(provider="gcp", usage_type="x", region="us-east-1", on=DAY)
    assert isinstance(found, NoRate)
    assert found.reason == "no rate book covers this provider"


def test_every_row_names_a_public_source_and_a_day_of_check():
    for _, rate in list_book().rates():
        assert rate.source_url.startswith("https://")
        assert date(2020, 1, 1) <= rate.checked_on <= DAY
