"""Hundreds of random worlds in one bill: each account's residuals are exactly what was removed."""

import random as randoms
from collections import Counter, defaultdict
from dataclasses import replace

from tests.bill import generator as made
from tests.bill.test_reconcile import reconciled, removed

WORLDS = 300


def _placed(number, use):
    """Return a use in accounts of its world's own."""
    return replace(use, account=f"{use.account[0]}{number:011d}")


def test_three_hundred_worlds_with_sensors_removed_at_random():
    random = randoms.Random(20261125)
    metered, seen, hidden = [], [], []
    expected = defaultdict(Counter)
    for number in range(WORLDS):
        uses = [
            _placed(number, use)
            for use in made.world(random.randrange(1 << 40), hours=3, uses=40)
        ]  # fmt: skip
        if len({use.hour for use in uses}) < 3:
            continue
        witnesses, still, pathless, lost = removed(uses, random)
        metered += uses + witnesses
        seen += still + witnesses
        hidden += pathless
        expected[f"{number:011d}"].update(lost)
    assert len(expected) > WORLDS * 9 // 10
    with reconciled(made.bill_of(metered, hours=False), seen, unknown=hidden) as con:
        rows = con.execute(
            "SELECT account[2:], reason, sum(s.bytes) FROM rest_shares s JOIN billed USING (line)"
            " GROUP BY ALL"
        ).fetchall()
        [(beyond,)] = con.execute("SELECT count(*) FROM unbilled").fetchall()
    found = defaultdict(dict)
    for world, reason, size in rows:
        found[world][reason] = int(size)
    assert found == {world: dict(lost) for world, lost in expected.items() if lost}
    assert beyond == 0
    assert {reason for lost in expected.values() for reason in lost} == {
        "hour_not_in_ledger", "no_sensor", "sensor_gap", "unknown_path", "sensor_difference",
    }  # fmt: skip
