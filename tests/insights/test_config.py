"""Budgets and destinations in flowcost.toml: exact, strict, all faults at once."""

from decimal import Decimal

import pytest

from flowcost.config import load
from flowcost.errors import ConfigError, UsageError
from flowcost.insights.alerting import Alerting
from flowcost.ledger import Ledger

GOOD = """
[[budgets]]
kind = "team"
name = "payments"
monthly_usd = 0.1
thresholds = [50, 100]

[signals]
budgets = "path:cross_az=90"

[[signals.webhooks]]
url = "https://hooks.example.com/cost"
secret = { env = "HOOK" }
"""


def loaded(tmp_path, text, environment=None):
    path = tmp_path / "flowcost.toml"
    path.write_text(text)
    return load(path, environment or {})


def test_an_amount_is_what_the_file_says(tmp_path):
    config = loaded(tmp_path, GOOD)
    assert config.budgets[0].monthly_usd == Decimal("0.1")
    assert config.signals.webhooks[0].name == "webhook"
    alerting = Alerting(
        Ledger(tmp_path),
        tmp_path / "signals.sqlite",
        budgets=config.budgets,
        settings=config.signals,
    )
    assert [b.rule for b in alerting.spending.budgets] == ["path:cross_az=90", "team:payments=0.1"]
    alerting.stop()


def test_the_environment_gives_the_short_form(tmp_path):
    found = loaded(tmp_path, "", {"FLOWCOST__SIGNALS__BUDGETS": "team:payments=500,service:x=3"})
    assert found.signals.budgets == "team:payments=500,service:x=3"


def test_every_bad_budget_is_quoted_at_once(tmp_path):
    text = (
        GOOD.replace("0.1", "nan") + '[[budgets]]\nkind = "planet"\nname = "x"\nmonthly_usd = 1\n'
    )
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text.replace("path:cross_az=90", "payments=500"))
    for part in ("budgets[0]: 'team:payments=NaN'", "budgets[1]: 'planet:x=1'", "'payments=500'"):
        assert part in caught.value.message


def test_a_budget_in_both_places_is_refused(tmp_path):
    config = loaded(tmp_path, GOOD.replace("path:cross_az=90", "team:payments=7"))
    with pytest.raises(UsageError, match="'team:payments': given 2 times"):
        Alerting(
            Ledger(tmp_path),
            tmp_path / "signals.sqlite",
            budgets=config.budgets,
            settings=config.signals,
        )


def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path):
    with pytest.raises(ConfigError, match="a secret is named") as caught:
        loaded(tmp_path, GOOD.replace('{ env = "HOOK" }', '"hunter2hunter2"'))
    assert "hunter2" not in str(caught.value)
