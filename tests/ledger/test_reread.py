"""A reader beside a writer always sees whole hours, and never an error."""

import threading

from tests.conftest import charge, write

from flowcost import money
from flowcost.ledger import Ledger
from flowcost.ledger.explain import explain
from flowcost.ledger.query import Selection, costs
from flowcost.ledger.totals import totals
from flowcost.money import GIB

MINE = Selection(tenant="t1")


def hour(gibibytes):
    """Return an hour of one cent a GiB, in two charges."""
    crossing = {"operation": "InterZone-Out", "bytes": gibibytes * GIB, "quantity": gibibytes * GIB}
    return [charge("cross_az", "DataTransfer-Regional-Bytes", **crossing, source=s) for s in "ab"]


def test_an_hour_that_is_rewritten_all_the_time_can_be_read_all_the_time(tmp_path):
    write(tmp_path / "ledger", hour(1))
    ledger, stop, written = Ledger(tmp_path / "ledger"), threading.Event(), [1]

    def rewrite():
        while not stop.is_set():
            write(tmp_path / "ledger", hour(written[-1] + 1))
            written.append(written[-1] + 1)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(25):
            ((_, size, cost, _),) = costs(ledger, MINE).rows
            assert size % (2 * GIB) == 0
            assert cost == size // GIB * money.ONE // 100
            assert totals(ledger, MINE).bytes >= size
            assert len(explain(ledger, MINE)) == 2
    finally:
        stop.set()
        writer.join()
    assert len(written) > 3
