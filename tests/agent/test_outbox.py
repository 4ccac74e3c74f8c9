"""The outbox: what replaces what, and that no interruption loses or doubles a byte."""

import contextlib

import pytest
from msgspec.structs import replace

from flowcost import segment
from flowcost.address import pack
from flowcost.agent import outbox as outboxes
from flowcost.agent.merge import RUN, compact
from flowcost.agent.outbox import IN_DOUBT, Outbox
from flowcost.errors import NotPermittedError
from flowcost.segment import HOUR_US, Flow, SeenPod, Segment

HOUR = 1_764_000_000_000_000 // HOUR_US * HOUR_US
POD = SeenPod(uid="u", namespace="shop", name="cart-0")


def flow(size=100, remote="10.0.0.2", **more):
    more = {"local_uid": "u", "dns_name": "api.example.com", "remote_port": 443, **more}
    return Flow(
        local_address=pack("10.0.0.1"),
        remote_address=pack(remote),
        transport=6,
        bytes=size,
        packets=1,
        **more,
    )


def make(outbox, flows, *, at=0, boot="b"):
    return Segment(
        cluster="lab",
        node="node-a",
        boot=boot,
        epoch=outbox.epoch,
        sequence=outbox.next_sequence(),
        window_start=HOUR + at,
        window_end=HOUR + at + 5_000_000,
        counted_since=HOUR + at,
        pods=(POD,),
        flows=segment.pack(flows),
    )


class Box:
    """An outbox with a spool of stand-ins: any file is a source."""

    def __init__(self, directory, limit_bytes=1 << 30):
        self.spool = directory / "spool"
        self.spool.mkdir(exist_ok=True)
        self.limit = limit_bytes
        self.open()

    def open(self, epoch=1):
        self.outbox = Outbox(self.spool / "outbox", self.spool, epoch=epoch, limit_bytes=self.limit)
        return self.outbox

    def drained(self, name):
        path = self.spool / f"{name}.seg"
        path.write_bytes(b"drained")
        return path

    def put(self, *flows, at=0, name=None, **more):
        source = self.drained(name or f"s{self.outbox._sequence}")
        replacement = self.outbox.replacing(source)
        replacement.stage(make(self.outbox, flows, at=at, **more))
        replacement.commit()

    def segments(self):
        return [self.outbox.read(entry) for entry in self.outbox.entries()]

    def bytes(self):
        return sum(flow.bytes for one in self.segments() for flow in one.flows)


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


def test_a_drain_is_in_the_spool_or_in_the_outbox_never_in_both(box):
    box.put(flow(7))
    assert list(box.spool.glob("*.seg")) == []
    assert [one.pods for one in box.segments()] == [(POD,)]
    assert box.bytes() == 7
    assert box.open().entries() == box.outbox.entries()


class CrashError(Exception):
    """The process ends here."""


def crash_after(monkeypatch, calls):
    """Let the process die after so many steps that change the disk."""
    left = [calls]

    def step(real):
        def counted(*arguments, **more):
            if left[0] == 0:
                raise CrashError
            left[0] -= 1
            return real(*arguments, **more)

        return counted

    for name in ("rename", "unlink"):
        monkeypatch.setattr(outboxes.Path, name, step(getattr(outboxes.Path, name)))
    monkeypatch.setattr(outboxes.durable, "sync", step(outboxes.durable.sync))
    return left


@pytest.mark.parametrize("steps", range(12))
def test_a_crash_between_any_two_steps_of_a_drain_loses_nothing(box, monkeypatch, steps):
    source = box.drained("s")
    with monkeypatch.context() as patched:
        left = crash_after(patched, steps)
        try:
            replacement = box.outbox.replacing(source)
            replacement.stage(make(box.outbox, [flow(1)]))
            replacement.stage(make(box.outbox, [flow(2)]))
            replacement.commit()
        except CrashError:
            pass
        finished = left[0] > 0
    box.open(epoch=2)
    assert source.exists() == (box.bytes() == 0)
    assert box.bytes() in ({3} if finished else {0, 3})
    assert not list(box.outbox.directory.glob("*.new"))
    assert not list(box.outbox.directory.glob("*.tmp"))


