"""Usage types: billing codes are a table, not a rule."""

import pytest

from flowcost.usage_types import (
    METERS,
    UsageType,
    parse,
    region_of_az,
    region_of_prefix,
    regions,
    usage_type,
)

PAIRS = ("AWS-Out-Bytes", "AWS-In-Bytes")


def test_trap_9_the_az_prefix_aps1_is_mumbai_and_the_billing_code_aps1_is_singapore():
    assert region_of_az("aps1-az1") == "ap-south-1"
    assert region_of_prefix("APS1") == "ap-southeast-1"
    assert usage_type("NatGateway-Bytes", "ap-south-1") == "APS3-NatGateway-Bytes"
    assert usage_type("NatGateway-Bytes", "ap-southeast-1") == "APS1-NatGateway-Bytes"


@pytest.mark.parametrize(
    ("meter", "region", "expected"),
    [
        ("DataTransfer-Regional-Bytes", "us-east-1", "DataTransfer-Regional-Bytes"),
        ("NatGateway-Bytes", "us-east-1", "NatGateway-Bytes"),
        ("RegionalNatGateway-Hours", "us-east-1", "RegionalNatGateway-Hours"),
        ("RegionalNatGateway-Bytes", "us-east-1", "USE1-RegionalNatGateway-Bytes"),
        ("VpcEndpoint-Bytes", "us-east-1", "USE1-VpcEndpoint-Bytes"),
        ("TransitGateway-Bytes", "us-east-1", "USE1-TransitGateway-Bytes"),
        ("PublicIPv4:InUseAddress", "us-east-1", "USE1-PublicIPv4:InUseAddress"),
        ("DataTransfer-xAZ-Out-Bytes", "us-east-1", "USE1-DataTransfer-xAZ-Out-Bytes"),
        ("DataTransfer-Regional-Bytes", "eu-west-1", "EU-DataTransfer-Regional-Bytes"),
        ("DataTransfer-Regional-Bytes", "eu-west-2", "EUW2-DataTransfer-Regional-Bytes"),
        ("DataTransfer-Regional-Bytes", "ap-southeast-3", "APS4-DataTransfer-Regional-Bytes"),
        ("DataTransfer-Regional-Bytes", "ca-west-1", "CAN2-DataTransfer-Regional-Bytes"),
        ("Global-DataTransfer-Out-Bytes", "sa-east-1", "Global-DataTransfer-Out-Bytes"),
    ],
)
def test_trap_10_a_prefix_is_looked_up_never_derived_from_the_region_code(meter, region, expected):
    assert usage_type(meter, region) == expected


def test_trap_10_a_bill_may_spell_ireland_both_ways():
    assert parse("EU-NatGateway-Bytes") == parse("EUW1-NatGateway-Bytes")
    assert parse("NatGateway-Bytes") == parse("USE1-NatGateway-Bytes")


def test_trap_11_nat_gateway_bytes_is_a_whole_name_not_a_substring():
    assert parse("NatGateway-Bytes") == UsageType("NatGateway-Bytes", "us-east-1")
    assert parse("USE1-RegionalNatGateway-Bytes").meter == "RegionalNatGateway-Bytes"
    assert parse("NatGateway-Prvd-Bytes").meter == "NatGateway-Prvd-Bytes"


def test_an_inter_region_meter_names_the_observed_end_first():
    assert usage_type("AWS-Out-Bytes", "us-east-1", "eu-west-1") == "USE1-EU-AWS-Out-Bytes"
    assert usage_type("AWS-In-Bytes", "eu-west-1", "us-east-1") == "EU-USE1-AWS-In-Bytes"
    assert parse("EU-AWS-Out-Bytes") == UsageType("AWS-Out-Bytes", "", "eu-west-1")


@pytest.mark.parametrize("meter", METERS)
def test_every_meter_reads_back_in_every_region(meter):
    for region in regions():
        if meter in PAIRS:
            other = "us-west-2" if region.code != "us-west-2" else "us-east-1"
            text = usage_type(meter, region.code, other)
            assert parse(text) == UsageType(meter, region.code, other)
        elif meter.startswith("DataXfer-"):
            assert parse(usage_type(meter, region.code, "EqDC2")) == UsageType(meter, "", "EqDC2")
        elif meter.startswith("Global-"):
            assert parse(usage_type(meter, region.code)) == UsageType(meter, "")
        else:
            assert parse(usage_type(meter, region.code)) == UsageType(meter, region.code)


def test_no_two_regions_share_a_billing_code_or_an_az_prefix():
    table = regions()
    prefixes = [row.prefix for row in table]
    az_prefixes = [row.az_id_prefix for row in table if row.az_id_prefix]
    assert len(set(prefixes)) == len(prefixes) == 38
    assert len(set(az_prefixes)) == len(az_prefixes)


def test_a_local_zone_belongs_to_its_parent_region():
    assert region_of_az("usw2-lax1-az1") == "us-west-2"


def test_what_is_not_known_stays_visible_and_is_never_a_guess():
    assert region_of_az("zzz9-az1") == ""
    assert region_of_prefix("ZZZ9") == ""
    assert region_of_az("") == ""
    assert usage_type("NatGateway-Bytes", "xx-new-1") == "xx-new-1-NatGateway-Bytes"
    assert usage_type("NatGateway-Bytes", "") == "?-NatGateway-Bytes"
    assert parse("BoxUsage:m5.large") is None
    assert parse("ZZZ9-NatGateway-Bytes") is None
    assert parse("AWS-Out-Bytes") is None
    assert parse("VpcEndpoint-Bytes") is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("NatGateway", "us-east-1"), "unknown meter"),
        (("AWS-Out-Bytes", "us-east-1"), "needs second region"),
        (("NatGateway-Bytes", "us-east-1", "eu-west-1"), "has no second region"),
    ],
)
def test_a_meter_that_does_not_exist_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        usage_type(*arguments)
