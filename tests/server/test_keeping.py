"""The server looks after its ledger by itself."""

from datetime import timedelta

import pytest
from benchmarks.gen_ledger import START, write

from flowcost.ledger import Ledger
from flowcost.ledger.levels import ROLLED
from flowcost.ledger.totals import totals
from flowcost.server.keeping import Keeping
from flowcost.server.settings import Retention

DAY = timedelta(days=1)


@pytest.fixture
def ledger(tmp_path):
    write(tmp_path, pods=60, hours=3 * 24, every=6)
    return Ledger.open(tmp_path)


def kept(ledger, now, **retention):
    Keeping(ledger, Retention(**retention), lateness=timedelta(hours=2), now=lambda: now).keep()


def test_closed_hours_are_rolled_up_and_old_ones_pruned(ledger):
    before = totals(ledger)
    now = START + 3 * DAY
    kept(ledger, now)
    assert len(list((ledger.root / ROLLED / "owner-days").glob("*/*/day=*"))) == 3
    assert len(ledger.manifests()) == 12
    kept(ledger, now, late=timedelta(0), hours=DAY)
    assert [manifest.hour[:10] for manifest in ledger.manifests()] == ["2026-11-02"] * 4 + [
        "2026-11-03"
    ] * 4
    assert totals(ledger) == before
    kept(ledger, now, late=timedelta(0), hours=DAY, days=2 * DAY)
    assert totals(ledger).bytes == before.bytes


def test_a_clock_that_jumps_ahead_prunes_nothing(ledger):
    kept(ledger, START + 4000 * DAY, late=timedelta(0), hours=3 * DAY, days=30 * DAY)
    assert len(ledger.manifests()) == 12


def test_hours_outlive_what_may_still_change_them():
    with pytest.raises(ValueError, match="a day longer than late"):
        Retention(hours=timedelta(days=35))
    with pytest.raises(ValueError, match="longer than hours"):
        Retention(days=timedelta(days=60))
