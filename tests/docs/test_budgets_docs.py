"""docs/budgets.md: its configuration loads, its JSON and its code are what the product does."""

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from flowcost import config
from flowcost.insights import anomalies, savings, signals
from flowcost.insights.budgets import Budget, short_form
from flowcost.insights.destinations import Webhook, _alert, message
from flowcost.insights.incidents import IncidentState
from flowcost.money import ONE
from flowcost.secret import Secret
from flowcost.views.api.table import endpoints

TEXT = (Path(__file__).parents[2] / "docs" / "budgets.md").read_text()
KINDS = {
    signals.EXCEEDED: "warning",
    signals.THRESHOLD: "info",
    anomalies.KIND: "warning",
    savings.KIND: "info",
}


def block(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def of_the_walk():
    budget = Budget(kind="team", name="payments", monthly_usd=Decimal("0.15"))
    reached = datetime(2026, 6, 12, 11, tzinfo=UTC)
    return signals.of_budget(budget, date(2026, 6, 1), 100, spent=ONE // 5, reached=reached)


def test_the_configuration_loads(tmp_path):
    (text,) = block("toml")
    path = tmp_path / "flowcost.toml"
    path.write_text(text)
    found = config.load(path, {})
    assert [b.rule for b in found.budgets] == ["team:payments=500", "path:cross_az=1200.50"]
    assert len(found.signals.messages) == 2
    assert len(found.signals.alertmanagers) == len(found.anomalies) == len(found.savings) == 1


def test_the_short_form_is_read():
    text = re.search(r'FLOWCOST__SIGNALS__BUDGETS="(.*)"', TEXT)[1]
    assert len(short_form(text)) == 3


def test_the_message_is_as_shown():
    shown = json.loads(block("json")[0])
    made = json.loads(msgspec.json.encode(of_the_walk()))
    for invented in ("id", "incident"):
        assert len(shown.pop(invented)) == len(made.pop(invented))
    assert shown == made


def test_every_kind_is_told_with_its_severity():
    rows = dict(re.findall(r"^\| `(cost\.\w+)` \| (\w+) \|", TEXT, re.MULTILINE))
    assert rows == KINDS


@pytest.mark.parametrize("secret", ["sixteen bytes or more", "whsec_c2l4dGVlbiBieXRlcyBvciBtb3Jl"])
def test_the_code_verifies_what_we_send_and_nothing_else(secret, tmp_path):
    (tmp_path / "secret").write_text(secret)
    names = {}
    exec(block("python")[0], names)
    to = Webhook(url="http://127.0.0.1/", secret=Secret(file=tmp_path / "secret"))
    sent = message(to, of_the_walk(), datetime(2026, 6, 12, 11, tzinfo=UTC))
    assert names["is_genuine"](secret, sent.headers, sent.body)
    assert not names["is_genuine"](secret, sent.headers, sent.body + b" ")
    assert not names["is_genuine"]("another secret altogether", sent.headers, sent.body)


def test_every_alert_and_state_is_named():
    class Any:
        tenant = target = id = title = summary = ""
        opened_at = datetime(2026, 6, 12, tzinfo=UTC)

    for kind, severity in KINDS.items():
        assert f"`{_alert(Any, kind, severity, Any.opened_at)['labels']['alertname']}`" in TEXT
    for state in IncidentState:
        assert f"`{state}`" in TEXT


def test_the_addresses_shown_are_routes():
    paths = {endpoint.path for endpoint in endpoints()}
    for shown in re.findall(r"flowcost\.example\.com(/v1/\w+)(/\w+)?", TEXT):
        assert shown[0] + ("/{id}" if shown[1] else "") in paths
