"""The segment an agent posts: what travels, what is refused, how releases live together."""

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from flowcost import segment
from flowcost.errors import SourceError
from flowcost.model import Direction, EndKind, Identity, Initiator
from flowcost.segment import Flow, Flows, SeenPod, Segment

HOUR = 1_764_000_000_000_000 // segment.HOUR_US * segment.HOUR_US
SEGMENT = Segment(
    node="node-a", boot="b", epoch=7, sequence=3, window_start=HOUR, window_end=HOUR + 5_000_000
)
ADDRESS = st.binary(min_size=16, max_size=16)
PORT = st.integers(0, 65535)
COUNT = st.integers(0, 2**63 - 1)
FLOWS = st.builds(
    Flow,
    local_uid=st.sampled_from(["", "uid-1", "uid-2"]),
    local_address=ADDRESS,
    local_port=PORT,
    remote_address=ADDRESS,
    remote_port=PORT,
    dialed_address=ADDRESS,
    dialed_port=PORT,
    transport=st.integers(0, 255),
    direction=st.sampled_from(Direction),
    initiator=st.sampled_from(Initiator),
    dns_name=st.text(max_size=20),
    bytes=COUNT,
    packets=COUNT,
)


@given(st.lists(FLOWS, max_size=20))
def test_what_is_packed_travels_unchanged(flows):
    sent = replace(SEGMENT, flows=segment.pack(flows))
    data = segment.deflate(segment.encode(sent))
    got = segment.decode(segment.inflate(data, "here"), "here")
    assert got == sent
    assert list(got.flows) == flows


def test_the_largest_segment_keeps_to_its_bound():
    uids = [f"{number:036d}" for number in range(500)]
    flows = [
        Flow(
            local_uid=uids[number % 500],
            local_address=number.to_bytes(16),
            remote_address=struct.pack(">QQ", 2**63, number),
            dialed_address=b"\1" * 16,
            dns_name=f"name-{number % 5000}.example.com",
            bytes=2**60 + number,
            packets=number,
        )
        for number in range(segment.MAX_FLOWS)
    ]
    assert len(segment.encode(replace(SEGMENT, flows=segment.pack(flows)))) < segment.MAX_BYTES


def test_a_pod_gets_back_what_its_node_says():
    node = Identity(kind=EndKind.COMPUTE, cloud_region="us-east-1", k8s_node_name="node-a")
    pod = replace(node, k8s_namespace_name="shop", k8s_pod_name="cart-0", k8s_pod_uid="u")
    assert SeenPod.of(pod).identity(node) == pod


def test_fields_of_a_later_release_are_ignored_and_missing_ones_defaulted():
    sent = replace(SEGMENT, flows=segment.pack([Flow(bytes=9)]))
    fields = msgspec.msgpack.decode(segment.encode(sent))
    fields["colour"] = "green"
    fields["flows"]["retransmitted_bytes"] = b"12345678"
    for name in ("pods", "counted_since", "agent_version", "cluster"):
        del fields[name]
    got = segment.decode(msgspec.msgpack.encode(fields), "here")
    assert got.pods == ()
    assert [flow.bytes for flow in got.flows] == [9]


ONE = segment.pack([Flow(local_uid="u", bytes=1)])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"version": 2}, "segment version 2"),
        ({"node": ""}, "node and boot"),
        ({"window_end": HOUR}, "empty or reversed"),
        ({"window_start": HOUR - 1}, "straddles an hour"),
        ({"flows": replace(ONE, bytes=b"\1" * 7)}, "column bytes is not 1 values of 8 bytes"),
        ({"flows": replace(ONE, local_address=b"\1" * 32)}, "column local_address"),
        ({"flows": replace(ONE, texts=("",))}, "column local_uid holds a value of 1 or more"),
        ({"flows": replace(ONE, texts=())}, "column local_uid holds a value of 0 or more"),
        ({"flows": replace(ONE, direction=b"\2")}, "column direction"),
        ({"flows": replace(ONE, initiator=b"\3")}, "column initiator"),
        ({"flows": replace(ONE, packets=b"\xff" * 8)}, "column packets"),
        ({"flows": Flows(rows=segment.MAX_FLOWS + 1)}, "at most 50000"),
        ({"flows": Flows(rows=-1)}, "at most 50000"),
    ],
)
def test_a_wrong_segment_is_named(changed, words):
    with pytest.raises(SourceError, match=words):
        segment.decode(segment.encode(replace(SEGMENT, **changed)), "here")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not zlib data|cut short"),
        (b"hello", "not zlib data"),
        (segment.deflate(b"x" * 999)[:-3], "cut short"),
        (segment.deflate(bytes(segment.MAX_BYTES + 1)), "more than"),
    ],
)
def test_bad_compression_is_named_and_bounded(data, words):
    with pytest.raises(SourceError, match=words):
        segment.inflate(data, "here")


@given(st.binary(max_size=200))
def test_noise_is_refused_in_words(data):
    with pytest.raises(SourceError):
        segment.decode(data, "here")


def test_a_text_that_is_no_utf8_is_an_error_of_the_sender():
    good = segment.encode(SEGMENT)
    with pytest.raises(SourceError, match="not a segment"):
        segment.decode(good.replace(b"node-a", b"node-\xff"), "posted")
