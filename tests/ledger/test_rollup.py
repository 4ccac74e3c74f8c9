"""Roll-ups and pruning: whichever partitions answer, the sums are the same."""

import shutil
from datetime import timedelta

import pytest
from benchmarks.gen_ledger import START, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcost.errors import LedgerError
from flowcost.ledger import Input, Ledger, Partition
from flowcost.ledger.keys import keys
from flowcost.ledger.levels import DAYS, FINEST, ROLLED, detail_of
from flowcost.ledger.query import Selection, costs, trend
from flowcost.ledger.retention import prune
from flowcost.ledger.rollup import roll_up
from flowcost.ledger.totals import totals

HOURS = 52  # two whole days and four hours of a third
END = START + timedelta(hours=HOURS)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    root = tmp_path_factory.mktemp("ledger") / "plain"
    write(root, pods=120, hours=HOURS)
    return Ledger.open(root)


@pytest.fixture(scope="module")
def rolled(plain, tmp_path_factory):
    root = tmp_path_factory.mktemp("ledger") / "rolled"
    shutil.copytree(plain.root, root)
    ledger = Ledger.open(root)
    assert len(roll_up(ledger, closed_before=END - timedelta(hours=1))) == 3
    return ledger


def levels(ledger, detail, start=None, end=None):
    """Return which roll-ups (or hours) answer, with how many partitions each."""
    found = {}
    for held in ledger.shelves.chosen(start, end, detail=detail):
        parts = held.folder.relative_to(ledger.root).parts
        name = parts[1] if parts[0] == ROLLED else "hours"
        found[name] = found.get(name, 0) + 1
    return found


def test_the_coarsest_roll_up_that_tells_the_keys_apart_answers(rolled):
    assert levels(rolled, FINEST) == {"hours": HOURS}
    asked = {
        "path": {"owner-days": 3, "hours": 1},
        "other.owner": {"owner-days": 3, "hours": 1},
        "hour": {"owner-hours": 3, "hours": 1},
        "conversation": {"workload-days": 3, "hours": 1},
        "remote.k8s.deployment.name": {"workload-days": 3, "hours": 1},
        "k8s.pod.name": {"days": 3, "hours": 1},
        "local.cloud.resource_id": {"days": 3, "hours": 1},
        "resource_id": {"days": 3, "hours": 1},
        "source": {"hours": HOURS},
    }
    assert {key: levels(rolled, detail_of([key])) for key in asked} == asked
    assert levels(rolled, detail_of(["name", "hour"])) == {"workload-hours": 3, "hours": 1}
    assert levels(rolled, detail_of(["k8s.pod.name", "hour"])) == {"hours": HOURS}
    day = detail_of(["path"])
    within = START + timedelta(hours=3), START + timedelta(hours=50)
    assert levels(rolled, day, *within) == {"owner-days": 1, "hours": 21 + 2}


NAMES = sorted(name for name in keys() if name not in ("rule",))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    by=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True),
    where=st.sampled_from(
        [
            "",
            "path = cross_az",
            "owner = team-3 or path = unknown",
            'k8s.pod.name ~ "w-1-*"',
            "hour >= 2026-11-01T05",
            "usage_type ~ *Regional* and not other.owner = team-2",
        ]
    ),
    attribute_by=st.sampled_from(["local", "initiator", "dialed_service", "private_side"]),
    start=st.integers(0, HOURS - 1),
    length=st.integers(1, HOURS),
)
def test_sums_do_not_depend_on_which_partitions_answer(
    plain, rolled, by, where, attribute_by, start, length
):
    selection = Selection(
        where=where,
        attribute_by=attribute_by,
        start=START + timedelta(hours=start),
        end=START + timedelta(hours=start + length),
    )
    assert costs(rolled, selection, by=by) == costs(plain, selection, by=by)
    assert totals(rolled, selection) == totals(plain, selection)


def test_a_rewritten_hour_makes_its_day_stale_until_it_is_rolled_up_again(rolled, tmp_path):
    ledger = Ledger.open(shutil.copytree(rolled.root, tmp_path / "copy"))
    before = totals(ledger)
    hour = Partition("default", "prod", START + timedelta(hours=5))
    added = ledger.manifest(hour).totals.bytes
    rewrite(ledger, hour)
    day = detail_of(["path"])
    assert levels(ledger, day) == {"owner-days": 2, "hours": 24 + 1}
    after = totals(ledger)
    assert after.bytes == before.bytes + added
    assert [found.hour.day for found in roll_up(ledger, closed_before=END)] == [1, 3]
    assert levels(ledger, day) == {"owner-days": 3}
    assert totals(ledger) == after
    assert roll_up(ledger, closed_before=END) == []


