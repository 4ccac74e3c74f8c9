import json

import pytest
from click.testing import CliRunner

from flowcost.cli import main

pytestmark = pytest.mark.lab


@pytest.fixture
def flowcost(agents_allowed):
    return lambda *words: CliRunner().invoke(main, ["lab", *words], catch_exceptions=False)


def test_a_scenario_prints_agent_bytes_against_wire_bytes_and_dollars(flowcost):
    done = flowcost("--only", "UDP GSO", "--format", "json")
    assert done.exit_code == 0
    rows = json.loads(done.stdout)
    assert {row["end"] for row in rows} >= {"cart-0"}
    assert {row["direction"] for row in rows} == {"transmit", "receive"}
    for row in rows:
        assert row["agent_bytes"] == row["wire_bytes"] == 40 * 30 * 1228
        assert row["byte_difference"] == row["packet_difference"] == 0
        assert row["list_cost"] == "0.000014"


def test_the_table_says_how_many_ends_are_exact_and_which_gaps_are_known(flowcost):
    done = flowcost("--only", "churn")
    assert "sending ends equal the wire exactly" in done.stdout
    assert "packets that arrive after the socket is gone" in done.stdout


def test_the_demo_tells_both_legs_and_what_a_reader_of_one_address_would_say(flowcost):
    done = flowcost("demo", "--mib", "4")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    legs = [line.split()[:5] for line in lines if line.startswith("  node-")]
    assert legs == [
        ["node-a", "cart", "transmit", "cross_az", "InterZone-Out"],
        ["node-a", "cart", "receive", "cross_az", "InterZone-In"],
        ["node-b", "checkout", "transmit", "cross_az", "InterZone-Out"],
        ["node-b", "checkout", "receive", "cross_az", "InterZone-In"],
    ]
    assert "difference $0." in done.stdout
    assert "cart dialed shop/checkout; conntrack says the backend is in use1-az2." in done.stdout
    assert "10.244.1.11 -> 10.244.2.2" in done.stdout
    assert "path unknown" in done.stdout


def test_the_sweep_has_nothing_to_do_after_a_run(flowcost):
    assert flowcost("sweep").stdout == ""
