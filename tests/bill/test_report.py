"""What the command prints is exact, adds up, and says what to do next."""

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from click.testing import CliRunner

from flowcost import money
from flowcost.bill import read
from flowcost.bill.diagnose import cause
from flowcost.bill.engine import engine
from flowcost.bill.rates import rate_book, tiers
from flowcost.bill.report import agreement
from flowcost.cli import main
from flowcost.errors import BillError
from flowcost.price import load_book, marginal
from flowcost.price.tiers import cost as tier_cost
from tests.bill import generator as made

USES = made.world(21, hours=3, uses=90)
LINES = made.bill_of(USES)


def run(*args):
    result = CliRunner().invoke(main, ["reconcile", *map(str, args)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bill")
    seen = [use for index, use in enumerate(USES) if index % 6]
    made.ledger_of(folder / "ledger", seen)
    made.ledger_of(folder / "complete", USES)
    return made.write_legacy(folder / "cur.csv.gz", LINES + made.other_lines()), folder


def test_json_rows_add_up_to_the_bill_exactly(files):
    bill, folder = files
    out = run(bill, "--ledger", folder / "ledger", "--format", "json").stdout
    rows = json.loads(out)
    assert sum(row["billed_bytes"] for row in rows) == sum(line.bytes for line in LINES)
    total = sum(Decimal(row["billed_cost"]) for row in rows)
    assert total == sum(line.cost for line in LINES)
    for row in rows:
        parts = Decimal(row["attributed_cost"]) + Decimal(row["residual_cost"])
        assert parts == Decimal(row["billed_cost"])
        assert row["difference"] == row["ledger_bytes"] - row["billed_bytes"]


def test_every_key_groups_both_sides_alike(files):
    bill, folder = files
    for by in ("account", "month", "day", "hour,resource", "operation,usage_type"):
        out = run(bill, "--ledger", folder / "ledger", "--format", "json", "--by", by).stdout
        assert sum(row["ledger_bytes"] for row in json.loads(out)) == sum(
            use.bytes for index, use in enumerate(USES) if index % 6
        )


@pytest.mark.parametrize("show", ["days", "residuals", "unbilled", "apart", "rates", "tiers"])
@pytest.mark.parametrize("form", ["table", "csv", "json", "markdown"])
def test_every_table_prints_in_every_format(show, form, files):
    bill, folder = files
    out = run(bill, "--ledger", folder / "ledger", "--show", show, "--format", form).stdout
    assert out.strip()


def test_residuals_name_their_next_step(files):
    bill, folder = files
    page = run(bill, "--ledger", folder / "ledger").stdout
    assert "Billed without an owner" in page
    assert "--allocate-fixed" in page
    assert "Set apart: no usage" in page


def test_check_fails_on_a_difference_and_passes_without(files):
    bill, folder = files
    assert run(bill, "--ledger", folder / "ledger", "--check").exit_code == 1
    assert run(bill, "--ledger", folder / "complete", "--check").exit_code == 0


def test_an_unknown_key_is_refused_with_the_known_ones(files):
    bill, folder = files
    with pytest.raises(Exception, match="account, month, day, hour"):
        run(bill, "--ledger", folder / "ledger", "--by", "pod")


def test_a_missing_bill_is_named(files, tmp_path):
    with pytest.raises(BillError, match="does not exist"):
        run(tmp_path / "gone.csv", "--ledger", files[1] / "ledger")


GIB = money.GIB


@pytest.mark.parametrize(
    ("booked", "billed", "code"),
    [
        (1000 * GIB, 1000 * GIB, None),
        (1000 * GIB + GIB // 2, 1000 * GIB, None),
        (2000 * GIB, 1000 * GIB, "reconcile-doubled"),
        (1000 * GIB, 1000 * 10**9, "reconcile-unit"),
        (1000 * 10**9, 1000 * GIB, "reconcile-unit"),
        (500 * GIB, 1000 * GIB, "reconcile-one-direction"),
        (900 * GIB, 1000 * GIB, "reconcile-gaps"),
        (1200 * GIB, 1000 * GIB, "reconcile-over"),
        (0, 1000 * GIB, "reconcile-absent"),
        (5, 0, None),
    ],
)
def test_a_systematic_ratio_names_its_cause(booked, billed, code):
    found = cause(booked, billed)
    assert (found[0] if found else None) == code


def test_an_absent_regional_nat_gateway_says_where_its_logs_are():
    assert "flow log is apart" in cause(0, GIB, "RegionalNatGateway-Bytes")[1]


def test_agreement_never_rounds_up_to_all():
    assert agreement(10**12, 10**12) == "100 %"
    assert agreement(10**12 - 1, 10**12) == "99.999 %"
    assert agreement(0, 0) == "n/a"
    assert agreement(0, 7) == "0 %"


@pytest.mark.parametrize("basis", ["list", "billed", "effective"])
def test_the_prices_paid_are_a_rate_book_that_loads(basis, tmp_path):
    lines = made.bill_of(USES, discount=Decimal("0.9"))
    with engine("512MiB") as con:
        bill = read(con, [made.write_legacy(tmp_path / "cur.csv", lines)])
        path = tmp_path / "rates.csv"
        path.write_text(rate_book(con, bill, basis=basis, on=date(2026, 11, 20)))
    book, warnings = load_book(path, None)
    assert not warnings
    found = book.lookup(
        provider="aws", usage_type="NatGateway-Bytes", region="us-east-1", on=date(2026, 9, 9),
        operation="NatGateway",
    )  # fmt: skip
    assert marginal(found).price == (Decimal("0.045") if basis == "list" else Decimal("0.0405"))


def test_the_billed_book_prices_the_month_as_the_bill_did(tmp_path):
    with engine("512MiB") as con:
        bill = read(con, [made.write_legacy(tmp_path / "cur.csv", LINES)])
        path = tmp_path / "rates.csv"
        path.write_text(rate_book(con, bill, basis="billed", on=date(2026, 11, 20)))
    book, _ = load_book(path, None)
    egress = [line for line in LINES if line.usage_type == "DataTransfer-Out-Bytes"]
    assert len({line.price for line in egress}) > 1
    found = book.lookup(
        provider="aws", usage_type="DataTransfer-Out-Bytes", region="us-east-1",
        on=date(2026, 9, 9), operation="RunInstances",
    )  # fmt: skip
    exact = tier_cost(found, sum(line.bytes for line in egress))
    billed = sum(money.from_decimal(line.cost) for line in egress)
    # Each line is rounded at ten places; their sum is off by half a digit per line at most.
    assert abs(exact - billed) <= len(egress) * money.ONE // 10**10


def test_tier_positions_count_free_lines_where_the_bill_placed_them(tmp_path):
    egress = [line for line in LINES if line.usage_type == "EU-DataTransfer-Out-Bytes"][:3]
    free = replace(egress[1], price=Decimal(0), cost=Decimal(0))
    with engine("512MiB") as con:
        read(con, [made.write_legacy(tmp_path / "cur.csv", [egress[0], free, egress[2]])])
        rows = tiers(con).rows
    assert sum(row[4] for row in rows) == sum(line.bytes for line in egress)
    assert {row[3] for row in rows} >= {"0", "0.09"}
    assert max(row[5] for row in rows) == sum(line.bytes for line in egress)
