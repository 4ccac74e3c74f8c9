"""The two programs on crafted packets, run by the kernel (BPF_PROG_TEST_RUN), no traffic."""

import ctypes
import os
import random
import socket
import struct
import threading
from pathlib import Path

import pytest

from flowcost.address import pack
from flowcost.agent import bpf_syscall as bpf
from flowcost.agent import loader
from flowcost.agent.drained import Drained
from flowcost.agent.generation import Generation
from flowcost.agent.programs import Settings, load_programs
from flowcost.agent.ring import Ring

pytestmark = pytest.mark.lab

L4, R4 = "10.1.0.1", "203.0.113.9"
L6, R6 = "fd00:1::1", "2001:db8::9"
TCP, UDP, ICMP, SCTP, ESP = 6, 17, 1, 132, 50
MTU = 576


def inside(namespace, action):
    """Do something in a network namespace: a thread enters it, and ends."""
    result = []

    def enter():
        with Path(f"/run/netns/{namespace}").open() as file:
            assert ctypes.CDLL(None).setns(file.fileno(), 0x40000000) == 0
        result.append(action())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return result[0]


class Bench:
    """The programs, loaded and attached nowhere, with a way to feed them."""

    def __init__(self, namespace, **settings):
        self.settings = Settings(
            **{"flows": 64, "cgroups": 4, "dns_bytes": 1 << 16, "mtu": MTU} | settings
        )
        source = loader.packaged_object()
        self.generation = Generation.create(
            self.settings.sized(loader.shapes(source)), epoch=1, start=0, parent=None
        )
        self.programs = load_programs(source, self.generation.maps, self.settings)
        self.ring = Ring(self.generation.maps["answers"], self.settings.dns_bytes)
        self.namespace = namespace
        self.interface = inside(namespace, lambda: socket.if_nametoindex("eth0"))

    def feed(self, *frames, direction="egress", segments=0, size=0, interface=None):
        context = bytearray(192)
        struct.pack_into("<I", context, 40, interface or self.interface)
        struct.pack_into("<I", context, 164, segments)
        struct.pack_into("<I", context, 176, size)

        def run():
            return [
                bpf.program_test(self.programs[direction], frame, context=bytes(context))[0]
                for frame in frames
            ]

        assert set(inside(self.namespace, run)) == {1}, "a packet was not passed"

    def counted(self):
        self.generation.flip()
        tables = self.generation.read()
        self.generation.forget(tables)
        return Drained(
            boot="",
            epoch=1,
            sequence=1,
            window_start=0,
            window_end=0,
            flows4=tables[0],
            flows6=tables[1],
            overflow=tables[2],
            lost=self.generation.lost(),
        )

    def one(self, *frames, **how):
        self.feed(*frames, **how)
        [entry] = self.counted().entries()
        return entry

    def close(self):
        self.ring.close()
        self.generation.close()
        for descriptor in self.programs.values():
            os.close(descriptor)


@pytest.fixture(scope="module")
def bench(wire):
    bench = Bench(wire.name("a"), service_ranges=("10.96.0.0/12", "fd00:10:96::/108"))
    yield bench
    bench.close()


def ip4(transport, payload, *, source=L4, destination=R4, options=b"", fragment=0):
    words = (20 + len(options)) // 4
    return (
        bytes(12)
        + b"\x08\x00"
        + struct.pack(
            ">BBHHHBBH",
            0x40 | words,
            0,
            words * 4 + len(payload),
            1,
            fragment,
            64,
            transport,
            0,
        )
        + pack(source)[12:]
        + pack(destination)[12:]
        + options
        + payload
    )


def ip6(transport, payload, *, source=L6, destination=R6, length=None):
    return (
        bytes(12)
        + b"\x86\xdd"
        + struct.pack(">IHBB", 6 << 28, len(payload) if length is None else length, transport, 64)
        + pack(source)
        + pack(destination)
        + payload
    )


def tcp(source, destination, size=0, *, options=b"", flags=0x10):
    words = (20 + len(options)) // 4
    head = struct.pack(">HHIIBBHHH", source, destination, 1, 1, words << 4, flags, 1000, 0, 0)
    return head + options + bytes(size)


def udp(source, destination, payload=b""):
    return struct.pack(">HHHH", source, destination, 8 + len(payload), 0) + payload


