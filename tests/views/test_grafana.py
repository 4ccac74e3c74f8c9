"""The dashboard: every metric is one we serve, and the JSON is what Grafana's model says."""

import json

import pytest
from click.testing import CliRunner

from flowcost.agent import metrics as agent_metrics
from flowcost.agent.status import Status
from flowcost.agent.tally import Tally
from flowcost.cli import main
from flowcost.views import series
from flowcost.views.grafana import WIDTH, dashboard, metrics_of, render
from flowcost.views.grafana_fleet import PANELS, ROWS

SERVED = {one.name: one.labels for one in series.ALL} | {
    family.name: family.labels for family in agent_metrics.families(Tally(), Status(), (), "")
}
CELLS = dashboard(ROWS)["panels"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_every_metric_of_a_panel_is_one_that_agent_or_server_serves(panel):
    found = metrics_of([panel])
    assert found
    assert found <= set(SERVED)
    assert panel.text.endswith(".")


def test_there_is_a_panel_for_everything_that_was_asked_for():
    assert len(PANELS) >= 23
    titles = {panel.title for panel in PANELS}
    assert len(titles) == len(PANELS)
    assert titles >= {
        "Dollars an hour by pod",
        "Dollars an hour by namespace",
        "Dollars an hour by billing path",
        "Pod by billing path",
        "Conversations",
        "Unknown share",
        "Age of the oldest rate",
        "Spent of each budget",
        "Kernel drops",
        "Map fill",
        "Join misses",
        "Spool backlog",
        "CPU of the agents",
        "Memory of the agents",
        "Inbox",
        "Time of a request",
    }


def test_panels_lie_beside_each_other_and_fill_the_width():
    taken = set()
    for cell in CELLS:
        place = cell["gridPos"]
        assert 0 <= place["x"] <= WIDTH - place["w"]
        squares = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not squares & taken, cell["title"]
        taken |= squares
    assert len({cell["id"] for cell in CELLS}) == len(CELLS)


def test_it_can_be_imported_anywhere():
    found = dashboard(ROWS)
    assert found["id"] is None
    assert [v["name"] for v in found["templating"]["list"]] == ["datasource", "namespace"]
    for cell in CELLS:
        if cell["type"] == "row":
            continue
        assert cell["datasource"]["uid"] == "${datasource}"
        assert cell["targets"]
        refs = [target["refId"] for target in cell["targets"]]
        assert len(set(refs)) == len(refs)
        steps = cell["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert steps[0]["value"] is None
        assert [s["value"] for s in steps[1:]] == sorted(s["value"] for s in steps[1:])


def test_the_command_writes_it(tmp_path):
    path = tmp_path / "flowcost.json"
    result = CliRunner().invoke(main, ["export", "--grafana", "-o", str(path)])
    assert result.exit_code == 0, result.output
    assert path.read_text() == render(ROWS)
    assert json.loads(path.read_text()) == dashboard(ROWS)
    assert CliRunner().invoke(main, ["export", "--grafana", "--sql", "athena"]).exit_code != 0
