"""Acknowledged is durable, a repeat is a no-op, and what cannot be kept is not acknowledged."""

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta

import pytest

from flowcost import segment
from flowcost.errors import BusyError, SegmentError
from flowcost.segment import SeenPod
from flowcost.server.inbox import Inbox
from flowcost.server.settings import MIB
from flowcost.server.settings import Inbox as Limits
from flowcost.views.service import Receipt
from tests.server.posting import HOUR, both_ends, posted

NOW = HOUR + timedelta(minutes=5)


@pytest.fixture
def inbox(tmp_path):
    """Return an empty inbox."""
    made = Inbox(tmp_path, now=lambda: NOW)
    yield made
    made.close()


def body(name="node-a", sequence=1, **more):
    return segment.encode(posted(name, sequence, [], **more))


def test_what_is_acknowledged_is_there_after_a_restart(tmp_path):
    inbox = Inbox(tmp_path, now=lambda: NOW)
    sent = [segment.encode(one) for number in range(3) for one in both_ends(number, 1000)]
    assert all(inbox.put("acme", "prod", one).fresh for one in sent)
    inbox.close()
    again = Inbox(tmp_path, now=lambda: NOW)
    assert [one.body for one in again.waiting()] == sent
    assert again.waiting_count == 6
    assert not again.put("acme", "prod", sent[0]).fresh
    again.close()


def test_a_repeat_is_a_no_op_even_when_its_content_has_gone(inbox):
    assert inbox.put("acme", "prod", body()) == Receipt(7, 1, fresh=True)
    assert inbox.put("acme", "prod", body()) == Receipt(7, 1, fresh=False)
    inbox.forget([one.id for one in inbox.waiting()])
    assert inbox.waiting_bytes == 0
    assert not inbox.put("acme", "prod", body()).fresh
    assert list(inbox.waiting()) == []
    assert inbox.counters.repeated == 2


def test_each_part_of_the_name_tells_segments_apart(inbox):
    for tenant, one in (
        ("acme", body()),
        ("other", body()),
        ("acme", body("node-b")),
        ("acme", body(sequence=2)),
        ("acme", body(epoch=8)),
        ("acme", body(boot="another")),
    ):
        assert inbox.put(tenant, "prod", one).fresh
    assert inbox.put("acme", "", body(cluster="second")).fresh
    assert [state.cluster for state in inbox.states("acme")] == ["prod", "second"]
    assert inbox.states("acme")[0].nodes == 2
    assert inbox.states("nobody") == []


@pytest.mark.parametrize(
    ("tenant", "cluster", "one", "said"),
    [
        ("", "prod", body(), "without tenant"),
        ("acme", "other", body(), "of cluster 'prod'"),
        ("acme", "prod", b"\x00", "not a segment"),
        ("acme", "prod", body(epoch=-1), "epoch"),
        ("acme", "prod", body(sequence=1 << 63), "sequence"),
        ("acme", "prod", body(boot="b" * 1025), "a name of 1025 characters"),
        ("acme", "prod", body(pods=[SeenPod(uid="u", name="n" * 1025)]), "a name of 1025"),
        ("acme", "prod", body(hour=HOUR - timedelta(days=9)), "look at the node's clock"),
    ],
)
def test_what_cannot_be_booked_is_refused_and_counted(tmp_path, tenant, cluster, one, said):
    inbox = Inbox(tmp_path, now=lambda: NOW)
    inbox.oldest = lambda _: NOW - timedelta(days=3)
    with pytest.raises(SegmentError, match=said):
        inbox.put(tenant, cluster, one)
    assert inbox.counters.refused == 1
    assert inbox.waiting_count == 0
    inbox.close()


def test_bytes_that_no_wire_can_carry_are_refused(inbox):
    one = posted("node-a", 1, [])
    huge = segment.Flows(rows=2, bytes=(1 << 62).to_bytes(8, "little") * 2)
    with pytest.raises(SegmentError, match="in one window"):
        inbox.put("acme", "prod", segment.encode(segment.replace(one, flows=huge)))


