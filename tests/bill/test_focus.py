"""FOCUS rows: split, never beside their origin, and summing to it exactly."""

import json
import os
import re
import subprocess
from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import duckdb
import pytest
from click.testing import CliRunner

from flowcost.bill import read
from flowcost.bill.focus import COLUMNS, VERSIONS, columns
from flowcost.cli import focus, main
from flowcost.errors import UsageError
from tests.bill import generator as made

USES = made.world(41, hours=3, uses=80)
LINES = made.bill_of(USES)
SEEN = [use for index, use in enumerate(USES) if index % 5]
COSTS = {"BilledCost": "cost", "ContractedCost": "cost"}
DIGIT = Decimal("0.0000000001")


def export(bill, ledger, output, *args):
    result = CliRunner().invoke(
        main, ["export", str(bill), "--ledger", str(ledger), "-o", str(output), *args]
    )
    if result.exception:
        raise result.exception
    with duckdb.connect() as con:
        found = con.execute(f"SELECT * FROM '{output}'" if output.suffix == ".parquet" else
                            f"SELECT * FROM read_csv('{output}', all_varchar = true)")  # fmt: skip
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("focus")
    made.ledger_of(folder / "ledger", SEEN)
    return made.write_legacy(folder / "cur.csv", LINES + made.other_lines()), folder


@pytest.fixture(scope="module", params=["1.2", "1.3"])
def rows(request, files):
    bill, folder = files
    output = folder / f"focus-{request.param}.parquet"
    return export(bill, folder / "ledger", output, "--focus", request.param)


def by_line(rows):
    found = defaultdict(list)
    for row in rows:
        found[row["x_OriginLine"]].append(row)
    return found


def test_every_measure_sums_to_the_origin_line_exactly(rows, files):
    with duckdb.connect() as con:
        read(con, [files[0]])
        origin = con.execute(
            "SELECT line, CAST(cost AS VARCHAR), quantity, coalesce(bytes, 0), line_type"
            " FROM bill_lines"
        ).fetchall()
    split = by_line(rows)
    assert set(split) == {line for line, *_ in origin}
    for line, cost, quantity, size, line_type in origin:
        exact = Decimal(cost) / (made.GIB * 5**9) * DIGIT
        for name in ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"):
            assert sum(row[name] for row in split[line]) == exact
        assert sum(row["x_MeteredBytes"] for row in split[line]) == size
        assert sum(row["x_AllocatedRatio"] for row in split[line]) == 1
        if line_type == "usage":
            assert sum(row["ConsumedQuantity"] for row in split[line]) == quantity


def test_cost_is_price_times_quantity_within_the_last_digit(rows):
    for row in rows:
        if row["ChargeCategory"] == "Usage":
            exact = row["ContractedUnitPrice"] * row["PricingQuantity"]
            assert abs(row["ContractedCost"] - exact) <= 2 * DIGIT


def test_no_origin_line_stands_beside_its_split_rows(rows):
    for line in by_line(rows).values():
        if len(line) > 1:
            assert all(row["x_AllocatedRatio"] < 1 for row in line)


def test_mandatory_columns_are_never_null(rows):
    mandatory = (
        "BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodStart",
        "BillingPeriodEnd", "ChargeCategory", "ChargePeriodStart", "ChargePeriodEnd",
        "ContractedCost", "EffectiveCost", "ListCost", "InvoiceIssuerName", "ProviderName",
        "PublisherName", "ServiceCategory", "ServiceName",
    )  # fmt: skip
    for row in rows:
        assert [name for name in mandatory if row[name] is None] == []


