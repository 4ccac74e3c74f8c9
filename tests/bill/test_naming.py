"""FOCUS dialects: what a line meters, where there is no usage type."""

import csv
import json
from datetime import date
from decimal import Decimal

import duckdb
import pytest

from flowcost.bill import naming, read
from flowcost.bill.dialects import snake
from flowcost.money import GIB
from flowcost.usage_types import METERS


def words(**given):
    blank = dict.fromkeys(naming.Words.__struct_fields__, "")
    return naming.Words(**(blank | {"provider": "AWS"} | given))


# Wording of the public FOCUS sample bill of 2024-09.
@pytest.mark.parametrize(
    ("description", "region", "expected"),
    [
        ("$0.010 per GB - regional data transfer - in/out/between EC2 AZs or using ELB",
         "eu-west-1", ("EU-DataTransfer-Regional-Bytes", "bytes")),
        ("$0.090 per GB - first 10 TB / month data transfer out beyond the global free tier",
         "us-east-2", ("USE2-DataTransfer-Out-Bytes", "bytes")),
        ("$0.000 per GB - data transfer out under the monthly global free tier", "sa-east-1",
         ("SAE1-DataTransfer-Out-Bytes", "bytes")),
        ("$0.045 per GB Data Processed by NAT Gateways", "us-east-1",
         ("NatGateway-Bytes", "bytes")),
        ("$0.062 per NAT Gateway Hour", "ap-northeast-1", ("APN1-NatGateway-Hours", "hours")),
        ("$0.02 per GB - US West (Oregon) data transfer to EU (Germany)", "us-west-2",
         ("USW2-EUC1-AWS-Out-Bytes", "bytes")),
        ("$0.00 per GB - US East (Northern Virginia) data transfer from Asia Pacific (Singapore)",
         "us-east-1", ("USE1-APS1-AWS-In-Bytes", "bytes")),
        ("$0.005 per In-use public IPv4 address per hour", "us-east-1",
         ("USE1-PublicIPv4:InUseAddress", "hours")),
        ("$0.006 per used Network load balancer capacity unit-hour (or partial hour)",
         "eu-central-1", ("EUC1-LCUUsage", "lcu_hours")),
    ],
)  # fmt: skip
def test_aws_lines_without_usage_type_are_named_by_their_description(description, region, expected):
    found = naming.name(words(description=description, region=region, unit="GB"))
    assert (found.metered_as, found.counts) == expected


@pytest.mark.parametrize(
    "description", ["$0.10 per GB-month of data storage", "$0.096 per On Demand Linux m5.large"]
)
def test_other_lines_are_no_network_lines(description):
    assert naming.name(words(description=description, region="us-east-1", unit="GB-Mo")) is None


def test_every_booked_meter_passes_the_sieve():
    for meter in METERS:
        assert any(part in meter for part in naming.SIEVE), meter


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({"provider": "Microsoft", "usage_type": "Standard Data Transfer Out", "unit": "GB",
          "category": "Bandwidth"}, GIB),
        ({"provider": "Microsoft", "usage_type": "Standard Data Transfer Out", "unit": "100 GB",
          "category": "Bandwidth"}, GIB),
        ({"provider": "Microsoft", "usage_type": "Standard Data Transfer Out", "unit": "GB",
          "category": "Bandwidth - Routing Preference: Internet"}, 10**9),
        ({"provider": "Google Cloud", "unit": "gibibyte", "category": "Networking",
          "description": "Network Inter Zone Data Transfer Out"}, GIB),
        ({"provider": "Google Cloud", "unit": "bytes", "category": "Networking",
          "description": "Network Internet Data Transfer Out from Americas to China"}, 1),
    ],
)  # fmt: skip
def test_other_providers_bytes_are_counted_in_their_own_unit(given, size):
    found = naming.name(words(**given))
    assert (found.counts, found.unit_bytes) == ("bytes", size)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("lineItem/UsageType", "line_item_usage_type"),
        ("line_item_usage_type", "line_item_usage_type"),
        ("pricing/publicOnDemandCost", "pricing_public_on_demand_cost"),
        ("x_SkuMeterName", "x_sku_meter_name"),
        ("ChargePeriodStart", "charge_period_start"),
        ("\ufeffBilledCost", "billed_cost"),
        ("x_UsageType", "x_usage_type"),
    ],
)
def test_headers_of_every_export_fold_to_one_spelling(header, name):
    assert snake(header) == name


AZURE = {
    "BilledCost": "0.087", "BillingAccountId": "/providers/x/1", "BillingCurrency": "USD",
    "BillingPeriodStart": "2026-09-01T00:00Z", "ChargeCategory": "Usage",
    "ChargePeriodStart": "2026-09-04T00:00Z", "ChargePeriodEnd": "2026-09-05T00:00Z",
    "ConsumedQuantity": "1", "ConsumedUnit": "GB", "ContractedCost": "0.087",
    "ContractedUnitPrice": "0.087", "EffectiveCost": "0.087", "ListCost": "0.087",
    "ListUnitPrice": "0.087", "ProviderName": "Microsoft", "RegionId": "eastus",
    "ResourceId": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/vm/v",
    "ServiceCategory": "Networking", "SubAccountId": "/subscriptions/s",
    "x_SkuMeterCategory": "Bandwidth", "x_SkuMeterName": "Standard Data Transfer Out",
}  # fmt: skip
GOOGLE = {
    "BilledCost": "0.01", "BillingAccountId": "010101-F0FFF0-61C528", "BillingCurrency": "USD",
    "BillingPeriodStart": "2026-09-01 00:00:00 UTC", "ChargeCategory": "Usage",
    "ChargeDescription": "Network Inter Zone Data Transfer Out",
    "ChargePeriodStart": "2026-09-04 10:00:00 UTC", "ChargePeriodEnd": "2026-09-04 11:00:00 UTC",
    "ConsumedQuantity": "1073741824", "ConsumedUnit": "bytes", "ContractedCost": "0.01",
    "ListCost": "0.01", "ListUnitPrice": "0.01", "PricingQuantity": "1",
    "PricingUnit": "gibibyte", "ProviderName": "Google Cloud", "RegionId": "us-central1",
    "ResourceId": "//compute.googleapis.com/vm", "ServiceCategory": "Compute",
    "SkuId": "DE9E-AFBC-A15A", "SubAccountId": "project-1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "provider", "grain"), [(AZURE, "azure", "day"), (GOOGLE, "gcp", "hour")]
)
def test_other_clouds_focus_exports_are_read(row, provider, grain, tmp_path):
    path = tmp_path / "focus.csv"
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, row)
        writer.writeheader()
        writer.writerow(row)
    with duckdb.connect() as con:
        bill = read(con, [path])
        found = con.execute(
            "SELECT provider, grain, bytes, unit_price, billing_month FROM bill_lines"
        ).fetchall()
    price = Decimal(row.get("ContractedUnitPrice", row["ListUnitPrice"]))
    assert found == [(provider, grain, GIB, price, date(2026, 9, 1))]
    assert [one.code for one in bill.findings if one.severity != "info"] == []


def test_a_cost_explorer_answer_without_usage_types_says_how_to_ask(tmp_path):
    path = tmp_path / "ce.json"
    path.write_text(json.dumps({"GroupDefinitions": [{"Key": "SERVICE"}], "ResultsByTime": []}))
    with duckdb.connect() as con, pytest.raises(Exception, match="grouped by SERVICE"):
        read(con, [path])