def extension(following, size=8):
    return bytes([following, size // 8 - 1]) + bytes(size - 2)


TIMESTAMPS = b"\x01\x01\x08\x0a" + bytes(8)
FRAMES = {
    # name: frame, transport, local port, remote port
    "tcp over ipv4": (ip4(TCP, tcp(50000, 443, 100)), TCP, 0, 443),
    "ip options": (ip4(TCP, tcp(50000, 443), options=bytes(12)), TCP, 0, 443),
    "udp over ipv4": (ip4(UDP, udp(50000, 443, bytes(100))), UDP, 0, 443),
    "icmp": (ip4(ICMP, bytes(8)), ICMP, 0, 0),
    "sctp": (ip4(SCTP, struct.pack(">HHII", 5000, 5001, 0, 0)), SCTP, 0, 0),
    "gre": (ip4(47, bytes(4)), 47, 0, 0),
    "a first fragment": (ip4(UDP, udp(50000, 443), fragment=0x2000), UDP, 0, 443),
    "a later fragment": (ip4(UDP, udp(50000, 443), fragment=0x2004), UDP, 0, 0),
    "tcp over ipv6": (ip6(TCP, tcp(50000, 443, 100)), TCP, 0, 443),
    "udp over ipv6": (ip6(UDP, udp(50000, 443)), UDP, 0, 443),
    "icmpv6": (ip6(58, bytes(8)), 58, 0, 0),
    "hop-by-hop options": (ip6(0, extension(TCP) + tcp(50000, 443)), TCP, 0, 443),
    "routing and destination options": (
        ip6(43, extension(60, 24) + extension(UDP, 16) + udp(50000, 443)),
        UDP,
        0,
        443,
    ),
    "authentication header": (
        ip6(51, bytes([TCP, 4]) + bytes(22) + tcp(50000, 443)),
        TCP,
        0,
        443,
    ),
    "an ipv6 first fragment": (
        ip6(44, struct.pack(">BBHI", UDP, 0, 1, 7) + udp(50000, 443)),
        UDP,
        0,
        443,
    ),
    "an ipv6 later fragment": (
        ip6(44, struct.pack(">BBHI", UDP, 0, 8 << 3, 7) + udp(50000, 443)),
        UDP,
        0,
        0,
    ),
    "encrypted": (ip6(ESP, bytes(20)), ESP, 0, 0),
    "no next header": (ip6(59, b""), 59, 0, 0),
}


@pytest.mark.parametrize("shape", FRAMES)
def test_every_header_shape_is_keyed_and_counted_once(bench, shape):
    frame, transport, local_port, remote_port = FRAMES[shape]
    entry = bench.one(frame)
    assert (entry.transport, entry.local_port, entry.remote_port) == (
        transport,
        local_port,
        remote_port,
    )
    four = frame[12:14] == b"\x08\x00"
    assert (entry.local_address, entry.remote_address) == (
        (pack(L4), pack(R4)) if four else (pack(L6), pack(R6))
    )
    assert (entry.transmitted_bytes, entry.transmitted_packets) == (len(frame) - 14, 1)
    assert (entry.received_bytes, entry.received_packets) == (0, 0)


@pytest.mark.parametrize("shape", ["tcp over ipv4", "udp over ipv6"])
def test_ingress_swaps_the_ends(bench, shape):
    frame = FRAMES[shape][0]
    entry = bench.one(frame, direction="ingress")
    assert {entry.local_address, entry.remote_address} == {
        pack(a) for a in ((L4, R4) if "4" in shape else (L6, R6))
    }
    assert entry.remote_address in (pack(L4), pack(L6))
    assert (entry.local_port, entry.remote_port) == (443, 0)
    assert (entry.received_bytes, entry.received_packets) == (len(frame) - 14, 1)


def test_both_directions_of_a_conversation_share_a_row(bench):
    there = ip4(TCP, tcp(50000, 443, 10))
    back = ip4(TCP, tcp(443, 50000, 20), source=R4, destination=L4)
    bench.feed(there, there)
    entry = bench.one(back, direction="ingress")
    assert (entry.transmitted_bytes, entry.received_bytes) == (100, 60)


SEGMENTED = {
    # name: frame, segments, size, header length of one
    "tcp over ipv4": (ip4(TCP, tcp(50000, 443, 2896)), 2, 1448, 40),
    "tcp with timestamps": (ip4(TCP, tcp(50000, 443, 2896, options=TIMESTAMPS)), 2, 1448, 52),
    "tcp with ip options": (
        ip4(TCP, tcp(50000, 443, 2896, options=TIMESTAMPS), options=bytes(8)),
        2,
        1448,
        60,
    ),
    "tcp over ipv6": (ip6(TCP, tcp(50000, 443, 3000, options=TIMESTAMPS)), 3, 1428, 72),
    "an uncounted super-packet": (ip4(TCP, tcp(50000, 443, 2897)), 0, 1448, 40),
    "udp": (ip4(UDP, udp(50000, 443, bytes(2401))), 3, 1200, 28),
    "udp over ipv6": (ip6(UDP, udp(50000, 443, bytes(2400))), 2, 1200, 48),
    "hop-by-hop options": (ip6(0, extension(TCP) + tcp(50000, 443, 2800)), 2, 1400, 68),
    "sctp": (ip4(SCTP, bytes(12 + 2000)), 2, 0xFFFF, 32),
}


@pytest.mark.parametrize("shape", SEGMENTED)
def test_a_super_packet_counts_as_the_packets_it_becomes(bench, shape):
    frame, segments, size, header = SEGMENTED[shape]
    entry = bench.one(frame, segments=segments, size=size)
    packets = segments or 3
    assert entry.transmitted_packets == packets
    assert entry.transmitted_bytes == len(frame) - 14 + (packets - 1) * header


def test_a_jumbogram_of_the_kernels_own_making_sheds_its_option_on_the_wire(bench):
    option = bytes([TCP, 0, 0xC2, 4]) + struct.pack(">I", 2896 + 20 + 8)
    frame = ip6(0, option + tcp(50000, 443, 2896), length=0)
    entry = bench.one(frame, segments=2, size=1448)
    assert entry.transmitted_bytes == 2 * (40 + 20 + 1448)


@pytest.mark.parametrize("size", [600, 1500, 1672, 1673, 3000])
def test_an_oversized_datagram_counts_as_its_fragments(bench, size):
    payload = size + 8
    room4, room6 = (MTU - 20) // 8 * 8, (MTU - 48) // 8 * 8
    entry = bench.one(ip4(UDP, udp(50000, 443, bytes(size))))
    pieces = -(-payload // room4)
    assert (entry.transmitted_packets, entry.transmitted_bytes) == (pieces, payload + pieces * 20)
    entry = bench.one(ip6(UDP, udp(50000, 443, bytes(size))))
    pieces = -(-payload // room6)
    assert (entry.transmitted_packets, entry.transmitted_bytes) == (pieces, payload + pieces * 48)


def test_a_large_segment_of_tcp_is_one_packet_whatever_the_mtu(bench):
    entry = bench.one(ip4(TCP, tcp(50000, 443, 2000)))
    assert (entry.transmitted_packets, entry.transmitted_bytes) == (1, 2040)


def test_a_datagram_of_exactly_the_mtu_is_one_packet(bench):
    assert bench.one(ip4(UDP, udp(50000, 443, bytes(MTU - 28)))).transmitted_packets == 1
    assert bench.one(ip4(UDP, udp(50000, 443, bytes(MTU - 27)))).transmitted_packets == 2


@pytest.mark.parametrize(
    ("local", "remote", "kept"),
    [
        (50000, 443, (0, 443)),
        (443, 50000, (443, 0)),
        (50000, 8080, (0, 8080)),
        (30080, 32768, (30080, 0)),
        (2000, 53, (0, 53)),
        (40000, 50000, (40000, 50000)),
        (8080, 9090, (8080, 9090)),
    ],
)
def test_only_the_port_of_the_higher_class_is_dropped(bench, local, remote, kept):
    entry = bench.one(ip4(UDP, udp(local, remote)))
    assert (entry.local_port, entry.remote_port) == kept


@pytest.mark.parametrize(
    ("frame", "service"),
    [
        (ip4(TCP, tcp(50000, 443), destination="10.96.0.10"), True),
        (ip4(TCP, tcp(50000, 443), destination="10.111.255.255"), True),
        (ip4(TCP, tcp(50000, 443), destination="10.112.0.0"), False),
        (ip6(TCP, tcp(50000, 443), destination="fd00:10:96::f:ffff"), True),
        (ip6(TCP, tcp(50000, 443), destination="fd00:10:96::10:0"), False),
    ],
)
def test_a_flow_to_a_service_keeps_its_local_port(bench, frame, service):
    entry = bench.one(frame)
    assert entry.service is service
    assert entry.local_port == (50000 if service else 0)


def test_handshakes_are_counted_at_the_end_that_begins_and_the_end_that_is_asked(bench):
    syn, accepted = tcp(50000, 443, flags=0x02), tcp(443, 50000, flags=0x12)
    bench.feed(ip4(TCP, syn))
    bench.feed(ip4(TCP, accepted, source=R4, destination=L4), direction="ingress")
    [entry] = bench.counted().entries()
    assert (entry.local_handshakes, entry.remote_handshakes) == (1, 0)
    bench.feed(ip4(TCP, syn, source=R4, destination=L4), direction="ingress")
    bench.feed(ip4(TCP, accepted))
    [entry] = bench.counted().entries()
    assert (entry.local_handshakes, entry.remote_handshakes) == (0, 1)


def test_loopback_is_passed_and_not_counted(bench):
    bench.feed(FRAMES["tcp over ipv4"][0], interface=1)
    assert len(bench.counted()) == 0


def test_headers_cut_short_and_noise_are_passed_and_every_byte_is_counted(wire):
    bench = Bench(wire.name("a"), flows=1 << 14)
    draw = random.Random(4)
    frames = []
    for _ in range(1500):
        shape = draw.choice([frame for frame, *_ in FRAMES.values()])
        # The kernel wants the fixed IP header whole before it runs the test.
        least = 34 if shape[12:14] == b"\x08\x00" else 54
        frame = bytearray(shape[: draw.randrange(least, len(shape) + 1)])
        for _ in range(draw.randrange(6)):
            frame[draw.randrange(14, len(frame))] = draw.randrange(256)
        frames.append(bytes(frame))
    for direction in ("egress", "ingress"):
        bench.feed(*frames, direction=direction)
        # A super-packet whose headers cannot be read counts as one packet of its own length.
        bench.feed(ip4(TCP, b""), direction=direction, segments=2, size=100)
    entries = list(bench.counted().entries())
    expected = sum(len(frame) - 14 for frame in frames) + 20
    assert sum(e.transmitted_bytes for e in entries) == expected
    assert sum(e.received_bytes for e in entries) == expected
    assert sum(e.transmitted_packets for e in entries) == len(frames) + 1
    bench.close()


def answer(size=60, *, flags=0x8180, answers=1):
    return struct.pack(">6H", 7, flags, 1, answers, 0, 0) + bytes(size - 12)


@pytest.mark.parametrize("size", [12, 448, 449, 1408, 1409, 3000])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("transport", [TCP, UDP])
def test_a_dns_answer_is_copied_whole_or_as_far_as_there_is_room(bench, version, transport, size):
    message = answer(size)
    payload = (
        udp(53, 50001, message)
        if transport == UDP
        else tcp(53, 50001, options=TIMESTAMPS) + struct.pack(">H", size) + message
    )
    frame = (
        ip4(transport, payload, source=R4, destination=L4)
        if version == 4
        else ip6(transport, payload, source=R6, destination=L6)
    )
    bench.feed(frame, direction="ingress")
    bench.counted()
    [got] = bench.ring.answers()
    assert got.message == message[:1408]
    assert (got.size, got.transport, got.client_port) == (size, transport, 50001)
    assert (got.server, got.client) == (
        (pack(R4), pack(L4)) if version == 4 else (pack(R6), pack(L6))
    )
    assert got.cgroup > 0


@pytest.mark.parametrize(
    "message",
    [
        answer(flags=0x0100),  # a question
        answer(flags=0x8183),  # no such name
        answer(answers=0),
        answer()[:11],
    ],
)
def test_what_answers_nothing_is_not_copied(bench, message):
    bench.feed(
        ip4(UDP, udp(53, 50001, message), source=R4, destination=L4),
        ip4(UDP, udp(5353, 50001, answer()), source=R4, destination=L4),
        direction="ingress",
    )
    bench.feed(ip4(UDP, udp(50001, 53, answer())))
    assert len(bench.counted()) == 2
    assert list(bench.ring.answers()) == []


def test_answers_that_find_the_ring_full_are_counted_and_the_ring_goes_on(wire):
    bench = Bench(wire.name("a"), dns_bytes=4096)
    frame = ip4(UDP, udp(53, 50001, answer(400)), source=R4, destination=L4)
    for _ in range(3):
        before = bench.generation.lost().dns
        bench.feed(*[frame] * 20, direction="ingress")
        got = len(list(bench.ring.answers()))
        assert 5 <= got < 20
        assert bench.generation.lost().dns - before == 20 - got
    bench.close()


def test_flows_without_room_overflow_by_cgroup_and_then_into_the_total(wire):
    bench = Bench(wire.name("a"), flows=2, cgroups=1)
    frames = [ip4(UDP, udp(50000, port)) for port in range(1, 11)]
    bench.feed(*frames)
    drained = bench.counted()
    [over] = drained.overflows()
    assert len(drained) == 2
    assert (over.transmitted_bytes, over.transmitted_packets) == (8 * 28, 8)
    bench.close()


def test_the_verifier_reads_few_instructions(bench):
    for descriptor in bench.programs.values():
        assert bpf.program_statistics(descriptor)[2] < 50_000
