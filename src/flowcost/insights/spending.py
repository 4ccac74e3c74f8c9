"""What is spent of budgets: sums of ledger hours, kept up with the ledger.

The ledger is the truth and nothing is stored here: an hour is read again when its manifest names
other files, so late data counts in its own month and a restart changes nothing.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime

from msgspec import Struct

from flowcost import clock
from flowcost.insights.budgets import KEYS, Budget, BudgetKind, BudgetState
from flowcost.ledger import Ledger
from flowcost.ledger.filter import In, show
from flowcost.ledger.query import Selection, costs

_MONTHS = 4  # kept in memory for each tenant

Account = tuple[str, str, str]  # attribute_by, kind, name
Marks = dict[datetime, tuple[str, ...]]


class Amount(Struct, frozen=True):
    """Money as a numerator over `money.ONE`, and metered bytes that have no rate."""

    list_cost: int
    unpriced_bytes: int


class Spent(Struct, frozen=True):
    """A budget's hours in one month, in order of time."""

    hours: tuple[tuple[datetime, Amount], ...]

    @property
    def total(self) -> Amount:
        """Return the sum of all hours."""
        return Amount(
            sum(amount.list_cost for _, amount in self.hours),
            sum(amount.unpriced_bytes for _, amount in self.hours),
        )

    def reached(self, amount: int) -> datetime | None:
        """Return the end of the hour in which the spend reached `amount`, if it did."""
        spent = 0
        for hour, found in self.hours:
            spent += found.list_cost
            if spent >= amount:
                return hour + clock.HOUR
        return None


class _Month:
    def __init__(self) -> None:
        self.marks: Marks | None = None
        self.hours: dict[datetime, dict[Account, Amount]] = {}


class Spending:
    """Reads the spend of budgets; may be asked from several threads."""

    def __init__(self, ledger: Ledger, budgets: Sequence[Budget]) -> None:
        self.ledger = ledger
        self.budgets = budgets
        self._months: dict[tuple[str, date], _Month] = {}
        self._lock = threading.Lock()

    def spent(self, tenant: str, month: date) -> list[tuple[Budget, Spent]]:
        """Return every budget of a tenant with its hours in the month that begins on `month`."""
        budgets = [budget for budget in self.budgets if budget.tenant == tenant]
        if not budgets:
            return []
        with self._lock:
            hours = sorted(self._current(tenant, month, budgets).items())
        return [
            (
                b,
                Spent(
                    tuple(
                        (hour, found[_account(b)]) for hour, found in hours if _account(b) in found
                    )
                ),
            )
            for b in budgets
        ]

    def states(self, tenant: str, month: date) -> list[BudgetState]:
        """Return every budget of a tenant with what is spent of it, by kind and name."""
        return [
            BudgetState(
                kind=budget.kind,
                name=budget.name,
                month=month,
                limit=budget.limit,
                spent=spent.total.list_cost,
                unpriced_bytes=spent.total.unpriced_bytes,
                crossed=crossed(budget, spent.total.list_cost),
            )
            for budget, spent in self.spent(tenant, month)
        ]

    def _current(
        self, tenant: str, month: date, budgets: Sequence[Budget]
    ) -> dict[datetime, dict[Account, Amount]]:
        start, end = bounds(month)
        known = self._months.pop((tenant, month), None) or _Month()
        marks = self._marks(tenant, start, end)
        stale = _stale(known.marks, marks, start, end)
        for first, last in _ranges(stale):
            for hour in [hour for hour in known.hours if first <= hour < last]:
                del known.hours[hour]
            for hour, account, amount in self._read(tenant, first, last, budgets):
                known.hours.setdefault(hour, {})[account] = amount
        known.marks = marks
        self._months[tenant, month] = known  # the latest asked for is the last to be forgotten
        mine = [key for key in self._months if key[0] == tenant]
        for key in mine[:-_MONTHS]:
            del self._months[key]
        return known.hours

    def _marks(self, tenant: str, start: datetime, end: datetime) -> Marks:
        """Return what says whether an hour is still the same: the content of its files."""
        found: defaultdict[datetime, list[str]] = defaultdict(list)
        for manifest in self.ledger.manifests(start, end, tenant=tenant):
            partition = manifest.partition
            files = (manifest.files[table].sha256 for table in ("charges", "identities"))
            found[partition.hour].append(" ".join((partition.cluster, *files)))
        return {hour: tuple(sorted(parts)) for hour, parts in found.items()}

    def _read(
        self, tenant: str, start: datetime, end: datetime, budgets: Sequence[Budget]
    ) -> Iterator[tuple[datetime, Account, Amount]]:
        accounts: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for budget in budgets:
            accounts[budget.attribute_by, budget.kind].append(budget.name)
        for (attribute_by, kind), names in accounts.items():
            key = KEYS[BudgetKind(kind)]
            selection = Selection(
                where=show(In(key, tuple(names))),
                start=start,
                end=end,
                attribute_by=attribute_by,
                tenant=tenant,
            )
            for hour, name, _, cost, unpriced in costs(
                self.ledger, selection, by=("hour", key), sort="hour"
            ).rows:
                account = (attribute_by, kind, name)
                yield hour.replace(tzinfo=UTC), account, Amount(cost, unpriced)


def bounds(month: date) -> tuple[datetime, datetime]:
    """Return the UTC instants between which a calendar month lies."""
    start = datetime(month.year, month.month, 1, tzinfo=UTC)
    return start, datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)


def crossed(budget: Budget, spent: int) -> tuple[int, ...]:
    """Return the thresholds that a spend has reached, in percent, ascending."""
    return tuple(p for p in sorted(budget.thresholds) if spent * 100 >= budget.limit * p)


def _account(budget: Budget) -> Account:
    return budget.attribute_by, budget.kind, budget.name


def _stale(known: Marks | None, marks: Marks, start: datetime, end: datetime) -> set[datetime]:
    """Return the hours to read again.

    An hour that is gone was dropped, or lives on in a roll-up of its day: the day is read again.
    """
    if known is None:
        return set(_hours(start, end))
    stale = {hour for hour, mark in marks.items() if known.get(hour) != mark}
    for hour in known.keys() - marks.keys():
        day = hour.replace(hour=0)
        stale.update(_hours(day, day + clock.DAY))
    return stale


def _hours(start: datetime, end: datetime) -> Iterator[datetime]:
    while start < end:
        yield start
        start += clock.HOUR


def _ranges(hours: Iterable[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """Yield the hours as the fewest half-open intervals."""
    first = last = None
    for hour in sorted(hours):
        if hour != last:
            if first and last:
                yield first, last
            first = hour
        last = hour + clock.HOUR
    if first and last:
        yield first, last
