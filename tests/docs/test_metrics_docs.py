"""docs/metrics.md: every metric it names is served, and Prometheus takes its files."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowcost.agent import metrics as agent_metrics
from flowcost.agent.status import Status
from flowcost.agent.tally import Tally
from flowcost.cli import main
from flowcost.views import ledger_metrics, series

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "metrics.md").read_text()
SERVED = {one.name for one in series.ALL} | {
    family.name for family in agent_metrics.families(Tally(), Status(), (), "")
}
PROMTOOL = shutil.which("promtool")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_every_metric_named_is_served():
    named = set(re.findall(r"\bflowcost_\w+", TEXT)) - {"flowcost_rules"}
    assert len(named) > 12
    for name in named:
        prefix = name.endswith("_")
        assert any(one.startswith(name) if prefix else one == name for one in SERVED), name


def test_totals_of_the_ledger_are_gauges_as_the_page_says():
    for one in series.ALL:
        if one.name.startswith("flowcost_ledger_"):
            assert one.type == "gauge"
    rules = blocks("yaml")[1]
    assert not re.search(r"(rate|increase)\(flowcost_ledger", rules)


def test_the_bounds_are_those_of_the_code():
    assert f"the {ledger_metrics.TOP} dearest" in TEXT


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine")
@pytest.mark.parametrize(("number", "what"), [(0, "config"), (1, "rules")])
def test_prometheus_takes_the_files(number, what, tmp_path):
    text = blocks("yaml")[number].replace("/etc/prometheus/flowcost-token", str(tmp_path / "t"))
    # Debian builds Prometheus without the discovery of Kubernetes.
    text = text.replace("kubernetes_sd_configs:\n      - role: pod", "static_configs: []")
    (tmp_path / "t").write_text("token")
    path = tmp_path / "file.yml"
    path.write_text(text)
    found = subprocess.run(
        [PROMTOOL, "check", what, str(path)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_dashboard_is_where_the_page_says(tmp_path):
    assert (DOCS / ".." / "deploy" / "grafana" / "flowcost.json").exists()
    (line,) = [line for line in blocks("sh")[0].splitlines() if line]
    path = tmp_path / "flowcost.json"
    arguments = [*line.split()[1:-1], str(path)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    found = json.loads(path.read_text())
    rows = [panel for panel in found["panels"] if panel["type"] == "row"]
    assert len(rows) == 6
