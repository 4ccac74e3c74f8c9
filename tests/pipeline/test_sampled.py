"""A sampled flow is priced by what it stands for."""

import shutil

import pytest

from flowcost.ledger.query import Selection, costs
from flowcost.pipeline import scenario
from flowcost.sources import flow_csv

GOOD = scenario.FOLDER / "cart-checkout"
RATE = 64


@pytest.fixture
def sampled(tmp_path):
    """Return the scenario with every sixty-fourth byte in its file, and the rate beside it."""
    folder = shutil.copytree(GOOD, tmp_path / "case")
    whole = flow_csv.read(folder / "flows.csv")
    for size in whole["bytes"].to_pylist():
        assert size % RATE == 0
    path = folder / "flows.csv"
    header, *rows = path.read_text().splitlines()
    names = header.split(",")
    told = [dict(zip(names, row.split(","), strict=True)) for row in rows if row]
    lines = [f"{header},sampling_rate"]
    for row in told:
        row["bytes"] = str(int(row["bytes"]) // RATE)
        lines.append(",".join([*row.values(), str(RATE)]))
    path.write_text("\n".join(lines) + "\n")
    return folder


def booked(folder):
    with scenario.run(scenario.load(folder)) as outcome:
        return costs(outcome.ledger, Selection(), by=("path", "operation", "provenance")).rows


def test_what_it_stands_for_is_what_it_costs(sampled):
    assert booked(sampled) == booked(GOOD)
