"""Every query of the dashboard runs on a real Prometheus that scraped an agent and a server.

Prometheus is Debian's. The server is `flowcost serve`, and what its metrics say was posted to it
as agents post; the agent's page comes from the agent's own HTTP server and metrics. All of it is
on loopback and ends with the test.
"""

import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import timedelta

import pytest

from flowcost import clock
from flowcost.agent.exposition import MetricsServer
from flowcost.agent.exposition import render as exposed
from flowcost.agent.lines import OVERFLOW, Line
from flowcost.agent.metrics import families
from flowcost.agent.status import Status
from flowcost.agent.tally import Tally
from flowcost.model import Direction, Identity, Path
from flowcost.views.grafana_fleet import PANELS
from tests.agent.test_metrics import CART, CENT, RATE, sent
from tests.insights.receiver import receiver
from tests.server.posting import both_ends
from tests.server.test_process import booked, eventually, post, served

PROMETHEUS = shutil.which("prometheus")
pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="no Prometheus on this machine")
SCRAPES = 12  # a second apart


class Agent:
    """An agent's own page, on which every scrape finds more of everything."""

    def __init__(self):
        self.tally, self.drains = Tally(), 0
        self.server = MetricsServer(("127.0.0.1", 0), self.page, lambda: True)
        self.address = f"127.0.0.1:{self.server.port}"

    def page(self):
        self.drains += 1
        n = self.drains
        paths = [p for p in Path if p is not Path.UNKNOWN]
        lines = [sent(path, 1 << 20, cost=CENT << 20) for path in paths]
        lines += [sent(paths[0], 9, direction=Direction.RECEIVE)]
        lines += [sent(Path.UNKNOWN, 1 << 20, priced=False)]
        lines += [Line(CART, Identity(), "", "", Direction.TRANSMIT, OVERFLOW, 5, 1, 0, 5)]
        self.tally.take(lines, n)
        status = Status(
            drains=n,
            drain_milliseconds=3 * n,
            rows=900,
            map_rows=65536,
            map_bytes=1 << 20,
            lost_transmitted_bytes=n,
            join_misses=n,
            conntrack_entries=10,
            conntrack_limit=1000,
            spool_bytes=4096,
            cpu_milliseconds=n,
            resident_bytes=50 << 20,
        )
        return exposed(families(self.tally, status, [RATE], "list"))


class Posts:
    """Two nodes that post to a server, again and again, until told to end."""

    def __init__(self, url):
        self.url, self.number = url, 0
        self.hour = clock.hour_of(clock.now() - timedelta(minutes=5))
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.go_on)

    def once(self):
        self.number += 1
        for one in both_ends(self.number, 1 << 30, at=self.number, hour=self.hour):
            assert post(self.url, one)[0] == 200

    def go_on(self):
        while not self.stopping.wait(0.5):
            self.once()

    def close(self):
        self.stopping.set()
        self.thread.join()


class Asked:
    """A running Prometheus, asked by its HTTP API."""

    def __init__(self, folder, agents, server):
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [
                {"job_name": "agent", "static_configs": [{"targets": agents}]},
                {"job_name": "server", "static_configs": [{"targets": [server]}]},
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            stdout=self.log,
            stderr=self.log,
        )

    def get(self, what, **query):
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(query, doseq=True)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def wait_for(self, expr, enough):
        for _ in range(600):
            try:
                found = self.get("query", query=expr)["data"]["result"]
            except (OSError, ValueError, KeyError):  # not there yet, or not ready yet
                found = []
            if found and all(float(sample["value"][1]) >= enough for sample in found):
                return
            time.sleep(0.1)
        raise AssertionError(f"{expr} did not reach {enough}: {self.get('targets')}")

    def close(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


CONFIG = """
[ledger]
path = "ledger"
[live]
every = "1s"
[[budgets]]
kind = "team"
name = "storefront"
monthly_usd = 0.01
[signals]
every = "1s"
[[signals.webhooks]]
url = "{hook}"
secret = {{ file = "secret" }}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Return the URL of `flowcost serve`, over whose budget two nodes have posted."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "secret").write_text("sixteen bytes at least")
    with receiver() as hook:
        (folder / "flowcost.toml").write_text(CONFIG.format(hook=hook.url))
        with served("--config", str(folder / "flowcost.toml")) as (_, url):
            posts = Posts(url)
            for _ in range(3):
                posts.once()
            eventually(lambda: hook.got and booked(url))
            posts.thread.start()
            try:
                yield url
            finally:
                posts.close()
        assert len(hook.got) == 1
        assert b"cost.budget_exceeded" in hook.bodies[0]


@pytest.fixture(scope="module")
def prometheus(server, tmp_path_factory):
    """Return a Prometheus that scraped both a few times."""
    agent = Agent()
    asked = Asked(tmp_path_factory.mktemp("prometheus"), [agent.address], server.partition("//")[2])
    try:
        asked.wait_for("min(up)", 1)
        asked.wait_for('min(count_over_time(up{job!=""}[1m]))', SCRAPES)
        yield asked
    finally:
        asked.close()
        agent.server.close()


def filled(expr):
    """Return an expression as Grafana would send it: its variables have values."""
    for name, value in (
        ("$__rate_interval", "10s"),
        ("$__range", "30s"),
        ("$namespace", ".*"),
    ):
        expr = expr.replace(name, value)
    assert "$" not in expr
    return expr


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_every_query_runs_and_finds_data(prometheus, panel):
    for query in panel.queries:
        expr = filled(query.expr)
        if panel.instant:
            answer = prometheus.get("query", query=expr)
        else:
            now = time.time()
            answer = prometheus.get("query_range", query=expr, start=now - 5, end=now, step=1)
        assert answer["status"] == "success", answer
        assert not answer.get("warnings"), answer
        result = answer["data"]["result"]
        assert result, f"no data: {expr}"
        values = [v for s in result for _, v in s.get("values", [s.get("value")])]
        assert not {"NaN", "+Inf", "-Inf"} & set(values) or panel.title == "Time of a request"
        for label in set(_labels(query.legend)):
            assert any(label in sample["metric"] for sample in result), label


def _labels(legend):
    return [part.partition("}}")[0] for part in legend.split("{{")[1:]]


def test_the_variable_offers_namespaces(prometheus):
    metric = "flowcost_pod_network_io_bytes_total"
    found = prometheus.get("label/namespace/values", **{"match[]": metric})
    assert found["data"] == ["shop"]


def test_what_prometheus_stores_is_what_the_ledger_says(prometheus):
    """Every way of cutting it adds up to the same, and the cost is that of the bytes."""
    at = time.time()
    time.sleep(3)  # by then the scrape that counts at that instant is stored as a whole
    for measure in ("bytes", "list_cost_usd"):
        found = set()
        for noun in ("", "namespace_", "owner_", "cluster_", "conversation_"):
            expr = f"sum(flowcost_ledger_day_{noun}{measure})"
            (sample,) = prometheus.get("query", query=expr, time=at)["data"]["result"]
            found.add(round(float(sample["value"][1]), 9))  # it adds in doubles
        assert len(found) == 1
        assert found.pop() > 0
