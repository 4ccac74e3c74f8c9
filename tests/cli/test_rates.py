"""`flowcost rates`, run as a user runs it."""

import csv
import io
import json

import pytest
from click.testing import CliRunner

from flowcost.cli import main
from flowcost.errors import RateError, UsageError
from flowcost.model import Rate

HEADER = ",".join(Rate.__struct_fields__)
ROW = (
    "aws,NatGateway-Bytes,NatGateway,us-east-1,,0,,2026-01-01,,0.03,GB,1073741824,USD,,"
    "https://example.com/contract,2026-10-01"
)


def run(*arguments, raises=None):
    result = CliRunner().invoke(main, ["rates", *arguments])
    if raises:
        assert isinstance(result.exception, raises), result.output
    elif result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def rows(*arguments):
    result = run(*arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def contract(tmp_path):
    path = tmp_path / "contract.csv"
    path.write_text(f"{HEADER}\n{ROW}\n", encoding="utf-8")
    return str(path)


def test_show_gives_price_source_and_age_of_a_meter_in_a_region():
    (row,) = rows("show", "NatGateway-Bytes", "--region", "eu-west-1")
    assert (row["usage_type"], row["price"], row["marginal"]) == (
        "EU-NatGateway-Bytes",
        "0.048",
        True,
    )
    assert row["source_url"].startswith("https://")
    assert row["age_days"] >= 0
    assert rows("show", "EU-NatGateway-Bytes") == rows("show", "EUW1-NatGateway-Bytes") == [row]
    (row,) = rows("show", "USE1-USE2-AWS-Out-Bytes")
    assert (row["to_region"], row["price"]) == ("us-east-2", "0.01")


def test_show_marks_the_marginal_tier_and_prints_tiers_as_whole_bytes():
    found = rows("show", "DataTransfer-Out-Bytes")
    assert [row["price"] for row in found] == ["0.09", "0.085", "0.07", "0.05"]
    assert [row["marginal"] for row in found] == [True, False, False, False]
    assert found[0]["tier_to"] == 10_240 * 2**30


def test_show_knows_the_rates_of_an_old_day():
    assert len(rows("show", "DataTransfer-Regional-Bytes", "--on", "2025-03-31")) == 8
    assert len(rows("show", "DataTransfer-Regional-Bytes", "--on", "2025-04-01")) == 6


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["TransitGateway-Bytes", "--region", "eu-west-1"], "no rate is known"),
        (["NatGateway-Bytes", "--operation", "x"], "operation 'x' has no rate"),
        (["PublicIPv4:IdleAddress", "--on", "2024-01-31"], "its first rate holds from 2024-02-01"),
    ],
)
def test_show_without_a_rate_says_why_and_exits_1(arguments, reason):
    result = run("show", *arguments)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "NatGateway"], "unknown meter 'NatGateway'"),
        (["show", "NatGateway-Bytes", "--region", "mars-1"], "unknown region 'mars-1'"),
        (["show", "AWS-Out-Bytes", "--region", "eu-west-1"], "needs second region"),
        (["list", "--region", "mars-1"], "unknown region 'mars-1'"),
    ],
)
def test_a_wrong_name_is_refused_with_the_known_ones(arguments, message):
    result = run(*arguments, raises=UsageError)
    assert message in str(result.exception)
    assert result.exception.exit_code == 2


def test_list_filters_by_region_and_meter_whatever_the_prefix():
    found = rows("list", "--region", "ap-south-1", "--usage-type", "NatGateway-*")
    assert [row["usage_type"] for row in found] == [
        "APS3-NatGateway-Bytes",
        "APS3-NatGateway-Hours",
    ]


def test_list_shows_rates_in_force_unless_asked_for_all():
    peering = ("list", "--region", "us-east-1", "--usage-type", "DataTransfer-Regional-Bytes")
    assert len(rows(*peering)) == 6
    assert len(rows(*peering, "--all-dates")) == 8
    assert run("list", "--region", "cn-north-1").stderr == "no rate matches\n"


@pytest.mark.parametrize("form", ["table", "markdown", "csv"])
def test_list_prints_in_every_text_format_with_its_age(form):
    result = run("list", "--region", "global", "--format", form)
    assert "Global-DataTransfer-Out-Bytes" in result.stdout
    assert "1 rates; newest check" in result.stderr


def test_an_operator_book_is_shown_in_place_of_the_list(contract):
    (row,) = rows("show", "NatGateway-Bytes", "--book", contract)
    assert (row["book"], row["price"]) == ("contract", "0.03")
    (row,) = rows("show", "NatGateway-Bytes", "--book", contract, "--on", "2025-12-31")
    assert (row["book"], row["price"]) == ("list", "0.045")


def test_check_passes_the_packaged_book_and_refuses_a_bad_one_by_row_and_field(contract, tmp_path):
    books = [row["book"] for row in rows("check", contract, contract)]
    assert books == ["list", "contract", "contract"]
    bad = tmp_path / "bad.csv"
    bad.write_text(f"{HEADER}\n{ROW.replace('0.03', 'nan')}\n", encoding="utf-8")
    result = run("check", str(bad), raises=RateError)
    assert f"{bad} row 2, price: 'nan' is not a price" in str(result.exception)
    assert result.exception.exit_code == 2


def test_check_exits_1_when_a_book_is_older_than_allowed(contract):
    assert run("check", "--max-age", "100000").exit_code == 0
    result = run("check", contract, "--max-age", "0")
    assert result.exit_code == 1
    assert "older than 0 days: list, contract" in result.stderr


def test_diff_says_what_a_book_changes_when_laid_over_the_list(contract):
    (row,) = rows("diff", contract)
    assert (row["change"], row["usage_type"], row["old"], row["new"]) == (
        "changed",
        "NatGateway-Bytes",
        "0.045",
        "0.03",
    )
    assert rows("diff", contract, "--on", "2025-12-31") == []


def test_diff_of_two_books_compares_them_alone(contract):
    assert rows("diff", contract, contract) == []
    changes = {row["change"] for row in rows("diff", "list", contract)}
    assert changes == {"changed", "removed"}
    assert {row["change"] for row in rows("diff", contract, "list")} == {"changed", "added"}


def test_a_price_table_is_a_book_and_its_holes_are_warned_of(tmp_path):
    path = tmp_path / "prices.json"
    path.write_text('{"per_gib": {"internet_egress": 0.08}, "source": "x", "as_of": "2026-06-01"}')
    result = run("show", "DataTransfer-Out-Bytes", "--book", str(path), "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(result.stdout))
    assert (row["price"], row["book"], row["checked_on"]) == ("0.08", "prices", "2026-06-01")
    assert "inter_az has no price here" in result.stderr
