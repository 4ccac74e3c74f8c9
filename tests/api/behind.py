"""What stands behind the API in its tests: the real budgets, and a pipeline that has its say."""

from contextlib import contextmanager

from flowcost import clock
from flowcost.errors import UsageError
from flowcost.insights.alerting import Alerting
from flowcost.insights.budgets import short_form
from flowcost.insights.destinations import Signals
from flowcost.ledger.query import Table
from flowcost.schema import Column
from flowcost.views.service import ClusterState, LiveState

NOW = clock.parse("2026-11-03T02:00:00Z")


class Live:
    """A pipeline that stands where it is told."""

    def __init__(self, **state):
        empty = {"posted_until": None, "closed_until": None, "waiting": 0, "waiting_bytes": 0}
        self.now = LiveState(**empty | state)

    def state(self, tenant):
        return (
            self.now
            if tenant == "t1"
            else LiveState(
                **dict.fromkeys(("posted_until", "closed_until")), waiting=0, waiting_bytes=0
            )
        )

    def minutes(self, selection, by):
        if selection.start is None:
            raise UsageError("minutes need a start and an end")
        names = ("minute", *by, "bytes")
        return Table(tuple(Column(name, "text", "") for name in names), ())


class Clusters:
    """Clusters of one tenant."""

    def __init__(self, **state):
        self.one = ClusterState(cluster="prod", nodes=3, last_segment=NOW, **state)

    def states(self, tenant):
        return [self.one] if tenant == "t1" else []


@contextmanager
def alerting(ledger, folder, rules="team:payments=0.01,team:storefront=500,path:cross_az=0.02"):
    """Run the real budgets over a ledger, without destinations."""
    found = Alerting(
        ledger,
        folder / "signals.sqlite",
        budgets=short_form(rules, tenant="t1"),
        settings=Signals(),
        now=lambda: NOW,
    )
    try:
        found.round()
        yield found
    finally:
        found.stop()
