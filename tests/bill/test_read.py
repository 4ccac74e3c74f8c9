"""Every dialect of a bill becomes the same lines."""

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise

import duckdb
import pytest

from flowcost import money
from flowcost.bill import read
from flowcost.errors import BillError
from tests.bill import generator as made

USES = made.world(1, uses=80)
LINES = made.bill_of(USES)


@pytest.fixture
def con():
    with duckdb.connect() as connection:
        yield connection


def usage(con):
    """Return the usage lines as a sorted list of what the generator also knows."""
    rows = con.execute(
        "SELECT account, period_start, regexp_replace(resource_id, '.*/', ''), usage_type,"
        " operation, region, quantity, coalesce(bytes, 0), cost, unit_price, metered_as"
        " FROM bill_lines WHERE line_type = 'usage'"
    ).fetchall()
    return sorted((*row[:8], int(row[8]), row[9]) for row in rows)


def expected(lines):
    return sorted(
        (
            line.account, line.start, line.resource, line.usage_type, line.operation, line.region,
            line.quantity, line.bytes, money.from_decimal(line.cost), line.price,
        )
        for line in lines
    )  # fmt: skip


WRITERS = {
    "legacy.csv": made.write_legacy,
    "legacy.csv.gz": made.write_legacy,
    "legacy.zip": made.write_legacy,
    "cur2.snappy.parquet": made.write_cur2,
    "focus.csv": made.write_focus,
    "focus.parquet": made.write_focus,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_dialect_says_the_same_lines(name, tmp_path, con):
    path = WRITERS[name](tmp_path / name, LINES + made.other_lines())
    bill = read(con, [path])
    assert usage(con) == expected(LINES)
    assert bill.payer == made.PAYER
    assert bill.months == (date(2026, 9, 1),)
    assert bill.currency == "USD"
    assert bill.final
    assert [finding.code for finding in bill.findings] == []


def test_credits_discounts_and_tax_are_set_apart(tmp_path, con):
    read(con, [made.write_legacy(tmp_path / "a.csv", LINES + made.other_lines())])
    rows = con.execute(
        "SELECT line_type, count(*) FROM bill_lines WHERE line_type <> 'usage'"
        " GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert rows == [("credit", 1), ("discount", 1)]


def test_a_log_groups_processed_bytes_are_not_a_load_balancers(tmp_path, con):
    read(con, [made.write_legacy(tmp_path / "a.csv", LINES + made.other_lines())])
    [(count,)] = con.execute(
        "SELECT count(*) FROM bill_lines WHERE usage_type = 'DataProcessing-Bytes'"
    ).fetchall()
    assert count == 0


def test_cloudfronts_european_edge_is_not_egress_of_ireland(tmp_path, con):
    cell = ("111111111111", made.MONTH, "E2", "EU-DataTransfer-Out-Bytes", "GET", "", "")
    read(con, [made.write_legacy(tmp_path / "a.csv", [made.metered_line(cell, 5, "0.085")])])
    [(meter, counts)] = con.execute("SELECT meter, counts FROM bill_lines").fetchall()
    assert (meter, counts) == ("", "bytes")


@pytest.mark.parametrize(
    ("usage_type", "meter", "region"),
    [
        ("APS3-NatGateway-Bytes", "NatGateway-Bytes", "ap-south-1"),
        ("APS1-NatGateway-Bytes", "NatGateway-Bytes", "ap-southeast-1"),
        ("NatGateway-Bytes", "NatGateway-Bytes", "us-east-1"),
        ("USE1-RegionalNatGateway-Bytes", "RegionalNatGateway-Bytes", "us-east-1"),
        ("NatGateway-Prvd-Bytes", "NatGateway-Prvd-Bytes", "us-east-1"),
        ("EU-USE1-AWS-Out-Bytes", "AWS-Out-Bytes", "eu-west-1"),
        ("XYZ9-DataTransfer-Out-Bytes", "", "us-east-1"),
    ],
)
def test_region_prefixes_are_looked_up_never_guessed(usage_type, meter, region, tmp_path, con):
    cell = ("111111111111", made.MONTH, "nat-1", usage_type, "X", "us-east-1", "")
    read(con, [made.write_legacy(tmp_path / "a.csv", [made.metered_line(cell, 5, "0.045")])])
    found = con.execute("SELECT meter, region FROM bill_lines").fetchall()
    assert found == [(meter, region)]


def test_an_unknown_network_meter_is_a_finding_and_stays_on_the_bill(tmp_path, con):
    cell = ("111111111111", made.MONTH, "i-1", "XYZ9-DataTransfer-Out-Bytes", "", "", "")
    bill = read(con, [made.write_legacy(tmp_path / "a.csv", [made.metered_line(cell, 5, "0.1")])])
    assert [(f.code, f.count) for f in bill.findings] == [("bill-unknown-meter", 1)]


def test_months_of_mixed_schemas_are_one_bill(tmp_path, con):
    half = len(LINES) // 2
    dropped = ("product/region", "pricing/publicOnDemandRate", "bill/InvoiceId")
    made.write_legacy(tmp_path / "a.csv.gz", LINES[:half], drop=dropped)
    made.write_legacy(tmp_path / "b.csv", LINES[half:-9], first=half)
    made.write_cur2(tmp_path / "c.parquet", LINES[-9:], first=len(LINES))
    bill = read(con, [tmp_path])
    assert usage(con) == expected(LINES)
    assert not bill.final  # the first file names no invoice


def manifest(folder, assembly, names):
    folder.mkdir(parents=True, exist_ok=True)
    keys = [f"cur/report/20260901-20261001/{assembly}/{name}" for name in names]
    body = {
        "assemblyId": assembly,
        "reportName": "report",
        "billingPeriod": {"start": "20260901T000000.000Z", "end": "20261001T000000.000Z"},
        "reportKeys": keys,
        "additionalArtifactKeys": [],
    }
    (folder / "report-Manifest.json").write_text(json.dumps(body))


def test_a_restated_month_replaces_the_earlier_assembly(tmp_path, con):
    month = tmp_path / "cur" / "report" / "20260901-20261001"
    old = [replace(line, cost=line.cost * 2) for line in LINES]
    made.write_legacy(month / "a1" / "report-1.csv.gz", old)
    made.write_legacy(month / "a2" / "report-1.csv.gz", LINES[:20])
    made.write_legacy(month / "a2" / "report-2.csv.gz", LINES[20:], first=20)
    manifest(month / "a1", "a1", ["report-1.csv.gz"])
    manifest(month / "a2", "a2", ["report-1.csv.gz", "report-2.csv.gz"])
    manifest(month, "a2", ["report-1.csv.gz", "report-2.csv.gz"])
    bill = read(con, [tmp_path])
    assert usage(con) == expected(LINES)
    assert {file.split("/")[-2] for file in bill.files} == {"a2"}


def test_two_assemblies_without_a_last_manifest_are_refused(tmp_path, con):
    month = tmp_path / "cur" / "report" / "20260901-20261001"
    for assembly in ("a1", "a2"):
        made.write_legacy(month / assembly / "report-1.csv.gz", LINES)
        manifest(month / assembly, assembly, ["report-1.csv.gz"])
    with pytest.raises(BillError, match="two deliveries of one month"):
        read(con, [tmp_path])


def test_a_manifest_that_names_a_missing_file_is_refused(tmp_path, con):
    manifest(tmp_path, "a1", ["gone.csv.gz"])
    with pytest.raises(BillError, match="gone"):
        read(con, [tmp_path])


def test_repeated_lines_are_counted_once_and_reported(tmp_path, con):
    made.write_legacy(tmp_path / "a.csv", LINES)
    made.write_legacy(tmp_path / "b.csv", LINES[:7])
    bill = read(con, [tmp_path])
    assert usage(con) == expected(LINES)
    assert [(f.code, f.count) for f in bill.findings] == [("bill-repeated-lines", 7)]


def test_a_file_delivered_twice_is_read_once(tmp_path, con):
    made.write_focus(tmp_path / "a.csv", LINES)
    made.write_focus(tmp_path / "b.csv", LINES)
    bill = read(con, [tmp_path])
    assert usage(con) == expected(LINES)
    assert [f.code for f in bill.findings] == ["bill-copied-file"]


def test_two_payers_are_refused_unless_one_is_named(tmp_path, con):
    other = [replace(line, payer="888888888888") for line in LINES[:5]]
    path = made.write_legacy(tmp_path / "a.csv", LINES + other)
    with pytest.raises(BillError, match="2 payers: 888888888888, 999999999999"):
        read(con, [path])
    assert read(con, [path], payer=made.PAYER).lines == len(LINES)


def test_two_currencies_are_refused_and_one_foreign_currency_is_labelled(tmp_path, con):
    euros = [replace(line, currency="EUR") for line in LINES]
    with pytest.raises(BillError, match="mixes currencies: EUR, USD"):
        read(con, [made.write_legacy(tmp_path / "a.csv", LINES[:3] + euros[3:])])
    with pytest.raises(BillError, match="mixes currencies"):
        read(con, [made.write_cur2(tmp_path / "c.parquet", LINES[:3] + euros[3:])])
    bill = read(con, [made.write_legacy(tmp_path / "b.csv", euros)])
    assert bill.currency == "EUR"
    assert [f.code for f in bill.findings] == ["bill-currency"]


def test_the_wrong_month_is_refused_and_the_bills_own_is_named(tmp_path, con):
    path = made.write_legacy(tmp_path / "a.csv", LINES)
    with pytest.raises(BillError, match=r"no network lines of 2026-08; it holds 2026-09"):
        read(con, [path], month=date(2026, 8, 1))


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.csv.gz", "a.zip"])
def test_a_file_cut_short_is_refused_by_name(name, tmp_path, con):
    write = made.write_cur2 if name.endswith("parquet") else made.write_legacy
    path = write(tmp_path / name, LINES)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BillError, match=name):
        read(con, [path])


def test_missing_columns_are_named(tmp_path, con):
    path = made.write_legacy(tmp_path / "a.csv", LINES, drop=("lineItem/UsageAmount",))
    with pytest.raises(BillError, match="line_item_usage_amount"):
        read(con, [path])


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n"])
def test_a_file_that_is_no_bill_is_refused(content, tmp_path, con):
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(BillError):
        read(con, [path])


def test_a_number_that_cannot_be_read_is_a_finding(tmp_path, con):
    path = made.write_legacy(tmp_path / "a.csv", LINES)
    quantity = f"{LINES[0].quantity:f}"
    path.write_text(path.read_text().replace(f",{quantity},", ",n/a,", 1))
    bill = read(con, [path])
    assert ("bill-unreadable-number", 1) in [(f.code, f.count) for f in bill.findings]


def test_a_line_that_breaks_the_rounding_rule_is_a_finding(tmp_path, con):
    odd = replace(LINES[0], cost=LINES[0].cost + Decimal("0.0000000001"))
    bill = read(con, [made.write_legacy(tmp_path / "a.csv", [odd, *LINES[1:]])])
    assert [(f.code, f.count) for f in bill.findings] == [("bill-rounding", 1)]


def test_missing_resource_ids_leave_the_resource_empty(tmp_path, con):
    path = made.write_legacy(tmp_path / "a.csv", LINES, drop=("lineItem/ResourceId",))
    read(con, [path])
    assert con.execute("SELECT DISTINCT resource_id FROM bill_lines").fetchall() == [("",)]


@pytest.mark.parametrize("monthly", [True, False])
def test_cost_explorer_answers_are_lines_of_their_period(monthly, tmp_path, con):
    path = made.write_cost_explorer(tmp_path / "ce.json", LINES, monthly=monthly)
    read(con, [path])
    grains = con.execute("SELECT DISTINCT grain FROM bill_lines").fetchall()
    assert grains == [("month" if monthly else "day",)]
    [(size, cost)] = con.execute("SELECT sum(bytes), sum(cost) FROM bill_lines").fetchall()
    assert abs(int(size) - sum(line.bytes for line in LINES)) <= len(LINES)
    assert int(cost) == sum(money.from_decimal(line.cost) for line in LINES)


def test_lines_of_several_files_have_numbers_of_their_own(tmp_path, con):
    for name, part in (("a", LINES[:30]), ("b", LINES[30:60])):
        made.write_cur2(tmp_path / f"{name}.parquet", part, first=ord(name))
    made.write_legacy(tmp_path / "c.csv", LINES[60:], first=500)
    read(con, [tmp_path])
    assert usage(con) == expected(LINES)
    rows = con.execute(
        "SELECT source, min(line), max(line) FROM bill_lines GROUP BY ALL"
    ).fetchall()
    spans = sorted((first, last, name) for name, first, last in rows)
    assert [name for *_, name in spans] == ["a.parquet", "b.parquet", "c.csv"]
    assert all(one[1] < other[0] for one, other in pairwise(spans))


def test_what_is_the_same_in_each_file_may_differ_between_files(tmp_path, con):
    other = [replace(line, payer="888888888888") for line in LINES[:5]]
    made.write_cur2(tmp_path / "a.parquet", LINES)
    made.write_cur2(tmp_path / "b.parquet", other, first=500)
    with pytest.raises(BillError, match="2 payers: 888888888888, 999999999999"):
        read(con, [tmp_path])


def test_a_line_repeated_in_a_file_of_other_columns_is_counted_once(tmp_path, con):
    made.write_legacy(tmp_path / "a.csv", LINES)
    made.write_legacy(tmp_path / "b.csv", LINES[:7], drop=("pricing/publicOnDemandRate",))
    bill = read(con, [tmp_path])
    assert usage(con) == expected(LINES)
    assert [(f.code, f.count) for f in bill.findings] == [("bill-repeated-lines", 7)]


@pytest.mark.parametrize("name", ["wide.csv", "wide.parquet"])
def test_numbers_beyond_64_bits_of_printed_digits_are_exact(name, tmp_path, con):
    # A rupiah bill of a petabyte: more printed digits than 64 bits hold.
    cell = ("111111111111", made.MONTH, "i-1", "DataTransfer-Out-Bytes", "RunInstances", "", "")
    line = made.metered_line(cell, (1 << 50) + 1, "1440")
    read(con, [WRITERS[f"cur2.snappy.{name[5:]}"if name.endswith("parquet") else "legacy.csv"](
        tmp_path / name, [line, LINES[0]])])  # fmt: skip
    rows = con.execute("SELECT bytes, cost FROM bill_lines ORDER BY bytes DESC").fetchall()
    if name.endswith("csv"):
        assert rows[0] == ((1 << 50) + 1, money.from_decimal(line.cost))
    assert rows[1] == (LINES[0].bytes, money.from_decimal(LINES[0].cost))


def test_two_sets_of_words_with_one_hash_are_told_apart(tmp_path, con, monkeypatch):
    asked = []

    def unique(con, table, columns):
        asked.append(table)
        return len(asked) > 1  # as if the first hash had collided

    monkeypatch.setattr("flowcost.bill.words.unique", unique)
    read(con, [made.write_cur2(tmp_path / "a.parquet", LINES)])
    assert len(asked) == 2
    assert usage(con) == expected(LINES)
    monkeypatch.setattr("flowcost.bill.words.unique", lambda *_: False)
    with pytest.raises(BillError, match="collide"):
        read(con, [tmp_path / "a.parquet"])
