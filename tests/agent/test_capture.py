"""The kernel side against the wire: sockets in one namespace, counters in the next."""

import time
from contextlib import nullcontext

import pytest
from msgspec.structs import replace

from flowcost.address import pack
from flowcost.agent.capture import Capture
from flowcost.model import Initiator

from .conftest import SMALL
from .wire import A6, B6, A, B

pytestmark = pytest.mark.lab

ENDS = {4: (A, B), 6: (A6, B6)}


def total(drained):
    sums = [0, 0, 0, 0]
    for entry in drained.entries() if drained else ():
        for index, value in enumerate(
            (
                entry.transmitted_bytes,
                entry.transmitted_packets,
                entry.received_bytes,
                entry.received_packets,
            )
        ):
            sums[index] += value
    return tuple(sums)


def settle(wire, capture, version):
    """Return what the wire carried and what was counted, once both are quiet."""
    time.sleep(0.15)
    truth = wire.truth()
    return (*truth[f"a{version}"], *truth[f"b{version}"]), capture.drain()


CASES = {
    "bulk": ("tcp_server", 80, "bulk", "5000000"),
    "download": ("tcp_server", 80, "fetch", "5000000"),
    "request and response": ("tcp_server", 80, "requests", "300"),
    "connection churn": ("tcp_server", 80, "churn", "100"),
    "abortive close": ("tcp_server", 80, "churn", "100", "reset"),
    "refused": (None, 81, "refused", "30"),
    "udp connected": ("udp_server", 5000, "udp_requests", "100", "connected"),
    "udp unconnected": ("udp_server", 5000, "udp_requests", "100", "unconnected"),
    "udp fragments": ("udp_server", 5000, "udp_requests", "20", "unconnected", "8000"),
    "udp segmentation offload": ("udp_sink", 5000, "udp_segments", "20"),
}


@pytest.mark.parametrize("version", ENDS)
@pytest.mark.parametrize("case", CASES)
def test_bytes_and_packets_equal_the_wire(wire, capture, case, version):
    server, port, *traffic = CASES[case]
    _, far = ENDS[version]
    with wire.serve("b", server, far, str(port)) if server else nullcontext():
        wire.truth()
        wire.run("a", traffic[0], far, str(port), *traffic[1:])
        truth, drained = settle(wire, capture, version)
    assert truth[1] >= 20
    assert total(drained) == truth
    assert len(drained) == 1
    [entry] = drained.entries()
    assert entry.cgroup == wire.cgroup.stat().st_ino
    assert (entry.local_address, entry.local_port) == (pack(ENDS[version][0]), 0)
    assert (entry.remote_address, entry.remote_port) == (pack(far), port)
    assert entry.transport == (17 if "udp" in case else 6)


@pytest.mark.parametrize("version", ENDS)
def test_what_is_sent_is_exact_when_packets_are_lost_on_the_way(wire, capture, version):
    far = ENDS[version][1]
    with wire.serve("b", "tcp_server", far, "80"), wire.losing(5):
        wire.truth()
        wire.run("a", "bulk", far, "80", "8000000")
        truth, drained = settle(wire, capture, version)
    counted = total(drained)
    assert counted[:2] == truth[:2]
    # The router counts before it drops; what was dropped after that never reached the socket.
    assert counted[2] <= truth[2]


@pytest.mark.parametrize("version", ENDS)
def test_the_listening_end_counts_the_handshake_and_knows_who_began(wire, capture, version):
    near, _ = ENDS[version]
    with wire.serve("a", "tcp_server", near, "8080"):
        wire.truth()
        wire.run("b", "requests", near, "8080", "50")
        truth, drained = settle(wire, capture, version)
    assert total(drained) == truth
    flows = list(drained.flows())
    assert {flow.initiator for flow in flows} == {Initiator.REMOTE}
    assert {(flow.local_port, flow.remote_port) for flow in flows} == {(8080, 0)}


@pytest.mark.parametrize("version", ENDS)
def test_a_dialed_end_is_the_initiator_and_its_service_port_is_kept(wire, capture, version):
    far = ENDS[version][1]
    with wire.serve("b", "tcp_server", far, "80"):
        wire.run("a", "requests", far, "80", "5")
        _, drained = settle(wire, capture, version)
    assert {flow.initiator for flow in drained.flows()} == {Initiator.LOCAL}


@pytest.mark.parametrize("version", ENDS)
def test_other_protocols_are_counted_by_their_number(wire, capture, version):
    wire.truth()
    wire.run("a", "ping", ENDS[version][1], "4")
    truth, drained = settle(wire, capture, version)
    # The neighbours' own ICMPv6 is the kernel's, not a socket's.
    assert total(drained)[0] <= truth[0]
    number = 58 if version == 6 else 1
    [entry] = [entry for entry in drained.entries() if entry.transport == number]
    assert (entry.transmitted_packets, entry.received_packets) == (4, 4)


def test_a_v4_address_on_a_v6_socket_is_an_ipv4_flow(wire, capture):
    with wire.serve("b", "tcp_server", B, "80"):
        wire.truth()
        wire.run("a", "requests", f"::ffff:{B}", "80", "20")
        truth, drained = settle(wire, capture, 4)
    assert total(drained) == truth
    assert len(drained.flows4) == 1


def test_loopback_is_not_traffic(wire, capture):
    with wire.serve("a", "tcp_server", A, "80"):
        wire.run("a", "requests", A, "80", "20")
    time.sleep(0.1)
    assert capture.drain() is None


def test_connections_older_than_the_agent_count_from_the_first_packet_after_attach(
    wire, spool, bpffs
):
    with wire.serve("b", "udp_server", B, "5000"):
        client = wire.start("a", "udp_requests", B, "5000", "60", "connected", "100", "0.02")
        time.sleep(0.3)
        capture = Capture.attach(wire.cgroup, spool, pins=bpffs / "flowcost", settings=SMALL)
        wire.counters()
        before = total(capture.drain())
        wire.wait(client)
        truth, drained = settle(wire, capture, 4)
    capture.detach()
    assert 0 < truth[1] < 60
    # At most one request falls between the two readings.
    assert truth[1] <= before[1] + total(drained)[1] <= truth[1] + before[1]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("version", ENDS)
def test_answers_of_a_resolver_are_handed_over_with_who_asked(wire, capture, version, transport):
    near, far = ENDS[version]
    message = bytes.fromhex("000781800001000100000000") + bytes(40)
    with wire.serve("b", "dns_server", far, "53", transport, message.hex()):
        wire.run("a", "dns_ask", far, "53", transport, "5")
    answers = list(capture.dns_answers())
    assert [answer.message for answer in answers] == [message] * 5
    assert {(a.server, a.client) for a in answers} == {(pack(far), pack(near))}
    assert {a.cgroup for a in answers} == {wire.cgroup.stat().st_ino}
    assert list(capture.dns_answers()) == []


def test_other_service_ranges_take_effect_at_once_and_no_packet_is_missed(wire, capture):
    capture.adjust(replace(SMALL, service_ranges=(f"{B}/32",)))
    assert capture.settings.service_ranges == (f"{B}/32",)
    with wire.serve("b", "tcp_server", B, "80"):
        wire.truth()
        wire.run("a", "requests", B, "80", "20")
        capture.adjust(SMALL)
        wire.run("a", "requests", B, "80", "20")
        truth, drained = settle(wire, capture, 4)
    assert total(drained) == truth
    assert {entry.service for entry in drained.entries()} == {True, False}