def rewrite(ledger, hour):
    """Put the hour again with every quantity doubled."""
    with ledger.attached(hour.hour, hour.hour + timedelta(hours=1)) as con:
        for table in ("charges", "identities", "verdicts", "rates"):
            con.execute(f"CREATE TEMP TABLE {table}_copy AS SELECT * FROM {table}")
        con.execute("UPDATE charges_copy SET bytes = bytes * 2, quantity = quantity * 2,"
                    " list_cost = list_cost * 2")  # fmt: skip
        queries = {
            table: f"SELECT * FROM {table}_copy"
            for table in ("charges", "identities", "verdicts", "rates")
        }
        assert ledger.put(con, hour, queries, [Input("late", "x")])


def test_pruned_hours_live_on_as_days_with_the_same_sums(rolled, tmp_path):
    ledger = Ledger.open(shutil.copytree(rolled.root, tmp_path / "copy"))
    before = totals(ledger)
    by_day = trend(ledger, step="day", by=["path", "k8s.pod.name"])
    early = totals(ledger, Selection(end=START + timedelta(days=1)))
    gone = prune(ledger, hours_before=START + timedelta(days=1, hours=3))
    assert len(gone) == 24  # only whole days
    assert len(ledger.manifests()) == HOURS - 24
    assert totals(ledger) == before
    assert trend(ledger, step="day", by=["path", "k8s.pod.name"]) == by_day
    assert totals(ledger, Selection(end=START + timedelta(days=1))) == early
    assert prune(ledger, hours_before=START + timedelta(days=1)) == []
    with pytest.raises(LedgerError, match="was pruned"):
        rewrite_as(ledger, Partition("default", "prod", START))
    assert ledger.verify() == []


def rewrite_as(ledger, hour):
    later = START + timedelta(days=2)
    with ledger.attached(later, later + timedelta(hours=1)) as con:
        queries = {table: f"SELECT * FROM {table}" for table in
                   ("charges", "identities", "verdicts", "rates")}  # fmt: skip
        ledger.put(con, hour, queries, [])


def test_days_go_after_their_own_retention(rolled, tmp_path):
    ledger = Ledger.open(shutil.copytree(rolled.root, tmp_path / "copy"))
    left = totals(ledger, Selection(start=START + timedelta(days=1)))
    prune(
        ledger,
        hours_before=START + timedelta(days=2),
        days_before=START + timedelta(days=1),
    )
    assert totals(ledger) == left
    assert totals(ledger).data_since == START + timedelta(days=1)


def test_what_is_retained_as_days_is_verified(rolled, tmp_path):
    ledger = Ledger.open(shutil.copytree(rolled.root, tmp_path / "copy"))
    assert ledger.verify() == []
    folder = next((ledger.root / ROLLED / DAYS.name).glob("tenant=*/cluster=*/day=*/hour=00"))
    charges = next(folder.glob("charges-*.parquet"))
    charges.write_bytes(charges.read_bytes()[:-1])
    assert [wrong for wrong in ledger.verify() if "content differs" in wrong]


def test_pruning_refuses_a_day_whose_roll_up_does_not_add_up(rolled, tmp_path):
    ledger = Ledger.open(shutil.copytree(rolled.root, tmp_path / "copy"))
    manifest = next(
        (ledger.root / ROLLED / DAYS.name).glob("tenant=*/cluster=*/day=2026-11-01/*/manifest.json")
    )
    text = manifest.read_text()
    [total] = {m.totals.bytes for m in Ledger.open(ledger.root / ROLLED / DAYS.name).manifests()
               if m.hour.startswith("2026-11-01")}  # fmt: skip
    manifest.write_text(text.replace(str(total), str(total + 1)))
    with pytest.raises(LedgerError, match="does not add up"):
        prune(ledger, hours_before=START + timedelta(days=1))
    assert len(ledger.manifests()) == HOURS