def test_hours_are_utc_bounds_and_units_agree(rows):
    for row in rows:
        start, end = (
            datetime.strptime(row[name], "%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007 - Z is literal
            for name in ("ChargePeriodStart", "ChargePeriodEnd")
        )
        assert end - start == made.HOUR
        assert row["ConsumedUnit"] == row["PricingUnit"]
        assert row["BillingPeriodStart"] == "2026-09-01T00:00:00Z"
        assert row["BillingPeriodEnd"] == "2026-10-01T00:00:00Z"


def test_a_service_has_one_subcategory_and_a_resource_says_what_it_is(rows):
    assert len({(row["ServiceName"], row["ServiceSubcategory"]) for row in rows}) == len(
        {row["ServiceName"] for row in rows}
    )
    kinds = {row["ResourceId"].split("/")[-1].split("-")[0]: row["ResourceType"] for row in rows}
    assert kinds == {"i": "instance", "nat": "natgateway", "vpce": "vpc-endpoint"}


def test_tags_are_json_objects_and_extra_columns_carry_the_prefix(rows):
    known = set(COLUMNS) | set(columns("1.3")) - {name for name in rows[0] if name[:2] == "x_"}
    for name in rows[0]:
        assert name in known or name.startswith("x_")
    assert all(isinstance(json.loads(row["Tags"]), dict) for row in rows)


def test_the_remainder_is_a_row_without_an_allocated_resource(files):
    bill, folder = files
    found = export(bill, folder / "ledger", folder / "remainder.parquet", "--focus", "1.3")
    residual = [row for row in found if row["x_Residual"] not in (None, "not_split")]
    assert residual
    assert all(row["AllocatedResourceId"] is None for row in residual)
    owned = [row for row in found if row["x_Residual"] is None]
    assert {row["AllocatedResourceName"] for row in owned} == set(made.OWNERS)
    for row in owned:
        [element] = json.loads(row["AllocatedMethodDetails"])["Elements"]
        assert Decimal(element["AllocatedRatio"]) == row["x_AllocatedRatio"]


@pytest.mark.parametrize(("version", "count"), [("1.2", 57), ("1.3", 65)])
def test_each_version_has_its_columns(version, count):
    assert len([name for name in columns(version) if not name.startswith("x_")]) == count
    with pytest.raises(UsageError, match="versions are"):
        columns("0.5")


def test_what_is_exported_reads_back_as_the_same_bill(files):
    bill, folder = files
    output = folder / "again.csv"
    export(bill, folder / "ledger", output, "--focus", "1.2")
    with duckdb.connect() as con:
        read(con, [output])
        [(cost, size)] = con.execute(
            "SELECT sum(cost), sum(bytes) FROM bill_lines WHERE line_type = 'usage'"
        ).fetchall()
    assert Decimal(str(cost)) == sum(line.cost for line in LINES) * made.GIB * 5**9 * 10**10
    # Parts of a byte-exact quantity are no whole bytes each: half a byte per row at most.
    assert abs(int(size) - sum(line.bytes for line in LINES)) <= 500


# It needs libraries older than ours, so it runs in an environment of its own.
VALIDATOR = os.environ.get("FOCUS_VALIDATOR_PYTHON", "")


@pytest.mark.skipif(
    not VALIDATOR,
    reason="FOCUS_VALIDATOR_PYTHON does not name a Python with"
    " focus-validator==1.0.0 'multimethod<2' 'pyarrow<20'",
)
def test_the_official_validator_finds_no_fault(files):
    bill, folder = files
    output = folder / "validated.csv"
    # Its 1.0 rules still ask for columns that 1.0 renamed, and read digits as numbers.
    renamed = [replace(line, payer="payer-1", account=f"acct-{line.account}") for line in LINES]
    bill = made.write_legacy(folder / "renamed.csv", renamed)
    made.ledger_of(folder / "other", [replace(u, account=f"acct-{u.account}") for u in SEEN])
    export(bill, folder / "other", output, "--focus", "1.2")
    with duckdb.connect() as con:
        con.execute(
            f"COPY (SELECT *, ProviderName AS Provider, PublisherName AS Publisher,"
            " InvoiceIssuerName AS InvoiceIssuer, ResourceId AS SecondResource,"
            f" ChargeCategory AS ChargeType FROM read_csv('{output}', all_varchar = true))"
            f" TO '{folder / 'aliased.csv'}' (FORMAT csv, HEADER)"
        )
    aliased = folder / "aliased.csv"  # the engine does not tell ResourceId from ResourceID
    aliased.write_text(aliased.read_text().replace("SecondResource", "ResourceID", 1))
    where = "import focus_validator, os; print(os.path.dirname(focus_validator.__path__[0]))"
    packages = subprocess.check_output([VALIDATOR, "-c", where], text=True).strip()
    found = subprocess.run(
        [VALIDATOR, "-m", "focus_validator.main", "--data-file", aliased,
         "--validate-version", "1.0"],
        cwd=packages, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Validation succeeded" in found.stdout, found.stdout[-3000:] + found.stderr[-2000:]


# Rules of 1.2 stand in the package of 2.2.1, which wants Python 3.12; those of 1.3 do not.
VALIDATOR_2 = os.environ.get("FOCUS_VALIDATOR_2_PYTHON", "")
# What a bill of network lines can say: it has no reservations, commitments or display names.
CRITERIA = (
    "MULTIPLE_PRICING_CATEGORIES_SUPPORTED,NEGOTIATED_PRICING_SUPPORTED,"
    "PUBLIC_PRICE_LIST_SUPPORTED,USAGE_MEASUREMENT_SUPPORTED,UNIT_PRICING_SUPPORTED,"
    "SUB_ACCOUNT_SUPPORTED,BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED,"
    "RESOURCE_TYPE_ASSIGNMENT_SUPPORTED,REGION_SUPPORTED,TAGGING_SUPPORTED"
)
# Two rules that contradict each other: an invoice's number must be null, and must not.
CONTRADICTION = {"InvoiceId-C-004-C"}


@pytest.mark.skipif(
    not VALIDATOR_2,
    reason="FOCUS_VALIDATOR_2_PYTHON does not name a Python 3.12 with"
    " focus-validator==2.2.1 'pyarrow<22'",
)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_official_rules_of_1_2_find_no_fault(version, files):
    bill, folder = files
    output = folder / f"official-{version}.parquet"
    export(bill, folder / "ledger", output, "--focus", version)
    where = "import focus_validator, os; print(os.path.dirname(focus_validator.__path__[0]))"
    packages = subprocess.check_output([VALIDATOR_2, "-c", where], text=True).strip()
    found = subprocess.run(
        [VALIDATOR_2, "-m", "focus_validator.main", "--data-file", output, "--block-download",
         "--validate-version", "1.2", "--focus-dataset", "CostAndUsage",
         "--applicability-criteria", CRITERIA],
        cwd=packages, capture_output=True, text=True, check=False,
    )  # fmt: skip
    [counts] = re.findall(r"Pass: (\d+) \| Fail: (\d+)", found.stdout)
    failed = set(re.findall(r"^❌ (\S+): FAIL", found.stdout, re.MULTILINE))
    assert failed <= CONTRADICTION, found.stdout[-5000:]
    assert int(counts[0]) > 200


def test_the_command_offers_the_versions_that_are_written():
    assert focus.VERSIONS == VERSIONS
