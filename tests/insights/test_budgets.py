"""The budget walk: one signal a month, whatever the order of data and however often we begin."""

import tempfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.insights.conftest import JUNE, PAYMENTS, Books, Watch

from flowcost import money
from flowcost.insights import spending
from flowcost.insights.budgets import Budget
from flowcost.ledger import Partition

JULY = datetime(2026, 7, 1, tzinfo=UTC)


def test_the_budget_walk(books, watch):
    books.send(10, JUNE)
    assert watch.round() == []
    books.send(10, JUNE + timedelta(hours=1))
    (incident,) = watch.round()
    assert "$0.20" in incident.summary
    assert "$0.15" in incident.summary
    assert "2026-06" in incident.summary
    assert (incident.kind, incident.severity) == ("cost.budget_exceeded", "warning")
    assert incident.target == "team:payments"
    assert incident.attributes == {
        "cost.budget_kind": "team",
        "cost.budget_name": "payments",
        "cost.month": "2026-06",
        "cost.spent_usd": "0.20",
        "cost.budget_usd": "0.15",
        "cost.threshold_percent": "100",
    }
    books.send(10, JUNE + timedelta(hours=2))
    assert watch.round() == [incident]

    watch.time = JULY + timedelta(hours=3)
    books.send(30, JULY)
    first, second = watch.round()
    assert second == incident
    assert first.attributes["cost.month"] == "2026-07"
    (state,) = watch.alerting.states("t1", date(2026, 7, 1))
    assert state.exceeded
    assert state.spent * 10 == 3 * money.ONE


def test_occurred_at_is_the_hour_that_crossed(books, watch):
    watch.time = JUNE + timedelta(hours=2, minutes=30)
    for hours, gibibytes in ((2, 50), (0, 10), (1, 10)):
        books.send(gibibytes, JUNE + timedelta(hours=hours))
    (incident,) = watch.round()
    assert incident.occurred_at == JUNE + timedelta(hours=2)
    assert incident.until == JUNE + timedelta(hours=2, minutes=30) + timedelta(days=1)


def test_late_data_credits_its_own_month_across_midnight_of_the_first(books, watch):
    books.send(10, JUNE)
    watch.time = JULY + timedelta(hours=1)
    books.send(10, JULY)
    assert watch.round() == []
    books.send(10, JULY - timedelta(hours=1))
    (june,) = watch.round()
    assert june.attributes["cost.month"] == "2026-06"
    watch.restart()
    books.send(10, JULY)
    july, still = watch.round()
    assert still == june
    assert july.attributes["cost.month"] == "2026-07"


def test_a_month_too_old_to_be_news_makes_none(books, watch):
    watch.time = JULY + timedelta(days=40)
    books.send(1000, JUNE)
    assert watch.round() == []
    (state,) = watch.alerting.states("t1", date(2026, 6, 1))
    assert state.exceeded


def test_a_restart_repeats_nothing(books, watch):
    books.send(20, JUNE)
    (incident,) = watch.round()
    for _ in range(3):
        watch.restart()
        books.send(20, JUNE)
        assert watch.round() == [incident]


def test_spend_that_falls_and_rises_again_is_one_incident(books, watch):
    books.send(20, JUNE)
    (incident,) = watch.round()
    books.ledger.drop(Partition("t1", "prod", JUNE))
    assert watch.round() == [incident]
    assert watch.alerting.states("t1", date(2026, 6, 1))[0].spent == 0
    books.send(1, JUNE)
    assert watch.round() == [incident]


def test_every_kind_of_budget_counts_what_its_key_holds(books):
    names = {"team": "payments", "service": "checkout", "namespace": "shop", "path": "cross_az"}
    budgets = [
        Budget(kind=k, name=n, monthly_usd=Decimal(9), tenant="t1") for k, n in names.items()
    ]
    elsewhere = Budget(kind="team", name="search", monthly_usd=Decimal(9), tenant="t1")
    watch = Watch(books, budgets=(*budgets, elsewhere))
    books.send(10, JUNE)
    books.send(7, JUNE, path="unknown", price=False)
    spent = {f"{s.kind}:{s.name}": (s.spent * 100, s.unpriced_bytes >> 30)
             for s in watch.alerting.states("t1", date(2026, 6, 1))}  # fmt: skip
    ten_cents = 10 * money.ONE
    assert spent == {
        "team:payments": (ten_cents, 7),
        "service:checkout": (ten_cents, 7),
        "namespace:shop": (ten_cents, 7),
        "path:cross_az": (ten_cents, 0),
        "team:search": (0, 0),
    }
    watch.alerting.stop()


