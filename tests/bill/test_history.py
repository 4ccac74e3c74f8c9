"""What reconciliations found stays: once per bill, beside the ledger, exact."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from flowcost.bill.history import FOLDER, records
from flowcost.cli import main
from flowcost.errors import BillError, LedgerError, UsageError
from flowcost.ledger import Ledger
from flowcost.money import exact
from tests.bill import generator as made

USES = made.world(51, hours=3, uses=90)
LINES = made.bill_of(USES)


def run(*args):
    result = CliRunner().invoke(main, ["reconcile", *map(str, args)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def content(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def ledger(tmp_path):
    return made.ledger_of(tmp_path / "ledger", [u for i, u in enumerate(USES) if i % 6])


def test_a_record_says_what_the_tables_say(ledger, tmp_path):
    bill = made.write_legacy(tmp_path / "cur.csv", LINES + made.other_lines())
    rows = json.loads(run(bill, "--ledger", ledger.root, "--format", "json"))
    [record] = records(ledger)
    assert (record.tenant, record.payer, f"{record.month}") == ("t1", made.PAYER, "2026-09-01")
    assert record.billed_bytes == sum(row["billed_bytes"] for row in rows)
    assert exact(record.billed) == f"{sum(line.cost for line in LINES).normalize():f}"
    left = json.loads(run(bill, "--ledger", ledger.root, "--show", "residuals", "--format", "json"))
    assert {one.reason: exact(int(one.cost)) for one in record.residuals} == {
        row["reason"]: row["cost"] for row in left
    }
    assert record.residual_bytes == sum(row["bytes"] for row in left)
    assert record.residual == sum(int(one.cost) for one in record.residuals)


def test_the_same_bill_in_another_form_is_the_same_record(ledger, tmp_path):
    run(made.write_legacy(tmp_path / "cur.csv.gz", LINES), "--ledger", ledger.root)
    before = content(ledger.root / FOLDER)
    run(tmp_path / "cur.csv.gz", "--ledger", ledger.root)
    assert content(ledger.root / FOLDER) == before
    run(made.write_cur2(tmp_path / "cur.parquet", LINES), "--ledger", ledger.root)
    assert list(content(ledger.root / FOLDER)) == list(before)


def test_a_restated_month_keeps_both_bills_and_says_which_counts(ledger, tmp_path):
    early = [replace(line, invoice="") for line in LINES[:-5]]
    run(made.write_legacy(tmp_path / "early.csv", early), "--ledger", ledger.root)
    [first] = records(ledger)
    # The clock of the records has seconds: as if the first had been of the day before.
    path = next(path for path in content(ledger.root / FOLDER))
    path.write_text(path.read_text().replace(first.since[:10], "2026-10-02"))
    run(made.write_legacy(tmp_path / "late.csv", LINES), "--ledger", ledger.root)
    rows = json.loads(run("--history", "--ledger", ledger.root, "--format", "json"))
    assert [(row["state"], row["replaced"]) for row in rows] == [
        ("final", False), ("estimate", True)
    ]  # fmt: skip
    # Reading the early one again does not make it the later bill.
    ledger_with_more = made.ledger_of(ledger.root, USES)
    run(tmp_path / "early.csv", "--ledger", ledger_with_more.root)
    again = json.loads(run("--history", "--ledger", ledger.root, "--format", "json"))
    assert [row["assembly"] for row in again] == [row["assembly"] for row in rows]
    assert again[1]["residual_cost"] != rows[1]["residual_cost"]


@pytest.mark.parametrize("option", [("--no-record",), ("--allocate-fixed", "proportional_bytes")])
def test_no_record_is_kept_of_what_is_no_reconciliation(option, ledger, tmp_path):
    run(made.write_legacy(tmp_path / "cur.csv", LINES), "--ledger", ledger.root, *option)
    assert not (ledger.root / FOLDER).exists()
    with pytest.raises(LedgerError, match="no reconciliation is on record"):
        run("--history", "--ledger", ledger.root)


def test_a_bill_and_the_history_are_two_questions(ledger, tmp_path):
    with pytest.raises(UsageError, match="name a BILL, or --history"):
        run("--ledger", ledger.root)
    with pytest.raises(UsageError, match="name a BILL, or --history"):
        run(tmp_path / "cur.csv", "--history", "--ledger", ledger.root)


def test_a_damaged_record_is_named(ledger, tmp_path):
    run(made.write_legacy(tmp_path / "cur.csv", LINES), "--ledger", ledger.root)
    [path] = content(ledger.root / FOLDER)
    path.write_text("{")
    with pytest.raises(LedgerError, match=path.name):
        run("--history", "--ledger", ledger.root)


def test_a_record_is_no_part_of_the_ledger(ledger, tmp_path):
    run(made.write_legacy(tmp_path / "cur.csv", LINES), "--ledger", ledger.root)
    assert Ledger.open(ledger.root).verify() == []


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


BAD = {
    "truncated": lambda folder: cut_short(made.write_cur2(folder / "a.parquet", LINES)),
    "two payers": lambda folder: made.write_legacy(
        folder / "a.csv", [*LINES, replace(LINES[0], payer="888888888888")]
    ),
    "two currencies": lambda folder: made.write_legacy(
        folder / "a.csv", [*LINES, replace(LINES[0], currency="EUR")]
    ),
    "missing columns": lambda folder: made.write_legacy(
        folder / "a.csv", LINES, drop=("lineItem/UsageAmount",)
    ),
    "no network lines": lambda folder: made.write_legacy(
        folder / "a.csv", made.other_lines()[:2]
    ),
    "another month": lambda folder: made.write_legacy(
        folder / "a.csv",
        [replace(line, start=line.start.replace(month=8), end=line.end.replace(month=8))
         for line in LINES],
    ),
}  # fmt: skip


FINDINGS = {
    "bill-repeated-lines": lambda folder: [
        made.write_legacy(folder / "a.csv", LINES), made.write_legacy(folder / "b.csv", LINES[:7]),
    ],
    "bill-currency": lambda folder: [
        made.write_legacy(folder / "a.csv", [replace(line, currency="EUR") for line in LINES])
    ],
}  # fmt: skip


@pytest.mark.parametrize("code", FINDINGS)
def test_what_is_odd_about_a_bill_is_a_finding_and_leaves_the_ledger_alone(code, ledger, tmp_path):
    before = content(ledger.root)
    folder = tmp_path / "bill"
    folder.mkdir()
    assert code in run(*FINDINGS[code](folder), "--ledger", ledger.root, "--no-record")
    assert content(ledger.root) == before


def test_the_wrong_month_is_refused_and_leaves_the_ledger_alone(ledger, tmp_path):
    bill = made.write_legacy(tmp_path / "a.csv", LINES)
    before = content(ledger.root)
    with pytest.raises(BillError, match="2026-08"):
        run(bill, "--ledger", ledger.root, "--month", "2026-08")
    assert content(ledger.root) == before


@pytest.mark.parametrize("bad", [name for name in BAD if name != "another month"])
def test_bad_input_is_refused_and_leaves_the_ledger_alone(bad, ledger, tmp_path):
    before = content(ledger.root)
    with pytest.raises(BillError):
        run(BAD[bad](tmp_path), "--ledger", ledger.root)
    assert content(ledger.root) == before


def test_usage_of_another_month_than_the_invoiced_is_a_finding(ledger, tmp_path):
    page = run(BAD["another month"](tmp_path), "--ledger", ledger.root, "--no-record")
    assert "bill-outside-month" in page