@pytest.mark.parametrize("steps", range(2 * RUN))
def test_a_crash_between_any_two_steps_of_a_merge_loses_and_doubles_nothing(
    box, monkeypatch, steps
):
    for number in range(RUN + IN_DOUBT):
        box.put(flow(1 << number), at=number)
    whole = box.bytes()
    with monkeypatch.context() as patched:
        crash_after(patched, steps)
        with contextlib.suppress(CrashError):
            compact(box.outbox)
    box.open(epoch=2)
    assert box.bytes() == whole
    assert len(box.outbox) in {IN_DOUBT + 1, RUN + IN_DOUBT}


def test_a_full_disk_leaves_the_drain_in_the_spool_and_no_trace(box, monkeypatch):
    source = box.drained("s")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(outboxes.os, "fsync", full)
        with pytest.raises(NotPermittedError, match="No space left"):
            box.outbox.replacing(source).stage(make(box.outbox, [flow()]))
    assert source.exists()
    assert [path.name for path in box.outbox.directory.iterdir()] == []


def test_a_disk_that_fails_after_the_source_is_gone_shows_the_segment_later(box, monkeypatch):
    calls = []

    def failing(directory):
        calls.append(directory)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")

    replacement = box.outbox.replacing(box.drained("s"))
    replacement.stage(make(box.outbox, [flow(7)]))
    with monkeypatch.context() as patched:
        patched.setattr(outboxes.durable, "sync", failing)
        with pytest.raises(NotPermittedError, match="Input/output"):
            replacement.commit()
    replacement.abandon()
    box.put(flow(1), at=1)
    assert box.bytes() == 8


def test_neighbours_of_an_hour_become_one_and_flows_alike_one_row(box):
    for number in range(40):
        box.put(flow(10), flow(1, remote=f"10.1.0.{number}"), at=number)
    assert compact(box.outbox) == 38
    *posted, merged = box.segments()
    assert len(posted) == IN_DOUBT
    assert len(merged.flows) == 39
    assert box.bytes() == 40 * 11
    assert merged.pods == (POD,)
    assert (merged.window_start, merged.window_end) == (HOUR + 2, HOUR + 39 + 5_000_000)


def test_hours_boots_and_segments_in_doubt_are_never_mixed(box):
    for hour in range(3):
        for number in range(RUN):
            box.put(flow(), at=hour * HOUR_US + number, boot="b" if number % 2 else "c")
    compact(box.outbox)
    for one in box.segments():
        assert one.window_start // HOUR_US == (one.window_end - 1) // HOUR_US
    assert {one.boot for one in box.segments()} == {"b", "c"}
    assert box.bytes() == 3 * RUN * 100


def test_few_neighbours_are_left_alone(box):
    for number in range(RUN + IN_DOUBT - 1):
        box.put(flow(), at=number)
    assert compact(box.outbox) == 0


def test_coarser_segments_lose_ports_and_names_and_no_byte(box):
    for number in range(6):
        box.put(flow(10, remote_port=1 + number, dns_name=f"n{number}"), at=number)
    assert compact(box.outbox, coarse=True) == 4
    (merged,) = box.segments()[IN_DOUBT:]
    (only,) = merged.flows
    assert (only.bytes, only.packets, only.remote_port, only.dns_name) == (40, 4, 0, "")


def test_while_a_run_is_merged_the_poster_does_not_reach_it(box):
    for number in range(5):
        box.put(flow(), at=number)
    with box.outbox.reserved() as entries:
        assert len(entries) == 3
        assert len(box.outbox.postable()) == IN_DOUBT
        for entry in box.outbox.postable():
            box.outbox.acknowledged(entry)
        assert box.outbox.postable() == []
    assert len(box.outbox.postable()) == 3


def test_a_damaged_segment_stops_no_merge_and_is_set_aside(box):
    for number in range(RUN + IN_DOUBT + 1):
        box.put(flow(), at=number)
    victim = box.outbox.entries()[5]
    box.outbox.path(victim).write_bytes(b"noise")
    compact(box.outbox)
    assert box.bytes() == (RUN + IN_DOUBT) * 100
    assert box.outbox.set_aside() == 1


def test_an_identity_is_never_used_twice(box):
    box.put(flow())
    first = box.segments()[0].epoch
    later = box.open(epoch=first)
    assert later.epoch > first
    assert replace(box.segments()[0], epoch=later.epoch) != box.segments()[0]


def test_the_bound_counts_what_was_refused(tmp_path):
    box = Box(tmp_path, limit_bytes=300)
    box.put(flow())
    (entry,) = box.outbox.entries()
    before = box.outbox.size
    box.outbox.refused(entry)
    assert (len(box.outbox), box.outbox.size) == (0, before)
    assert box.open().size == before
