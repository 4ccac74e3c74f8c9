"""Every query of the dashboard runs on a real Prometheus that scraped an agent and a server.

Prometheus is Debian's; the agent's page comes from the agent's own server and metrics, and the
server is uvicorn over a real ledger. All of it is on loopback and ends with the test.
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

import pytest
import uvicorn

from flowcost.agent.exposition import MetricsServer
from flowcost.agent.exposition import render as exposed
from flowcost.agent.lines import OVERFLOW, Line
from flowcost.agent.metrics import families
from flowcost.agent.status import Status
from flowcost.agent.tally import Tally
from flowcost.insights.destinations import Signals, Webhook
from flowcost.model import Direction, Identity, Path
from flowcost.secret import Secret
from flowcost.views.grafana_fleet import PANELS
from tests.agent.test_metrics import CART, CENT, RATE, sent
from tests.insights.receiver import receiver
from tests.views.serving import Stack, application

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


class Server(uvicorn.Server):
    """Uvicorn on a thread, on a free port."""

    def __init__(self, app):
        super().__init__(uvicorn.Config(app, log_level="error", lifespan="off"))
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self.run, args=([self.socket],))
        self.thread.start()

    def close(self):
        self.should_exit = True
        self.thread.join()
        self.socket.close()


class Asked:
    """A running Prometheus, asked by its HTTP API."""

    def __init__(self, folder, agent, server, token):
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [
                {"job_name": "agent", "static_configs": [{"targets": [agent]}]},
                {
                    "job_name": "server",
                    "authorization": {"credentials": token},
                    "scrape_timeout": "1s",
                    "static_configs": [{"targets": [server]}],
                },
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


@pytest.fixture(scope="module")
def prometheus(shop, tmp_path_factory):
    """Return a Prometheus that scraped both a few times; it and both are ended after."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "secret").write_text("sixteen bytes at least")
    with receiver() as hook:
        to = Webhook(url=hook.url, secret=Secret(file=folder / "secret"), tenant="t1")
        stack = Stack(shop, folder, Signals(webhooks=(to,)))
        server, agent = Server(application(stack.service)), Agent()
        asked = Asked(folder, agent.address, server.address, stack.door.tokens["viewer"])
        try:
            asked.wait_for("min(up)", 1)  # series begin before what is counted next
            stack.alerting.round()
            assert len(hook.got) == 1
            for _ in range(SCRAPES):
                stack.service.instruments.posted("t1", "prod", "accepted", 1000)
                time.sleep(0.5)
            asked.wait_for('min(count_over_time(up{job!=""}[1m]))', SCRAPES)
            yield asked
        finally:
            asked.close()
            server.close()
            agent.server.close()
            stack.close()


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
    stored = prometheus.get("query", query="sum(flowcost_ledger_month_bytes)")
    by_owner = prometheus.get("query", query="sum(flowcost_ledger_month_owner_bytes)")
    assert stored["data"]["result"][0]["value"][1] == by_owner["data"]["result"][0]["value"][1]
    assert int(stored["data"]["result"][0]["value"][1]) == 108 * (1 << 30) + 7
