"""From a drain to segments: every byte, by pod and by hour, with what the server needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcost import __version__, segment
from flowcost.address import UNSPECIFIED, pack
from flowcost.agent import recorder as recorders
from flowcost.agent.attribution import Attribution
from flowcost.agent.conntrack import Backend
from flowcost.agent.conversations import conversations
from flowcost.agent.dns import Names
from flowcost.agent.drained import Lost
from flowcost.agent.outbox import Outbox
from flowcost.agent.recorder import Recorder, hour_window
from flowcost.model import Direction
from flowcost.price import list_book
from flowcost.segment import HOUR_US
from tests.agent.test_attribution import (
    CART,
    CART_CGROUP,
    CHECKOUT,
    NEW_CGROUP,
    UNIT_CGROUP,
    VIP,
    KnownCgroups,
    dialed,
    directory,
    drained,
    knowing,
    row,
    to_service,
)

MINUTE = 60_000_000


class Recording:
    """A recorder over an outbox, fed by hand."""

    def __init__(self, directory_path):
        self.spool = directory_path
        self.outbox = Outbox(
            directory_path / "outbox", directory_path, epoch=1, limit_bytes=1 << 30
        )
        self.attribution = Attribution(directory(), KnownCgroups(), Names(), list_book())
        self.recorder = Recorder(self.outbox, self.attribution, "lab")

    def take(self, one, backends=None):
        source = self.spool / "s.seg"
        source.write_bytes(b"")
        self.recorder.begin(one, source)
        for conversation in conversations(one, knowing(backends or {})):
            self.recorder.add(conversation, 0.0)
        self.recorder.commit(0.0)
        assert not source.exists()
        return [self.outbox.read(entry) for entry in self.outbox.entries()]


@pytest.fixture
def recording(tmp_path):
    return Recording(tmp_path)


def test_a_dialed_service_travels_with_its_real_backend_and_without_the_ephemeral_port(recording):
    backend = Backend(pack(CHECKOUT.v4), 8080, masqueraded=False)
    (posted,) = recording.take(
        drained(to_service(40000), to_service(40001)),
        {dialed(40000): backend, dialed(40001): backend},
    )
    (flow,) = posted.flows
    assert (flow.local_uid, flow.local_address, flow.local_port) == (CART.uid, pack(CART.v4), 0)
    assert (flow.remote_address, flow.remote_port) == (pack(CHECKOUT.v4), 8080)
    assert (flow.dialed_address, flow.dialed_port) == (pack(VIP), 80)
    assert (flow.bytes, flow.packets, flow.direction) == (2000, 4, Direction.TRANSMIT)


def test_a_backend_nobody_knows_leaves_the_services_address(recording):
    (posted,) = recording.take(drained(to_service()))
    (flow,) = posted.flows
    assert (flow.remote_address, flow.dialed_address) == (pack(VIP), UNSPECIFIED)


def test_the_segment_says_who_posts_it_and_which_pods_it_speaks_of(recording):
    (posted,) = recording.take(
        drained(
            row(CHECKOUT.v4, sent=(9, 1)),
            row(CHECKOUT.v4, sent=(9, 1), cgroup=NEW_CGROUP, local="10.244.1.99"),
            row(CHECKOUT.v4, sent=(9, 1), cgroup=UNIT_CGROUP, local=CART.node.v4),
        )
    )
    assert (posted.cluster, posted.node, posted.boot) == ("lab", "node-a", "b")
    assert posted.agent_version == __version__
    node = posted.node_identity
    assert (node.cloud_region, node.cloud_availability_zone) == ("us-east-1", "use1-az1")
    pods = {pod.uid: pod for pod in posted.pods}
    assert (pods[CART.uid].namespace, pods[CART.uid].name) == ("shop", "cart-0")
    assert pods[CART.uid].identity(node) == recording.attribution.directory.world.pods[CART.uid]
    assert pods["0000-new"].name == ""
    assert [flow.local_uid for flow in posted.flows] == [CART.uid, "0000-new", ""]


def test_the_name_a_pod_asked_for_travels(recording):
    names = recording.attribution.names._names
    names[CART.uid, pack("198.51.100.10")] = (1e9, "api.example.com")
    (posted,) = recording.take(drained(row("198.51.100.10", sent=(9, 1), received=(90, 2))))
    assert [flow.dns_name for flow in posted.flows] == ["api.example.com"] * 2


def test_overflow_and_loss_travel_to_an_unknown_far_end(recording):
    (posted,) = recording.take(
        drained(
            row(CHECKOUT.v4, sent=(9, 1)),
            overflow=[(CART_CGROUP, (70, 2), (30, 1)), (UNIT_CGROUP, (5, 1), (0, 0))],
            lost=Lost(500, 5, 0, 0, 0),
            before=Lost(200, 2, 0, 0, 0),
        )
    )
    bare = [flow for flow in posted.flows if flow.remote_address == UNSPECIFIED]
    assert [(f.local_uid, f.direction, f.bytes) for f in bare] == [
        (CART.uid, Direction.TRANSMIT, 70),
        (CART.uid, Direction.RECEIVE, 30),
        ("", Direction.TRANSMIT, 5),
        ("", Direction.TRANSMIT, 300),
    ]
    assert bare[0].local_address == pack(CART.v4)
    assert bare[-1].local_address == pack(CART.node.v4)


def test_a_drain_of_many_flows_becomes_several_segments(recording, monkeypatch):
    monkeypatch.setattr(recorders.Packer, "full", lambda packer: len(packer) >= 10)
    rows = [row(f"10.244.2.{number}", sent=(number + 1, 1)) for number in range(35)]
    posted = recording.take(drained(*rows))
    assert [len(one.flows) for one in posted] == [10, 10, 10, 5]
    assert sum(flow.bytes for one in posted for flow in one.flows) == 35 * 36 // 2
    assert len({one.sequence for one in posted}) == 4


def test_a_drain_without_a_row_leaves_no_segment(recording):
    assert recording.take(drained()) == []


HOUR = 400_000 * HOUR_US


@pytest.mark.parametrize(
    ("start", "end", "booked"),
    [
        (HOUR + 5, HOUR + MINUTE, (HOUR + 5, HOUR + MINUTE)),
        (HOUR - 5 * MINUTE, HOUR + 20_000, (HOUR - 5 * MINUTE, HOUR)),
        (HOUR - 20_000, HOUR + 5 * MINUTE, (HOUR, HOUR + 5 * MINUTE)),
        (HOUR - MINUTE, HOUR + MINUTE, (HOUR, HOUR + MINUTE)),
        (HOUR - 3 * HOUR_US - 1, HOUR + MINUTE, (HOUR - HOUR_US, HOUR)),
        (HOUR, HOUR + HOUR_US, (HOUR, HOUR + HOUR_US)),
        (HOUR, HOUR, (HOUR, HOUR + 1)),
    ],
)
def test_a_window_is_booked_to_the_hour_that_holds_most_of_it(start, end, booked):
    assert hour_window(start, end) == booked


@given(st.integers(0, 1 << 55), st.integers(0, 1 << 45))
def test_what_is_booked_never_straddles_an_hour(start, length):
    first, last = hour_window(start, start + length)
    assert start <= first < last <= max(start + length, start + 1)
    assert first // HOUR_US == (last - 1) // HOUR_US


def test_every_byte_travels(recording):
    rows = [
        row("8.8.8.8", sent=(1 << number, 1), received=(3, 1), port=number + 1)
        for number in range(20)
    ]
    posted = recording.take(drained(*rows, overflow=[(CART_CGROUP, (1 << 30, 2), (0, 0))]))
    flows = [flow for one in posted for flow in one.flows]
    sent = sum(flow.bytes for flow in flows if flow.direction is Direction.TRANSMIT)
    assert sent == (1 << 20) - 1 + (1 << 30)
    assert sum(flow.bytes for flow in flows) - sent == 60
    for one in posted:
        assert segment.decode(segment.encode(one), "again") == one