def test_a_full_inbox_and_a_full_disk_tell_agents_to_come_again(tmp_path):
    inbox = Inbox(tmp_path / "a", Limits(waiting_bytes=MIB), now=lambda: NOW)
    number = 0
    while inbox.waiting_bytes <= MIB:
        number += 1
        random = posted("node-a", number, [], agent_version=os.urandom(200_000).hex())
        inbox.put("acme", "prod", segment.encode(random))
    with pytest.raises(BusyError) as caught:
        inbox.put("acme", "prod", body(sequence=number + 1))
    assert caught.value.retry_after_s > 0
    inbox.forget([one.id for one in inbox.waiting()])
    assert inbox.put("acme", "prod", body(sequence=number + 1)).fresh
    inbox.close()

    full = Inbox(tmp_path / "b", Limits(free_bytes=1 << 62), now=lambda: NOW)
    with pytest.raises(BusyError, match="nearly full"):
        full.put("acme", "prod", body())
    assert full.counters.turned_away == 1
    full.close()


def test_many_at_once_are_all_kept_once(inbox):
    sent = [body(sequence=number) for number in range(400)]
    fresh = []

    def post(part):
        fresh.extend(inbox.put("acme", "prod", one).fresh for one in part)

    threads = [threading.Thread(target=post, args=(sent,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(fresh) == 400
    assert sorted(one.sequence for one in inbox.waiting()) == list(range(400))
    assert inbox.waiting_count == 400


POSTER = """
import sys
from datetime import timedelta
from pathlib import Path
from flowcost import segment
from flowcost.server.inbox import Inbox
from tests.server.posting import HOUR, posted
inbox = Inbox(Path(sys.argv[1]), now=lambda: HOUR + timedelta(minutes=5))
number = int(sys.argv[2])
while True:
    number += 1
    inbox.put("acme", "prod", segment.encode(posted("node-a", number, [])))
    print(number, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path):
    acknowledged = 0
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", POSTER, str(tmp_path), str(acknowledged)],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            for line in process.stdout:
                acknowledged = int(line)
                if acknowledged % 50 == 0:
                    process.send_signal(signal.SIGKILL)
                    break
            rest = [int(line) for line in process.stdout.read().split()]
            acknowledged = max([acknowledged, *rest])
    inbox = Inbox(tmp_path, now=lambda: NOW)
    kept = [one.sequence for one in inbox.waiting()]
    assert kept[:acknowledged] == list(range(1, acknowledged + 1))
    assert len(kept) <= acknowledged + 1
    inbox.close()


def test_a_damaged_file_is_put_aside_and_what_is_readable_is_kept(tmp_path):
    inbox = Inbox(tmp_path, now=lambda: NOW)
    for number in range(300):
        one = posted("node-a", number, [], agent_version=os.urandom(2000).hex())
        inbox.put("acme", "prod", segment.encode(one))
    inbox.close()
    size = inbox.path.stat().st_size
    with inbox.path.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(os.urandom(4096 * 3))
    again = Inbox(tmp_path, now=lambda: NOW)
    assert again.salvaged is not None
    assert again.salvaged.aside.exists()
    kept = [one.sequence for one in again.waiting()]
    assert 0 < len(kept) < 300
    assert again.salvaged.segments == len(kept)
    assert str(again.salvaged.aside) in again.trouble
    assert "were kept" in again.trouble
    assert again.put("acme", "prod", body(sequence=999)).fresh
    again.close()


def test_a_file_that_is_no_database_is_put_aside(tmp_path):
    (tmp_path / "inbox.sqlite").write_bytes(b"not a database at all" * 1000)
    inbox = Inbox(tmp_path, now=lambda: NOW)
    assert inbox.salvaged.segments == 0
    assert inbox.put("acme", "prod", body()).fresh
    inbox.close()


def test_old_receipts_are_forgotten_and_waiting_ones_never(inbox):
    inbox.put("acme", "prod", body())
    inbox.prune("acme", HOUR + timedelta(days=1))
    assert not inbox.put("acme", "prod", body()).fresh
    inbox.forget([one.id for one in inbox.waiting()])
    inbox.prune("other", HOUR + timedelta(days=1))
    assert not inbox.put("acme", "prod", body()).fresh
    inbox.prune("acme", HOUR + timedelta(days=1))
    assert inbox.put("acme", "prod", body()).fresh
