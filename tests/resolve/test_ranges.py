"""The ranges that AWS publishes, packaged and newer."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from flowcost.address import pack
from flowcost.clock import parse
from flowcost.errors import InventoryError
from flowcost.model import EndKind
from flowcost.resolve import aws_ranges, inventory
from flowcost.resolve.lookup import lookup
from flowcost.resolve.timeline import build


@pytest.mark.parametrize(
    ("address", "kind", "service", "region"),
    [
        ("52.216.10.10", EndKind.SERVICE, "S3", "us-east-1"),
        ("52.94.0.1", EndKind.SERVICE, "DYNAMODB", "us-east-1"),
        ("52.54.61.135", EndKind.EC2_PUBLIC, "EC2", "us-east-1"),
        ("13.32.0.1", EndKind.CLOUDFRONT, "CLOUDFRONT", ""),
        ("75.2.0.1", EndKind.GLOBAL_ACCELERATOR, "GLOBALACCELERATOR", ""),
        ("3.4.12.4", EndKind.SERVICE, "AMAZON", "eu-west-1"),
        ("2600:1f18::1", EndKind.EC2_PUBLIC, "EC2", "us-east-1"),
        ("93.184.216.34", EndKind.UNKNOWN, "", ""),
    ],
)
def test_a_published_address_has_its_service_and_region(address, kind, service, region):
    resolution = build([aws_ranges.layer()])
    found = lookup(resolution, pack(address), parse("2026-11-15"))
    assert (found.kind, found.cloud_service, found.cloud_region) == (kind, service, region)
    assert found.cloud_account_id == ""


def test_every_published_prefix_is_kept_and_the_copy_is_small():
    assert len(aws_ranges.packaged_claims()) == 11013  # distinct blocks of 16,828 rows
    copies = [one for one in (files("flowcost.resolve") / "data").iterdir() if "csv" in one.name]
    assert sum(len(one.read_bytes()) for one in copies) < 200 * 1024


def ranges(created: str, *rows: tuple[str, str, str]) -> str:
    prefixes = [
        {"ip_prefix": prefix, "service": service, "region": region, "network_border_group": region}
        for prefix, service, region in rows
    ]
    return json.dumps(
        {"syncToken": "1", "createDate": created, "prefixes": prefixes, "ipv6_prefixes": []}
    )


def test_a_newer_copy_speaks_from_its_own_date(tmp_path):
    text = ranges("2026-11-01-00-00-00", ("52.216.0.0/15", "S3", "eu-west-1"))
    (tmp_path / "ip-ranges.json").write_text(text)
    resolution = build(inventory.read(tmp_path))
    regions = [
        lookup(resolution, pack("52.216.10.10"), parse(day)).cloud_region
        for day in ("2020-01-01", "2026-10-31T23:59:59", "2026-11-01", "2027-01-01")
    ]
    assert regions == ["us-east-1", "us-east-1", "eu-west-1", "eu-west-1"]


@pytest.mark.parametrize("listed", [("EC2", "AMAZON", "S3"), ("S3", "EC2", "AMAZON")])
def test_of_equal_blocks_the_named_service_wins(tmp_path, listed):
    rows = [("198.51.100.0/24", service, "us-east-1") for service in listed]
    (tmp_path / "ip-ranges.json").write_text(ranges("2026-11-01-00-00-00", *rows))
    found = lookup(build(inventory.read(tmp_path)), pack("198.51.100.1"), parse("2026-12-01"))
    assert found.cloud_service == "S3"


@pytest.mark.parametrize("text", ["{}", "[", ranges("yesterday")])
def test_a_file_that_is_no_ip_ranges_is_named(tmp_path, text):
    (tmp_path / "ip-ranges.json").write_text(text)
    with pytest.raises(InventoryError, match=r"ip-ranges\.json"):
        inventory.read(tmp_path)


def test_an_inventory_that_is_none_says_what_was_expected(tmp_path):
    with pytest.raises(InventoryError, match="no such inventory"):
        inventory.read(tmp_path / "gone")
    with pytest.raises(InventoryError, match="holds no inventory"):
        inventory.read(tmp_path)
    (tmp_path / "aws").mkdir()
    (tmp_path / "2026-11-01T00:00:00Z").mkdir()
    with pytest.raises(InventoryError, match="both a snapshot and a history"):
        inventory.read(tmp_path)


def test_a_declaration_beside_a_history_holds_always_and_a_single_file_is_an_inventory(tmp_path):
    declared = '[[network]]\ncidr = "10.0.0.0/8"\nowner.team = "net"\n'
    (tmp_path / "2026-11-01T00:00:00Z").mkdir()
    (tmp_path / "declared.toml").write_text(declared)
    for path in (tmp_path, tmp_path / "declared.toml"):
        found = lookup(build(inventory.read(path)), pack("10.1.1.1"), parse("2020-01-01"))
        assert found.owner_team == "net"
