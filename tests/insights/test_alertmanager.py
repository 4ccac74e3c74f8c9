"""A real Alertmanager (Debian package) is told how things stand."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from decimal import Decimal

import msgspec
import pytest
from tests.insights.conftest import JUNE, PAYMENTS, Watch
from tests.insights.receiver import receiver

from flowcost import clock
from flowcost.insights.destinations import Alertmanager, Signals
from flowcost.secret import Secret

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
needs_it = pytest.mark.skipif(PROGRAM is None, reason="no Alertmanager on this machine")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Running:
    """An Alertmanager that routes to nobody, started and stopped at will: it forgets alerts."""

    def __init__(self, folder):
        self.config = folder / "alertmanager.yml"
        self.config.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [
                PROGRAM,
                f"--config.file={self.config}",
                f"--storage.path={self.config.parent / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--cluster.listen-address=",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{self.url}/-/ready", timeout=1).close()
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
            else:
                return
        raise AssertionError("Alertmanager did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait(20)

    def alerts(self):
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5) as answer:
            return json.load(answer)

    def names(self):
        return sorted(alert["labels"]["alertname"] for alert in self.alerts())


@pytest.fixture
def manager(tmp_path):
    found = Running(tmp_path)
    yield found
    found.stop()


@needs_it
def test_a_real_alertmanager_hears_of_it_until_somebody_has_dealt_with_it(books, manager):
    settings = Signals(alertmanagers=(Alertmanager(url=manager.url, tenant="t1"),))
    watch = Watch(books, settings)
    # It drops what has ended by its own clock, so this month is this month.
    watch.time = clock.now()
    books.send(20, clock.hour_of(watch.time))
    (incident,) = watch.round()
    (alert,) = manager.alerts()
    assert alert["labels"] == {
        "alertname": "FlowcostBudgetExceeded",
        "severity": "warning",
        "tenant": "t1",
        "target": "team:payments",
        "incident": incident.id,
    }
    assert "$0.20" in alert["annotations"]["description"]
    assert alert["status"]["state"] in ("active", "unprocessed")

    manager.stop()
    watch.round()  # nobody there: no matter
    (state,) = watch.alerting.destinations("t1")
    assert state.trouble == "ConnectError"
    manager.start()
    assert manager.alerts() == []
    watch.round()
    assert manager.names() == ["FlowcostBudgetExceeded"]

    watch.alerting.move("t1", incident.id, "resolved", who="ann")
    watch.time = clock.now()
    watch.round()
    for _ in range(50):
        if not manager.alerts():
            break
        time.sleep(0.1)
    assert manager.alerts() == []
    watch.alerting.stop()


def test_what_is_said_follows_the_incident(books, hook, tmp_path):
    token = tmp_path / "token"
    token.write_text("tok")
    to = Alertmanager(url=f"{hook.url}/am/", token=Secret(file=token), tenant="t1")
    watch = Watch(books, Signals(alertmanagers=(to,)))
    watch.round()
    assert hook.got == []  # nothing to say
    books.send(20, JUNE)
    (incident,) = watch.round()
    ((path, headers, body),) = hook.got
    assert path == "/am/api/v2/alerts"
    assert headers["authorization"] == "Bearer tok"
    (alert,) = json.loads(body)
    assert alert["endsAt"] == clock.iso(incident.until)

    watch.wait(minutes=1)
    watch.alerting.move("t1", incident.id, "dismissed", who="ann", reason="planned")
    watch.round()
    (alert,) = json.loads(hook.bodies[-1])
    assert alert["endsAt"] == clock.iso(watch.time)
    said = len(hook.got)
    watch.wait(minutes=16)
    watch.round()
    assert len(hook.got) == said


def test_a_lesser_alert_ends_when_the_greater_begins(books):
    budget = msgspec.structs.replace(PAYMENTS, monthly_usd=Decimal(1), thresholds=(50, 100))
    with receiver() as hook:
        to = Alertmanager(url=hook.url, tenant="t1")
        watch = Watch(books, Signals(alertmanagers=(to,)), budgets=(budget,))
        books.send(50, JUNE)
        watch.round()
        books.send(50, JUNE)
        watch.wait(hours=3)
        (incident,) = watch.round()
        greater, lesser = json.loads(hook.bodies[-1])
        assert greater["labels"]["alertname"] == "FlowcostBudgetExceeded"
        assert greater["endsAt"] == clock.iso(incident.until)
        assert lesser["labels"]["alertname"] == "FlowcostBudgetThreshold"
        assert lesser["endsAt"] == clock.iso(incident.occurred_at)
        watch.alerting.stop()
