"""The page of a reconciliation: every sum adds up, in amounts and in bytes, to the last digit."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from flowcost.bill.history import records
from flowcost.cli import main
from flowcost.ledger.query import Selection
from flowcost.views.reconciliation import WIDTH, document, reconciliation, waterfall, within
from flowcost.views.report import build
from tests.bill import generator as made

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def reconciled(folder, seed=61, **options):
    """Return a ledger with the record of one bill: residuals, ghosts, credits."""
    uses = made.world(seed, hours=3, uses=90)
    seen = [replace(u, bytes=u.bytes * 9 // 10 + 1) for i, u in enumerate(uses) if i % 6]
    ghost = replace(uses[0], resource="i-ghost", bytes=77 << 30)
    ledger = made.ledger_of(folder / "ledger", [*seen, ghost])
    lines = made.bill_of(uses, discount=Decimal("0.9")) + made.other_lines()
    bill = made.write_legacy(folder / "cur.csv", [replace(one, **options) for one in lines])
    args = ["reconcile", bill, "--ledger", ledger.root, "--html", folder / "page.html"]
    result = CliRunner().invoke(main, list(map(str, args)))
    assert result.exit_code == 0, result.output
    return ledger


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reconciled")
    reconciled(folder)
    return folder


@pytest.fixture(scope="module")
def record(folder):
    [found] = records(made.Ledger.open(folder / "ledger"))
    return found


def assert_adds_up(steps, number):
    """Assert that each total is the sum of the steps above it, from the total before."""
    level = None
    for step in steps:
        cell = number(step)
        if step.total:
            assert level in (None, cell), step.label
            level = cell
        else:
            level += cell


def test_every_total_of_the_waterfall_is_the_sum_of_the_steps_above(record):
    steps = waterfall(record)
    assert_adds_up(steps, lambda step: Fraction(step.amount.exact))
    counted = [step for step in steps if step.bytes.exact]
    assert_adds_up(counted, lambda step: int(step.bytes.exact))
    labels = [step.label for step in steps if step.total]
    assert labels == ["measured", "with an owner", "billed usage", "network on the invoice"]
    beyond = next(step for step in steps if step.label == "met by no line")
    assert int(beyond.bytes.exact) == -sum(one.bytes for one in record.unbilled) == -77 << 30


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6))
def test_the_waterfall_of_any_world_adds_up(tmp_path_factory, seed):
    [found] = records(reconciled(tmp_path_factory.mktemp("world"), seed))
    steps = waterfall(found)
    assert_adds_up(steps, lambda step: Fraction(step.amount.exact))
    assert_adds_up([step for step in steps if step.bytes.exact], lambda step: int(step.bytes.exact))


def test_bars_lie_on_one_scale_and_touch(record):
    steps = waterfall(record)
    assert all(step.left >= 0 and step.left + step.width <= WIDTH + 2 for step in steps)
    assert all(step.width for step in steps if step.amount.exact != "0")
    by = {step.label: step for step in steps}
    owned, first = by["with an owner"], by[record.residuals[0].reason]
    assert abs(first.left - (owned.left + owned.width)) <= 1


def test_residuals_are_dearest_first_with_what_to_do(record):
    section = next(s for s in reconciliation(record, [record]).sections if s.id == "residuals")
    costs = [Decimal(row[1].exact) for row in section.rows]
    assert costs == sorted(costs, reverse=True)
    assert all(row[-1].text for row in section.rows)


def test_a_bill_in_another_currency_begins_where_its_own_amounts_do(tmp_path):
    [found] = records(reconciled(tmp_path, currency="EUR"))
    steps = waterfall(found)
    assert steps[0].label == "with an owner"
    assert steps[0].amount.text.startswith("EUR ")
    assert_adds_up(steps, lambda step: Fraction(step.amount.exact))


def test_an_older_bill_of_a_month_says_that_it_was_replaced(record):
    older = structs.replace(record, assembly="0" * 16, final=False)
    section = next(s for s in reconciliation(record, [record, older]).sections if s.id == "history")
    assert [row[4].text for row in section.rows] == [
        "final", "an estimate, replaced by a later bill"
    ]  # fmt: skip


def test_what_a_bill_says_is_text_never_markup(record):
    meter = structs.replace(record.meters[0], usage_type="<script>alert(1)</script>")
    page = document(structs.replace(record, meters=(meter,)), [], command="x", now=NOW)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_report_holds_the_reconciliation_of_its_months_unless_it_is_filtered(folder):
    ledger = made.Ledger.open(folder / "ledger")
    page = build(ledger, Selection(), title="All", now=NOW)
    assert "From measured to billed" in page
    part = build(ledger, Selection(where="path=cross_az"), title="Part", now=NOW)
    assert "From measured to billed" not in part
    october = datetime(2026, 10, 1, tzinfo=UTC)
    assert within(ledger, Selection(start=october)) == []
    assert len(within(ledger, Selection(end=october))) == 1
    assert within(ledger, Selection(tenant="another")) == []


def test_the_page_of_the_history_is_the_page_of_the_newest_record(folder):
    args = ["reconcile", "--history", "--ledger", folder / "ledger", "--html", folder / "b.html"]
    assert CliRunner().invoke(main, list(map(str, args))).exit_code == 0
    first, second = ((folder / name).read_text() for name in ("page.html", "b.html"))
    assert second.split("<footer>")[0] == first.split("<footer>")[0]
