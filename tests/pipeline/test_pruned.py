"""Late flow logs over a ledger whose hours were pruned: told, and the rest goes on."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.pipeline.test_run import GIB, HOST, NAT, START, WORLD, ask, digest, go, row, write

from flowcost.ledger import Ledger
from flowcost.ledger.retention import prune
from flowcost.pipeline.resolved import resolved
from flowcost.pipeline.shelf import folder_of
from flowcost.resolve import inventory, timeline

DAY = 86_400


@pytest.fixture(scope="module")
def resolution(tmp_path_factory):
    path = tmp_path_factory.mktemp("world") / "declared.toml"
    path.write_text(WORLD)
    return resolved(timeline.build(inventory.read(path)))


def sent(size, start):
    return row("eni-n", "10.0.1.5", NAT, ("10.0.1.5", HOST), size, start=start)


def late(ran):
    return [finding for finding in ran.findings if finding.code == "flow-log-too-late"]


@pytest.fixture
def pruned(tmp_path, resolution):
    """Return logs and ledger of two days, of which the first was pruned to a day."""
    write(tmp_path / "logs", "one.log", [sent(GIB, START)])
    write(tmp_path / "logs", "two.log", [sent(2 * GIB, START + DAY)])
    go(tmp_path / "logs", resolution, tmp_path / "ledger")
    limit = datetime.fromtimestamp(START, UTC) + timedelta(days=1)
    assert len(prune(Ledger.open(tmp_path / "ledger"), hours_before=limit)) == 1
    return tmp_path / "logs", tmp_path / "ledger"


def test_running_again_after_pruning_changes_nothing(pruned, resolution):
    logs, root = pruned
    before = digest(root)
    for again in (False, True):
        ran = go(logs, resolution, root, again=again)
        assert (late(ran), ran.changed) == ([], ())
    assert digest(root) == before


def test_a_late_file_of_a_pruned_hour_is_a_finding_and_the_rest_is_booked(pruned, resolution):
    logs, root = pruned
    write(logs, "late.log", [sent(7, START), sent(5, START + 60), sent(3, START + DAY)])
    ran = go(logs, resolution, root)
    [finding] = late(ran)
    assert (finding.count, finding.bytes) == (1, 12)  # one aggregate of two rows
    assert finding.sample.endswith("late.log")
    assert finding.subject == "hours before 2026-11-03T00:00:00Z"
    assert [one.hour.day for one in ran.changed] == [3]
    hours = "SELECT day(hour), sum(bytes)::BIGINT FROM charges GROUP BY ALL ORDER BY ALL"
    assert ask(root, hours) == [(2, GIB), (3, 2 * GIB + 3)]


def test_the_finding_stays_until_the_file_goes(pruned, resolution):
    logs, root = pruned
    write(logs, "late.log", [sent(7, START)])
    assert [late(go(logs, resolution, root))[0].bytes for _ in range(2)] == [7, 7]
    assert late(go(logs, resolution, root, again=True))[0].bytes == 7


def test_a_file_that_grew_is_late_as_a_whole(pruned, resolution):
    logs, root = pruned
    write(logs, "one.log", [sent(GIB, START), sent(9, START)])
    [finding] = late(go(logs, resolution, root))
    assert finding.bytes == GIB + 9


def test_a_month_that_was_pruned_in_part_keeps_its_prices(pruned, resolution):
    logs, root = pruned
    write(logs, "three.log", [sent(5, START + DAY)])
    ran = go(logs, resolution, root, tiering="account_meter")
    assert "month-not-settled" in {finding.code for finding in ran.findings}
    assert [one.hour.day for one in ran.changed] == [3]


def test_what_was_read_of_pruned_hours_is_not_kept(tmp_path, resolution):
    logs, root = tmp_path / "logs", tmp_path / "ledger"
    for name, at in (("one.log", START), ("two.log", START + DAY)):
        write(logs, name, [sent(GIB, at)])
        go(logs, resolution, root)
    shelf = folder_of(root)
    assert len([*shelf.glob("*.parquet")]) == 2
    prune(Ledger.open(root), hours_before=datetime(2026, 11, 3, tzinfo=UTC))
    before = digest(root)
    for _ in range(2):
        ran = go(logs, resolution, root)
        assert (ran.files_read, ran.files_known, ran.changed) == (0, 2, ())
    assert len([*shelf.glob("*.parquet")]) == 1
    assert digest(root) == before
