"""NetBox records from file, and the merge of overlapping VRFs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flowcost.address import pack
from flowcost.clock import parse
from flowcost.errors import InventoryError
from flowcost.resolve import inventory
from flowcost.resolve.lookup import lookup
from flowcost.resolve.timeline import build
from tests.resolve import aws_world

AT = parse("2026-11-15")


def prefix(cidr: str, **attributes) -> dict:
    """One prefix as /api/ipam/prefixes/ answers."""
    return {
        "id": 1,
        "url": "https://netbox.example.com/api/ipam/prefixes/1/",
        "family": {"value": 4, "label": "IPv4"},
        "prefix": cidr,
        "vrf": None,
        "tenant": None,
        "role": None,
        "scope_type": "dcim.site",
        "scope": {"id": 1, "name": "us-east", "slug": "us-east"},
        "status": {"value": "active", "label": "Active"},
        "custom_fields": {},
        "tags": [],
        **attributes,
    }


def address(text: str, **attributes) -> dict:
    """One address as /api/ipam/ip-addresses/ answers."""
    return {
        "id": 1,
        "address": text,
        "vrf": None,
        "tenant": None,
        "role": {"value": "vip", "label": "VIP"},
        "status": {"value": "active", "label": "Active"},
        "dns_name": "",
        "custom_fields": {},
        "tags": [],
        **attributes,
    }


TEAM = {"id": 1, "name": "Payments", "slug": "payments"}


def write(directory: Path, prefixes=(), addresses=(), *, pages: bool = True) -> Path:
    home = directory / "netbox"
    home.mkdir(parents=True, exist_ok=True)
    for name, records in (("prefixes", prefixes), ("ip-addresses", addresses)):
        page = {"count": len(records), "next": None, "previous": None, "results": list(records)}
        (home / f"{name}.json").write_text(json.dumps([page] if pages else list(records)))
    return directory


def who(directory: Path, text: str):
    return lookup(build(inventory.read(directory, published=False)), pack(text), AT)


@pytest.mark.parametrize("pages", [True, False])
def test_tenant_role_and_custom_fields_say_who_holds_a_block(tmp_path, pages):
    role = {"id": 3, "name": "Card gateway", "slug": "cards"}
    fields = {
        "aws_account": "222222222222",
        "az_id": "use1-az4",
        "stage": "prod",
        "ticket": 7,
        "k8s.namespace.name": "pay",
    }
    record = prefix("10.50.0.0/16", tenant=TEAM, role=role, custom_fields=fields)
    host = address("10.50.3.7/24", dns_name="vault.example.com", custom_fields={"team": "vault"})
    write(tmp_path, [record], [host], pages=pages)
    found = who(tmp_path, "10.50.9.9")
    assert (found.owner_team, found.service_name, found.stage) == ("payments", "cards", "prod")
    assert (found.cloud_account_id, found.cloud_availability_zone) == ("222222222222", "use1-az4")
    assert found.k8s_namespace_name == "pay"
    one = who(tmp_path, "10.50.3.7")
    assert (one.owner_team, one.dns_name, one.service_name) == (
        "vault",
        "vault.example.com",
        "cards",
    )


def test_the_longest_prefix_wins_and_deprecated_records_say_nothing(tmp_path):
    gone = {"value": "deprecated", "label": "Deprecated"}
    records = [
        prefix("10.0.0.0/8", custom_fields={"team": "wide"}),
        prefix("10.50.0.0/16", tenant=TEAM),
        prefix("10.50.1.0/24", custom_fields={"team": "old"}, status=gone),
    ]
    write(tmp_path, records)
    assert who(tmp_path, "10.50.1.1").owner_team == "payments"
    assert who(tmp_path, "10.51.1.1").owner_team == "wide"


def test_overlapping_vrfs_leave_a_block_unknown_unless_its_network_tells_them_apart(tmp_path):
    def vrf(name: str) -> dict:
        return {"id": 1, "name": name, "rd": None}

    records = [
        prefix("10.0.1.0/24", vrf=vrf("vpc-a"), custom_fields={"team": "a"}),
        prefix("10.0.1.0/24", vrf=vrf("vpc-b"), custom_fields={"team": "b"}),
        prefix("10.70.0.0/16", vrf=vrf("lab"), custom_fields={"team": "lab", "stage": "dev"}),
        prefix("10.70.0.0/16", vrf=vrf("office"), custom_fields={"team": "it", "stage": "dev"}),
    ]
    write(tmp_path, records)
    aws_world.write(tmp_path)
    assert who(tmp_path, "10.0.1.50").owner_team == "a"
    unclear = who(tmp_path, "10.70.1.1")
    assert (unclear.owner_team, unclear.stage) == ("", "dev")
    findings = build(inventory.read(tmp_path, published=False)).findings
    assert "contradicting-identities" in {one.code for one in findings}


@pytest.mark.parametrize("content", ["{", '{"results": [{"prefix": 7}]}', '"text"'])
def test_a_file_that_is_not_netboxs_is_named(tmp_path, content):
    (tmp_path / "netbox").mkdir()
    (tmp_path / "netbox" / "prefixes.json").write_text(content)
    with pytest.raises(InventoryError, match=r"netbox/prefixes\.json"):
        inventory.read(tmp_path)


def test_a_record_that_is_no_block_is_numbered(tmp_path):
    write(tmp_path, [prefix("10.0.0.0/8"), prefix("10.0.0.1/8")])
    with pytest.raises(InventoryError, match=r"record 2: '10\.0\.0\.1/8' has host bits set"):
        inventory.read(tmp_path)


def test_a_csv_export_is_read_by_label_or_by_name(tmp_path):
    home = tmp_path / "netbox"
    home.mkdir()
    (home / "prefixes.csv").write_text(
        "Prefix,Status,VRF,Tenant,Role,Scope,cf_aws_account,Description\n"
        '10.50.0.0/16,Active,Global,Payments,Cards,us-east,222222222222,"card, data"\n'
        "10.50.1.0/24,Deprecated,,Old,,,,\n"
    )
    (home / "ip-addresses.csv").write_text(
        "address,status,role,dns_name,team\n10.50.3.7/24,active,vip,vault.example.com,vault\n"
    )
    found = who(tmp_path, "10.50.1.1")
    assert (found.owner_team, found.service_name) == ("Payments", "Cards")
    assert found.cloud_account_id == "222222222222"
    host = who(tmp_path, "10.50.3.7")
    assert (host.owner_team, host.service_name, host.dns_name) == (
        "vault",
        "Cards",
        "vault.example.com",
    )
