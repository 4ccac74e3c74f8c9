"""`flowcost costs` and `flowcost explain`, as a user calls them."""

import csv
import io
import json
from datetime import timedelta
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.conftest import charge

from flowcost import clock
from flowcost.cli import main
from flowcost.errors import FilterError, LedgerError, UsageError
from flowcost.ledger import ends
from flowcost.money import GIB
from flowcost.pipeline import scenario


@pytest.fixture
def flowcost(shop):
    """Return a function that runs the command line on the shop's ledger."""

    def run(*arguments, ledger=shop.root):
        command, *rest = arguments
        result = CliRunner().invoke(main, [command, "--ledger", str(ledger), *rest])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def test_json_rows_hold_the_keys_integer_bytes_and_decimal_money(flowcost):
    rows = json.loads(flowcost("costs", "--by", "path", "--format", "json").stdout)
    assert [sorted(row) for row in rows] == [["bytes", "list_cost", "path", "unpriced_bytes"]] * 4
    by_path = {row["path"]: row for row in rows}
    assert by_path["nat_gateway"] == {
        "path": "nat_gateway",
        "bytes": 2 * GIB,
        "list_cost": "0.27",
        "unpriced_bytes": 0,
    }
    assert by_path["unknown"]["unpriced_bytes"] == 3 * GIB


def test_a_table_always_says_what_is_unknown_unpriced_and_on_which_basis(flowcost):
    text = flowcost("costs", "--by", "owner.team").stdout
    assert "unknown path: 3.00 GiB (2.8 % of the bytes)" in text
    assert "unpriced: 3.00 GiB" in text
    assert "basis: account_bill" in text
    assert "checked 2026-11-01" in text
    assert "basis: per_leg" in flowcost("costs", "--legs", "observed").stdout


def test_what_has_no_rate_is_shown_as_unpriced_never_as_free(flowcost):
    lines = flowcost("costs").stdout.splitlines()
    (unknown,) = [line for line in lines if line.strip().startswith("unknown  ")]
    (free,) = [line for line in lines if line.strip().startswith("same_zone")]
    assert "unpriced" in unknown
    assert "$0.00" in free


def test_every_format_carries_the_same_figures(flowcost, tmp_path):
    call = ("costs", "--by", "owner,path", "--format")
    expected = json.loads(flowcost(*call, "json").stdout)
    records = list(csv.DictReader(io.StringIO(flowcost(*call, "csv").stdout)))
    assert [{**row, "bytes": int(row["bytes"])} for row in records] == [
        {**row, "unpriced_bytes": str(row["unpriced_bytes"])} for row in expected
    ]
    file = tmp_path / "costs.parquet"
    flowcost(*call, "parquet", "--output", str(file))
    assert pq.read_table(file).to_pylist() == expected
    assert flowcost(*call, "markdown").stdout.count("\n") == len(expected) + 2


def test_an_interval_and_a_filter_narrow_the_charges(flowcost):
    late = flowcost("costs", "--from", "2026-11-03", "--to", "2026-11-04", "--format", "json")
    assert [row["bytes"] for row in json.loads(late.stdout)] == [7]
    team = flowcost("costs", "--filter", "local.owner.team=payments", "--format", "json")
    assert [row["list_cost"] for row in json.loads(team.stdout)] == ["0.01"]


def test_the_last_day_is_counted_back_from_now(flowcost, make_ledger):
    now = clock.hour_of(clock.now())
    recent = {"bytes": 5, "quantity": 5}
    rows = [charge("same_zone", hour=now - days * timedelta(days=1), **recent) for days in (0, 2)]
    ledger = make_ledger(rows).root
    for span, expected in (("24h", 5), ("3d", 10)):
        out = flowcost("costs", "--last", span, "--format", "json", ledger=ledger).stdout
        assert [row["bytes"] for row in json.loads(out)] == [expected]
    assert flowcost("costs", "--last", "yesterday").exit_code == 2
    with pytest.raises(UsageError, match="stands alone"):
        flowcost("costs", "--last", "24h", "--from", "2026-11-02")


