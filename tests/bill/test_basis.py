"""`costs --basis billed`: the bill's money on the ledger's rows, and nothing lost."""

import json
from decimal import Decimal

import pytest
from click.testing import CliRunner

from flowcost.cli import main
from flowcost.errors import UsageError
from tests.bill import generator as made

USES = made.world(31, hours=3, uses=90)
LINES = made.bill_of(USES)
SEEN = [use for index, use in enumerate(USES) if index % 5]


def costs(*args):
    result = CliRunner().invoke(main, ["costs", *map(str, args)])
    if result.exception:
        raise result.exception
    return result.stdout


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("basis")
    made.ledger_of(folder / "ledger", SEEN)
    made.ledger_of(folder / "complete", USES)
    return made.write_cur2(folder / "cur.parquet", LINES), folder


def billed(files, ledger, *args):
    bill, folder = files
    options = ("--basis", "billed", "--bill", bill, "--format", "json")
    return json.loads(costs("--ledger", folder / ledger, *options, *args))


@pytest.mark.parametrize("by", ["owner.team", "usage_type", "hour", "resource_id", "path,source"])
def test_whatever_the_grouping_the_rows_add_up_to_the_bill(by, files):
    rows = billed(files, "ledger", "--by", by)
    assert sum(Decimal(row["billed_cost"]) for row in rows) == sum(line.cost for line in LINES)


def test_teams_pay_their_share_of_each_billed_line(files):
    rows = billed(files, "complete", "--by", "owner.team,usage_type,operation,resource_id,hour")
    by_cell = {}
    for line in LINES:
        by_cell[line.cell] = by_cell.get(line.cell, 0) + line.cost
    for row in rows:
        if row["owner.team"] == "(unattributed)":
            assert row["usage_type"] == "NatGateway-Hours"
            continue
        hour = made.datetime.fromisoformat(row["hour"]).replace(tzinfo=None)
        [account] = {use.account for use in USES if use.resource == row["resource_id"]}
        cell = (account, hour, row["resource_id"], row["usage_type"], row["operation"])
        mine = sum(
            use.bytes
            for use in USES
            if (use.account, use.hour, use.resource, use.usage_type, use.operation) == cell
            and use.owner == row["owner.team"]
        )
        whole = sum(
            use.bytes
            for use in USES
            if (use.account, use.hour, use.resource, use.usage_type, use.operation) == cell
        )
        exact = by_cell[cell] * mine / whole
        assert abs(Decimal(row["billed_cost"]) - exact) <= Decimal("0.0000000001")


def test_what_has_no_owner_is_a_row_that_names_its_reason(files):
    rows = billed(files, "ledger", "--by", "source", "--filter", "observer_type=bill")
    assert rows
    assert all(row["source"].startswith("bill: ") for row in rows)


def test_the_table_names_the_bill(files):
    bill, folder = files
    page = costs("--ledger", folder / "ledger", "--basis", "billed", "--bill", bill)
    assert "billed_cost" in page
    assert "bill of 2026-09 (USD, final)" in page


def test_a_basis_without_its_bill_is_refused(files):
    with pytest.raises(UsageError, match="go together"):
        costs("--ledger", files[1] / "ledger", "--basis", "billed")
