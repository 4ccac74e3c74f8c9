"""The oracle itself against figures worked out by hand from AWS's public pages."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "src" / "flowcost" / "scenarios"

# scenario -> dollars that a sensor at the observing end sees, dollars of the account's bill
FIGURES = {
    # one GiB, or what the title says, over each billing path
    "cart-checkout": ("0.02", "0.02"),
    "cloud-service-public": ("0", "0"),
    "cross-az": ("0.01", "0.02"),
    "cross-region": ("0.01", "0.02"),
    "internet-egress": ("0.45", "0.45"),
    "internet-egress-single-meter": ("4.5", "4.5"),
    "intra-node": ("0", "0"),
    "mesh-sidecar": ("0", "0"),
    "nat-gateway-route": ("0.27", "0.27"),
    "nat-gateway": ("0.27", "0.27"),
    "same-zone": ("0", "0"),
    "transit-gateway": ("0.01", "0.02"),
    "transitive-attribution": ("5", "10"),
    "vpc-endpoint": ("0", "0"),
    "vpc-endpoint-interface": ("0.01", "0.01"),
    "vpc-peering-rfc1918": ("0.01", "0.02"),
    "vpc-peering": ("0", "0"),
    # compound paths, a GiB each way: 0.135 + 0.045, with 0.02 per way for another zone
    "nat-other-az-internet": ("0.2", "0.22"),
    "nat-other-az-seen-by-agent": ("0.2", "0.22"),
    "nat-s3-same-region": ("0.09", "0.09"),
    "nat-s3-other-region": ("0.11", "0.11"),
    "tgw-egress-vpc-nat-internet": ("0.22", "0.22"),
    "tgw-egress-vpc-two-sensors": ("0.22", "0.22"),
    "tgw-peering-other-region": ("0.04", "0.04"),
    "rds-cross-az": ("0.02", "0.02"),
    "alb-cross-zone": ("0", "0"),
    # months of egress through the tiers, the first 100 GiB free
    "internet-tiers-1024": ("83.16", "83.16"),
    "internet-tiers-10240": ("912.6", "912.6"),
    "internet-tiers-20480": ("1783", "1783"),
    "internet-tiers-61440": ("5111", "5111"),
    "internet-tiers-200000": ("13882.2", "13882.2"),
    # tables worked by hand elsewhere
    "nat-file-c7": ("0.36", "0.36"),
    "summary-table": ("0.38", "0.48"),
    "kafka-replication": ("0.04", "0.04"),
    "internet-ingress": ("0.45", "0.45"),
    "s3-through-nat": ("253.395", "253.395"),
    "s3-through-gateway-endpoint": ("0", "0"),
    "one-byte": ("0.00000000000931322574615478515625", "0.0000000000186264514923095703125"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_scenario_expects_the_published_figure(name):
    total = tomllib.loads((FOLDER / name / "expected.toml").read_text())["total"]
    assert (total["observed_cost"], total["account_cost"]) == FIGURES[name]
