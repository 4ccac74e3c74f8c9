"""`flowcost demo` computes the headline and a row per billing path with the real pipeline."""

import json
import re
import subprocess
import sys
from decimal import Decimal

import pytest
from click.testing import CliRunner

from flowcost.cli import COMMANDS, main

NINE = {
    "same_zone",
    "cross_az",
    "cross_region",
    "nat_gateway",
    "internet_egress",
    "vpc_peering",
    "transit_gateway",
    "vpc_endpoint",
    "cloud_service_public",
}
# Bytes and dollars of the nine paths: the account's bill, and the two literal profiles.
GIB = 1 << 30
EXPECTED = {
    "same_zone": (GIB, "0", "0", "0"),
    "cross_az": (GIB, "0.02", "0.01", "0.01"),
    "cross_region": (GIB, "0.02", "0.02", "0.01"),
    "nat_gateway": (2 * GIB, "0.27", "0.09", "0.27"),
    "internet_egress": (5 * GIB, "0.45", "0.36", "0.45"),
    "vpc_peering": (GIB, "0.02", "0.01", "0.01"),
    "transit_gateway": (GIB, "0.02", "0.02", "0.01"),
    "vpc_endpoint": (GIB, "0", "0.01", "0.01"),
    "cloud_service_public": (GIB, "0", "0", "0"),
}


def demo(*arguments):
    result = CliRunner().invoke(main, ["demo", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def body():
    return json.loads(demo("--format", "json"))


def test_the_headline_is_two_legs_of_one_cent_and_two_cents_to_the_account(body):
    head = body["headline"]
    assert head["account_total"] == "0.02"
    assert [leg["list_cost"] for leg in head["legs"]] == ["0.01", "0.01"]
    assert [leg["operation"] for leg in head["legs"]] == ["InterZone-Out", "InterZone-In"]
    assert {leg["bytes"] for leg in head["legs"]} == {GIB}
    assert head["legs"][0]["dialed_service"] == "shop/checkout"


def test_every_path_has_exact_bytes_and_the_accounts_dollars(body):
    found = {row["path"]: (row["bytes"], row["account_total"]) for row in body["scenarios"]}
    assert found == {path: (size, bill) for path, (size, bill, _, _) in EXPECTED.items()}


@pytest.mark.parametrize(("profile", "column"), [("page_2025", 2), ("tx_only", 3)])
def test_a_literal_profile_reproduces_its_figures(profile, column):
    rows = json.loads(demo("--format", "json", "--profile", profile))["scenarios"]
    found = {row["path"]: Decimal(row["profile_total"]) for row in rows}
    assert found == {path: Decimal(values[column]) for path, values in EXPECTED.items()}


def test_the_explained_cent_names_rule_evidence_and_dated_source(body):
    explained = body["explained"]
    assert explained["rule"] == "aws.cross_az"
    assert any("zones differ" in line for line in explained["evidence"])
    assert explained["rate"]["source_url"].startswith("https://aws.amazon.com/")
    assert explained["rate"]["checked_on"] <= body["rates_checked"]


def test_the_table_shows_all_nine_paths():
    text = demo()
    assert set(re.findall(r"^ ([a-z_]+) ", text, re.MULTILINE)) >= NINE
    assert "account total $0.02" in text


def test_an_unknown_profile_is_refused_with_the_list_of_profiles():
    result = subprocess.run(
        [sys.executable, "-m", "flowcost", "demo", "--profile", "nope"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert "page_2025" in result.stderr


def test_help_lists_every_command_and_imports_no_engine():
    code = (
        "import sys; from flowcost.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'duckdb', 'pyarrow', 'rich', 'boto3'} & set(sys.modules), sys.modules"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in COMMANDS:
        assert command in shown.stdout