def test_who_pays_is_the_budgets_own_choice(books):
    by_peer = msgspec.structs.replace(PAYMENTS, attribute_by="initiator")
    watch = Watch(books, budgets=(by_peer,))
    books.send(20, JUNE, initiator="remote")
    assert watch.round() == []
    books.send(20, JUNE, initiator="local")
    assert len(watch.round()) == 1
    watch.alerting.stop()


def test_another_tenants_spend_is_not_counted(books):
    watch = Watch(books, budgets=(msgspec.structs.replace(PAYMENTS, tenant="t2"),))
    books.send(20, JUNE)
    watch.alerting.round()
    assert watch.alerting.incidents("t2") == []
    assert watch.alerting.states("t1", date(2026, 6, 1)) == []
    assert watch.alerting.states("t2", date(2026, 6, 1))[0].spent == 0
    watch.alerting.stop()


def test_only_hours_that_changed_are_read_again(books, watch, monkeypatch):
    asked = []
    real = spending.costs

    def costs(ledger, selection, **rest):
        asked.append((selection.start, selection.end))
        return real(ledger, selection, **rest)

    monkeypatch.setattr(spending, "costs", costs)
    for hours in range(3):
        books.send(1, JUNE + timedelta(hours=hours))
    watch.round()
    assert asked == [spending.bounds(date(2026, 5, 1)), spending.bounds(date(2026, 6, 1))]
    asked.clear()
    watch.round()
    assert asked == []
    books.send(1, JUNE + timedelta(hours=1))
    watch.round()
    assert asked == [(JUNE + timedelta(hours=1), JUNE + timedelta(hours=2))]


def test_thresholds_are_told_once_each_and_only_the_highest_of_a_leap(books):
    budget = msgspec.structs.replace(PAYMENTS, monthly_usd=Decimal(1), thresholds=(50, 80, 100))
    watch = Watch(books, budgets=(budget,))
    books.send(49, JUNE)
    assert watch.round() == []
    books.send(1, JUNE)
    (half,) = watch.round()
    assert (half.kind, half.severity, half.signals) == ("cost.budget_threshold", "info", 1)
    assert "50 %" in half.title
    watch.alerting.move("t1", half.id, "resolved", who="ann")
    books.send(60, JUNE)  # past 80 and 100 at once
    (whole,) = watch.round()
    assert whole.id == half.id
    assert (whole.kind, whole.severity, whole.signals) == ("cost.budget_exceeded", "warning", 2)
    assert whole.state == "open"
    assert [c.who for c in whole.changes] == ["flowcost", "ann", "flowcost"]
    watch.alerting.stop()


ARRIVALS = st.lists(
    st.tuples(st.integers(-3, 3), st.integers(1, 9), st.sampled_from(["", "round", "restart"])),
    min_size=1,
    max_size=8,
)


@settings(max_examples=15)
@given(ARRIVALS)
def test_any_order_of_arrivals_and_restarts_makes_one_incident_for_a_month(arrivals):
    """Hours on both sides of midnight of the 1st arrive in any order, and we crash in between."""
    with tempfile.TemporaryDirectory() as folder:
        books = Books(Path(folder, "ledger"))
        watch = Watch(books)
        watch.time = JULY + timedelta(hours=5)
        sent = {6: 0, 7: 0}
        for hours, gibibytes, then in arrivals:
            hour = JULY + timedelta(hours=hours)
            books.send(gibibytes, hour)
            sent[hour.month] += gibibytes
            if then:
                watch.round()
            if then == "restart":
                watch.restart()
        watch.round()
        found = sorted(i.attributes["cost.month"] for i in watch.incidents())
        assert found == [f"2026-0{month}" for month, total in sent.items() if total >= 15]
        assert all(i.signals == 1 for i in watch.incidents())
        spent = {m: watch.alerting.states("t1", date(2026, m, 1))[0].spent for m in sent}
        assert spent == {m: total * money.ONE // 100 for m, total in sent.items()}
        watch.alerting.stop()


@pytest.mark.parametrize("month", [date(2026, 1, 1), date(2026, 12, 1), date(2028, 2, 1)])
def test_a_month_ends_where_the_next_begins(month):
    start, end = spending.bounds(month)
    assert start.date() == month
    assert end.day == 1
    assert (end - timedelta(hours=1)).month == month.month
