"""A server that is away for long: the outbox stays within its bound and no byte is given up."""

from random import Random

import pytest
from msgspec.structs import replace

from flowcost.address import V4_MAPPED, unpack
from flowcost.agent.conversations import conversations, no_join
from flowcost.agent.endpoint import Endpoint
from flowcost.agent.forward import Forward
from flowcost.agent.merge import RUN
from flowcost.agent.poster import Poster
from flowcost.agent.status import Status
from flowcost.segment import HOUR_US
from tests.agent.test_attribution import CHECKOUT, drained, row
from tests.agent.test_recorder import HOUR, Recording

PREFIX = V4_MAPPED + bytes([8])


class Outage:
    """An agent's way to a server that does not answer, or does."""

    def __init__(self, directory, limit, url="http://127.0.0.1:9"):
        self.recording = Recording(directory)
        self.outbox = self.recording.outbox
        self.outbox.limit_bytes = limit
        endpoint = Endpoint(url, what="Flowcost server", timeout_s=0.5)
        self.poster = Poster(self.outbox, endpoint)
        self.forward = Forward(self.outbox, self.poster, self.recording.recorder)
        self.fed = 0

    def drain(self, at, *rows):
        one = replace(drained(*rows), window_start=at, window_end=at + 5_000_000)
        source = self.recording.spool / "s.seg"
        source.write_bytes(b"")
        self.forward.begin(one, source)
        for _ in self.forward.watch(conversations(one, no_join), 0.0):
            pass
        self.forward.commit(0.0)
        self.forward.tend()
        self.fed += sum(row[5][0] for row in rows)

    def kept(self):
        segments = map(self.outbox.read, self.outbox.entries())
        return sum(flow.bytes for one in segments for flow in one.flows)

    def status(self):
        status = Status()
        self.forward.report(status)
        return status


def test_a_day_of_steady_traffic_takes_little_more_than_a_drain_an_hour(tmp_path):
    outage = Outage(tmp_path, 1 << 30)
    steady = [row(f"10.244.2.{number}", sent=(1000, 3)) for number in range(100)]
    for hour in range(4):
        for number in range(40):
            outage.drain(HOUR + hour * HOUR_US + number * 5_000_000, *steady)
    assert outage.kept() == outage.fed
    assert len(outage.outbox) < 4 * 2 * RUN
    one_drain = outage.outbox.entries()[0].size
    assert outage.outbox.size < 80 * one_drain < 160 * one_drain
    status = outage.status()
    assert status.outbox_segments == len(outage.outbox)
    assert (status.outbox_bytes, status.outbox_limit) == (outage.outbox.size, 1 << 30)
    assert status.merged_segments > 120
    assert status.coarsened_segments == 0
    assert status.outbox_age_seconds > 0


def test_near_the_bound_segments_lose_ports_and_at_it_nothing_more_is_drained(tmp_path):
    outage, any_address = Outage(tmp_path, 12_000), Random(7)
    number = 0
    while outage.forward.room(0):
        number += 1
        ports = [row("8.8.8.8", sent=(1, 1), port=1 + number * 50 + n) for n in range(50)]
        fresh = [row(unpack(PREFIX + any_address.randbytes(3)), sent=(5, 1)) for _ in range(40)]
        outage.drain(HOUR + number * 1000, *ports, *fresh)
        assert number < 250
    assert outage.kept() == outage.fed
    assert outage.outbox.size < 12_000 + 3_000
    status = outage.status()
    assert status.coarsened_segments > 0
    assert not outage.forward.room(0)


def test_what_waits_in_the_spool_counts_against_the_bound(tmp_path):
    outage = Outage(tmp_path, 1000)
    assert outage.forward.room(999)
    assert not outage.forward.room(1000)


def test_after_the_outage_everything_arrives_and_there_is_room_again(tmp_path, serve, ingest):
    outage = Outage(tmp_path, 20_000)
    for number in range(100):
        outage.drain(HOUR + number * 1000, row(CHECKOUT.v4, sent=(number, 1), port=number + 1))
        if number == 3:
            outage.poster.step()
    assert outage.status().post_failures == {"unreachable": 1}
    token = tmp_path / "agent-token"
    token.write_text("s3cret-of-the-agent")
    endpoint = Endpoint(ingest.url, what="Flowcost server", token_file=token)
    poster = Poster(outage.outbox, endpoint)
    while poster.step() is not None:
        pass
    poster.close(0.0)
    assert sum(flow.bytes for flow in ingest.ingest.flows()) == outage.fed
    assert outage.status().outbox_segments == 0
    assert outage.forward.room(0)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (Status(), "ok\n"),
        (Status(damaged_segments=2), "2 damaged segments"),
        (Status(refused_segments=1), "1 segments refused"),
        (Status(outbox_segments=9), "9 segments wait"),
        (Status(held=True), "the outbox is full"),
    ],
)
def test_health_says_what_else_is_the_matter(status, words):
    assert words in status.health()
