"""Budgets and unusual days are watched, and who is to know is told: at least once, then no more.

A round looks at this UTC month and the one before (late data counts in its own month), records
new signals, and makes the deliveries that are due. The law it keeps: one incident for a budget
and month, and one message for each of its thresholds, whatever the order of data and restarts.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Protocol

from flowcost import clock
from flowcost.errors import FlowcostError
from flowcost.insights.budgets import Budget, BudgetState, ordered, short_form
from flowcost.insights.delivery import Deliveries
from flowcost.insights.destinations import Signals
from flowcost.insights.incidents import DestinationState, Incident
from flowcost.insights.signal_store import SignalStore
from flowcost.insights.signals import Signal, of_budget
from flowcost.insights.spending import Spending, Spent, crossed
from flowcost.ledger import Ledger

_log = logging.getLogger(__name__)


class Watch(Protocol):
    """Something else that may be worth telling."""

    def signals(self, now: datetime) -> Iterable[Signal]:
        """Return what is worth telling; it may return a signal again."""
        ...


class Alerting:
    """Watches budgets and tells; what `Budgets` and `Incidents` of the views stand for.

    `path` is the file of signals.

    Raises:
        LedgerError: the file cannot be opened.
        UsageError: a budget is given twice.
    """

    def __init__(
        self,
        ledger: Ledger,
        path: Path,
        *,
        budgets: Sequence[Budget] = (),
        watches: Sequence[Watch] = (),
        settings: Signals | None = None,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self.settings = settings or Signals()
        self.now = now
        given = ordered((*budgets, *short_form(self.settings.budgets)))
        self.spending = Spending(ledger, given)
        self.watches = watches
        self.store = SignalStore(path)
        self.deliveries = Deliveries(self.settings, self.store, now)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # -- what the views ask -----------------------------------------------------------------------

    def states(self, tenant: str, month: date) -> list[BudgetState]:
        """Return every budget in the UTC month that begins on `month`, by kind and name."""
        return self.spending.states(tenant, month)

    def incidents(self, tenant: str, *, states: Collection[str] = ()) -> list[Incident]:
        """Return the incidents in these states (none given: all), latest first."""
        return self.store.incidents(tenant, states=states)

    def move(
        self, tenant: str, incident: str, state: str, *, who: str, reason: str = ""
    ) -> Incident | None:
        """Move an incident to another state and return it; None if the tenant has no such one.

        Raises:
            UsageError: an unknown state, or a dismissal without a reason.
        """
        return self.store.move(tenant, incident, state, who=who, reason=reason, now=self.now())

    def destinations(self, tenant: str) -> list[DestinationState]:
        """Return how the deliveries of a tenant's signals fare, by destination."""
        return self.deliveries.states(tenant)

    # -- a round ----------------------------------------------------------------------------------

    def round(self) -> None:
        """Look at the budgets once, and deliver what is due.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        self.look()
        self.deliveries.deliver()

    def look(self) -> None:
        """Record what budgets have newly reached, and what else is new."""
        this_month = clock.month_of(self.now())
        last_month = (this_month - timedelta(days=1)).replace(day=1)
        for tenant in sorted({budget.tenant for budget in self.spending.budgets}):
            for month in (last_month, this_month):
                for budget, spent in self.spending.spent(tenant, month):
                    self._judge(budget, month, spent)
        for watch in self.watches:
            for signal in watch.signals(self.now()):
                self.store.add(signal, self.deliveries.to_tell(signal.tenant_id), now=self.now())

    def _judge(self, budget: Budget, month: date, spent: Spent) -> None:
        now, total = self.now(), spent.total.list_cost
        signals = []
        for percent in crossed(budget, total):
            hour_end = spent.reached(-(-budget.limit * percent // 100)) or now
            reached = min(hour_end, now)  # an hour that is under way has not ended
            signals.append(of_budget(budget, month, percent, spent=total, reached=reached))
        if not signals or self.store.known([signals[-1].id]):
            return
        told = self.deliveries.to_tell(budget.tenant)
        self.store.add(signals[-1], told, now=now, overtaken=signals[:-1])

    # -- the thread -------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin the rounds, on a thread."""
        self._thread = threading.Thread(target=self._rounds, name="alerting", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the rounds and let go of the file; what was not delivered waits in it."""
        self._stopping.set()
        if self._thread:
            self._thread.join()
        self.deliveries.close()
        self.store.close()

    def _rounds(self) -> None:
        import duckdb  # noqa: PLC0415 - loaded by the first question anyway

        while not self._stopping.is_set():
            try:
                self.round()
            # An hour that is rewritten while it is read, a full disk: the next round may see more.
            except (FlowcostError, OSError, duckdb.Error, sqlite3.Error) as error:
                _log.warning("budgets were not looked at: %s", error)
            self._stopping.wait(self._pause())

    def _pause(self) -> float:
        """Return the seconds until the next round: a delivery may be due before it."""
        pause = self.settings.every
        for delivery in self.store.waiting()[:1]:
            pause = min(pause, max(delivery.due - self.now(), timedelta(seconds=1)))
        return pause.total_seconds()