def test_top_keeps_the_rest_in_one_row(flowcost):
    rows = json.loads(flowcost("costs", "--top", "1", "--format", "json").stdout)
    assert [row["path"] for row in rows] == ["nat_gateway", "(other)"]


@pytest.mark.parametrize("who", ends.ATTRIBUTE_BY)
def test_whoever_pays_the_sum_is_the_same(flowcost, who):
    out = flowcost("costs", "--by", "owner", "--attribute-by", who, "--format", "json").stdout
    rows = json.loads(out)
    assert sum(row["bytes"] for row in rows) == 108 * GIB + 7
    assert round(sum(Decimal(row["list_cost"]) for row in rows), 6) == Decimal("0.31")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("costs", "--filter", "pth=x"), FilterError, "did you mean path?"),
        (("costs", "--by", "pth"), UsageError, "did you mean path?"),
        (("costs", "--from", "2026-11-03", "--to", "2026-11-02"), UsageError, "half-open"),
        (("explain", "--filter", "path="), FilterError, "expected a value"),
    ],
)
def test_a_mistake_names_the_thing_and_the_way_out(flowcost, arguments, error, message):
    with pytest.raises(error) as caught:
        flowcost(*arguments)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_ledger_that_is_not_there_is_named(flowcost, tmp_path):
    with pytest.raises(LedgerError, match="no ledger there"):
        flowcost("costs", ledger=tmp_path / "nowhere")


def test_all_group_keys_are_listed(flowcost):
    listed = CliRunner().invoke(main, ["costs", "--keys"]).stdout
    assert "local.k8s.namespace.name" in listed
    assert "unpriced" not in listed


def test_explain_shows_verdict_rate_arithmetic_and_source(flowcost):
    text = flowcost("explain", "--top", "1").stdout
    for part in (
        "$0.18  nat_gateway  2026-11-02T10:00:00Z",
        "2147483648 bytes * 0.09 USD / 1073741824 bytes (1 GiB) = 0.18",
        "0.09 USD per GiB, us-east-1, since 2024-02-01",
        "aws-list, checked 2026-11-01, https://aws.amazon.com/",
        "test-nat_gateway (measured)",
        "zone of the remote end",
        "k8s.workload.name=cart",
        "node_agent, node-a",
    ):
        assert part in text


def test_an_explanation_of_what_is_unknown_invents_nothing(flowcost):
    out = flowcost("explain", "--filter", "path=unknown", "--format", "json").stdout
    (found,) = json.loads(out)
    assert found["list_cost"] is None
    assert found["rate"] is None
    assert found["remote"] == {"address": "2001:db8::7"}
    assert found["arithmetic"] == "3221225472 bytes, unpriced: no meter can be proven"
    text = flowcost("explain", "--filter", "path=unknown").stdout
    assert text.startswith("unpriced  unknown")


@pytest.mark.parametrize("form", ["csv", "markdown", "json", "table"])
def test_explain_without_a_match_is_not_an_error(flowcost, form):
    assert flowcost("explain", "--filter", "path=nowhere", "--format", form).exit_code == 0


def test_costs_of_a_scenario_that_the_pipeline_ran(flowcost):
    loaded = scenario.load(scenario.FOLDER / "cart-checkout")
    with scenario.run(loaded) as outcome:
        call = ("costs", "--format", "json", "--attribute-by", "dialed_service", "--by")
        out = flowcost(*call, "path,service.name", ledger=outcome.ledger.root).stdout
        assert sum(Decimal(row["list_cost"]) for row in json.loads(out)) == Decimal("0.02")
        text = flowcost("explain", ledger=outcome.ledger.root).stdout
        assert "* 0.01 USD / 1073741824 bytes (1 GiB) = 0.01" in text.replace(
            "0.0100000000", "0.01"
        )
