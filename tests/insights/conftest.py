"""A ledger that grows hour by hour, budgets over it, and a clock that is set by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from tests.conftest import CART, CHECKOUT, charge, write
from tests.insights.receiver import receiver

from flowcost.insights.alerting import Alerting
from flowcost.insights.budgets import Budget
from flowcost.ledger import Ledger
from flowcost.money import GIB

JUNE = datetime(2026, 6, 30, 21, tzinfo=UTC)
PAYMENTS = Budget(kind="team", name="payments", monthly_usd=Decimal("0.15"), tenant="t1")


class Books:
    """What was sent across zones, an hour at a time: one GiB costs payments one cent."""

    def __init__(self, folder):
        self.ledger = Ledger.open(folder, create=True)
        self.hours = {}

    def send(self, gibibytes, hour, **fields):
        row = charge(
            fields.pop("path", "cross_az"),
            "DataTransfer-Regional-Bytes",
            fields.pop("price", True),
            **{
                "hour": hour,
                "local": CHECKOUT,
                "remote": CART,
                "bytes": gibibytes * GIB,
                "quantity": gibibytes * GIB,
                **fields,
            },
        )
        self.hours.setdefault(hour, []).append(row)
        write(self.ledger.root, self.hours[hour])


class Watch:
    """The alerting over those books; `restart` is a crash: nothing is closed in order."""

    def __init__(self, books, settings=None, budgets=(PAYMENTS,)):
        self.books, self.settings, self.budgets = books, settings, budgets
        self.time = JUNE
        self.alerting = None
        self.restart()

    def restart(self):
        if self.alerting:
            self.alerting.store.close()
        self.alerting = Alerting(
            self.books.ledger,
            self.books.ledger.root / ".serve" / "signals.sqlite",
            budgets=self.budgets,
            settings=self.settings,
            now=lambda: self.time,
        )

    def wait(self, **span):
        self.time += timedelta(**span)

    def incidents(self):
        return self.alerting.incidents("t1")

    def round(self):
        self.alerting.round()
        return self.incidents()


@pytest.fixture
def books(tmp_path):
    return Books(tmp_path / "ledger")


@pytest.fixture
def watch(books):
    found = Watch(books)
    yield found
    found.alerting.stop()


@pytest.fixture
def hook():
    with receiver() as found:
        yield found
