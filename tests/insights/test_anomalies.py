"""An unusual day is told once, with the filter that shows it; a usual one never."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import S3, charge, write
from tests.insights.conftest import Watch

from flowcost import money
from flowcost.insights.anomalies import Anomalies, AnomalyWatch
from flowcost.insights.savings import Savings, SavingsWatch
from flowcost.ledger.query import Selection
from flowcost.ledger.totals import totals
from flowcost.money import GIB

MONDAY = datetime(2026, 6, 22, 10, tzinfo=UTC)
WEEK, DAY = timedelta(days=7), timedelta(days=1)
RULE = Anomalies(by="team", least_usd=Decimal("0.05"), tenant="t1")


def watched(books, *days, rule=RULE):
    """Return a watch on the morning after MONDAY; `days` are GiB, MONDAY's first."""
    for weeks, gibibytes in enumerate(days):
        if gibibytes:
            books.send(gibibytes, MONDAY - weeks * WEEK)
    found = Watch(books, budgets=())
    found.alerting.watches = (AnomalyWatch(books.ledger, rule),)
    found.time = MONDAY + DAY
    return found


@pytest.fixture
def unusual(books):
    found = watched(books, 31, 10, 15, 12)
    yield found
    found.alerting.stop()


def test_a_day_that_cost_far_more_is_told_once_with_its_evidence(books, unusual):
    (incident,) = unusual.round()
    assert (incident.kind, incident.target) == ("cost.anomaly", "team:payments")
    assert "cost $0.31 on 2026-06-22" in incident.summary
    assert "at most $0.15" in incident.summary
    assert "cross_az, $0.21 more" in incident.summary
    found = incident.attributes
    assert found["cost.earlier_usd"] == "0.10, 0.15, 0.12"
    shown = Selection(
        where=found["cost.filter"],
        start=datetime.fromisoformat(found["cost.from"]),
        end=datetime.fromisoformat(found["cost.to"]),
        tenant="t1",
    )
    assert totals(books.ledger, shown).list_cost * 100 == 31 * money.ONE
    assert incident.occurred_at == datetime(2026, 6, 23, tzinfo=UTC)

    books.send(1, MONDAY)  # late data: the day is looked at again, and told no more
    assert unusual.round() == [incident]
    unusual.alerting.watches = (AnomalyWatch(books.ledger, RULE),)  # as after a restart
    assert unusual.round() == [incident]


@pytest.mark.parametrize(
    ("days", "why"),
    [
        ((30, 10, 15, 12), "twice the dearest is not more than twice"),
        ((12, 10, 15, 12), "an ordinary day"),
        ((90, 10), "one earlier day is no custom"),
        ((90,), "nothing to compare with"),
        ((4, 1, 1, 1), "four times as much, and four cents"),
        ((0, 10, 10, 10), "a day without cost"),
    ],
)
def test_an_ordinary_day_is_not_told(books, days, why):
    watch = watched(books, *days)
    assert watch.round() == [], why
    watch.alerting.stop()


def test_other_days_of_the_week_are_not_compared(books):
    for days in range(1, 7):
        books.send(1, MONDAY - timedelta(days=days))
    watch = watched(books, 20, 18, 19)
    assert watch.round() == []
    watch.alerting.stop()


def test_a_day_is_looked_at_when_what_is_late_is_in(books, unusual):
    unusual.time = datetime(2026, 6, 23, 2, 59, tzinfo=UTC)
    assert unusual.round() == []
    unusual.time += timedelta(minutes=1)
    assert len(unusual.round()) == 1


def test_a_day_that_has_not_changed_is_not_compared_again(books, monkeypatch):
    watch = AnomalyWatch(books.ledger, RULE)
    books.send(1, MONDAY)
    asked = []
    monkeypatch.setattr(AnomalyWatch, "_spent", lambda self, day: asked.append(day) or {})
    list(watch.signals(MONDAY + DAY))
    assert len(asked) == 1 + RULE.weeks
    list(watch.signals(MONDAY + DAY))
    assert len(asked) == 1 + RULE.weeks


@given(st.integers(0, 10**40), st.integers(0, 10**40))
def test_what_is_unusual_is_decided_exactly(cost, usual):
    watch = AnomalyWatch(None, RULE)
    least = money.from_decimal(RULE.least_usd)
    assert watch._is_unusual(cost, usual) == (cost > 2 * usual and cost - usual >= least)


def test_bounds_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="by = 'planet'"):
        Anomalies(by="planet")
    for bad in ("NaN", "Infinity", "-1"):
        with pytest.raises(ValueError, match="least_usd"):
            Anomalies(by="team", least_usd=Decimal(bad))
        with pytest.raises(ValueError, match="least_usd"):
            Savings(least_usd=Decimal(bad))


def test_a_saving_is_told_once_a_month_and_only_if_asked_for(books):
    nat = charge(
        "nat_gateway",
        "NatGateway-Bytes",
        hour=MONDAY,
        remote=S3,
        leg="processing",
        resource_id="nat-1",
        bytes=500 * GIB,
        quantity=500 * GIB,
    )
    write(books.ledger.root, [nat])
    quiet = Watch(books, budgets=())
    quiet.time = MONDAY + DAY
    assert quiet.round() == []
    quiet.alerting.watches = (SavingsWatch(books.ledger, Savings(tenant="t1")),)
    (incident,) = quiet.round()
    assert (incident.kind, incident.severity) == ("cost.saving", "info")
    assert incident.attributes["cost.saved_usd"] == "22.50"
    assert "S3" in incident.title
    quiet.time += DAY
    assert quiet.round() == [incident]
    too_small = SavingsWatch(books.ledger, Savings(tenant="t1", least_usd=Decimal(23)))
    assert list(too_small.signals(MONDAY + DAY)) == []
    quiet.alerting.stop()
