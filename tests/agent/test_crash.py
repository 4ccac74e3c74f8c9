"""No byte is lost and none is counted twice, whatever happens to the agent."""

import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from flowcost.agent.capture import Capture, Settings
from flowcost.agent.spool import Spool
from flowcost.errors import NotPermittedError, NotSupportedError

from .test_capture import total
from .wire import HERE, B

pytestmark = pytest.mark.lab

SMALL = Settings(flows=4096, cgroups=64, dns_bytes=1 << 16, service_ranges=("10.0.0.0/8",))

# In the order of a drain: after each of these the agent is dead.
CRASHES = [
    "bpf.map_create:3",  # making the maps
    "bpf.pin:4",  # pinning them
    "bpf.pin:12",
    "bpf.link_create:1",
    "bpf.pin:13",  # one direction linked, the other not
    "bpf.link_create:2",
    "generation.flip:1",
    "generation.read:3",
    "path.open:1",  # the segment is an empty .tmp
    "spool.write:1",
    "bpf.map_delete:1",
    "generation.forget:1",
    "generation.note:1",
    "spool.settle:1",
]


class Agents:
    """Start and kill agents over one spool and one directory of pins; add up what they spooled."""

    def __init__(self, wire, bpffs, tmp_path):
        self.wire, self.pins, self.spool = wire, bpffs / "flowcost", tmp_path / "spool"

    def start(self, crash="", flows=4096, services="10.0.0.0/8"):
        words = (self.wire.cgroup, self.spool, self.pins, flows, services, crash)
        return subprocess.Popen(
            [sys.executable, HERE / "drainer.py", *map(str, words)],
            stdout=subprocess.PIPE,
            text=True,
        )

    def finish(self, flows=4096):
        spool = Spool(self.spool)
        settings = Settings(
            flows=flows, cgroups=64, dns_bytes=1 << 16, service_ranges=("10.0.0.0/8",)
        )
        capture = Capture.attach(self.wire.cgroup, spool, pins=self.pins, settings=settings)
        capture.drain()
        capture.detach()
        segments = [segment for _, segment in spool.pending()]
        assert spool.open_segments() == []
        spool.close()
        assert not self.pins.exists()
        names = [(s.boot, s.epoch, s.sequence) for s in segments]
        assert len(set(names)) == len(names)
        sums = [total(segment) for segment in segments]
        return tuple(map(sum, zip(*sums, strict=True))) if sums else (0, 0, 0, 0)


@pytest.fixture
def agents(wire, bpffs, tmp_path):
    return Agents(wire, bpffs, tmp_path)


def kill(process):
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_after_any_step_loses_nothing_and_doubles_nothing(wire, agents, crash):
    attaching = crash.startswith(("bpf.map_create", "bpf.pin", "bpf.link"))
    first = agents.start()
    assert first.stdout.readline() == "ready\n" or attaching
    if attaching:
        kill(first)
        # Nothing pinned: the crash is in the first attach ever.
        agents.finish()
        dying = agents.start(crash)
        dying.communicate(timeout=20)
        again = agents.start()
        assert again.stdout.readline() == "ready\n"
        wire.truth()
    else:
        kill(first)
        wire.truth()
        with wire.serve("b", "udp_server", B, "5000"):
            wire.run("a", "udp_requests", B, "5000", "50")
        dying = agents.start(crash)
        dying.communicate(timeout=20)
        again = agents.start()
        assert again.stdout.readline() == "ready\n"
    assert dying.returncode == 9
    with wire.serve("b", "udp_server", B, "5000"), wire.serve("b", "tcp_server", B, "80"):
        wire.run("a", "udp_requests", B, "5000", "50")
        wire.run("a", "requests", B, "80", "20")
        time.sleep(0.1)
    kill(again)
    truth = wire.truth()
    counted = agents.finish()
    assert counted == (*truth["a4"], *truth["b4"])


@contextmanager
def servers(wire):
    with (
        wire.serve("b", "tcp_server", B, "80"),
        wire.serve("b", "tcp_once", B, "81"),
        wire.serve("b", "udp_server", B, "5000"),
    ):
        yield


def load(wire):
    """Start some eight seconds of mixed traffic; return the processes.

    No connection ends in TIME_WAIT at a: that state has no socket, its packets no cgroup.
    """
    return [
        wire.start("a", "requests", B, "80", "60000"),
        wire.start("a", "churn", B, "81", "6000", "last"),
        wire.start("a", "churn", B, "80", "3000", "reset"),
        wire.start("a", "udp_requests", B, "5000", "12000", "unconnected"),
        wire.start("a", "udp_requests", B, "5000", "12000", "connected"),
    ]


@pytest.mark.slow
def test_twenty_kills_and_five_upgrades_under_load_lose_nothing_and_double_nothing(wire, agents):
    first = agents.start()
    assert first.stdout.readline() == "ready\n"
    wire.truth()
    with servers(wire):
        traffic = load(wire)
        agent, kills, upgrades, started = first, 0, 0, time.monotonic()
        while (kills < 20 or upgrades < 5) and time.monotonic() - started < 50:
            time.sleep(0.03 + 0.01 * (kills % 7))
            if all(process.poll() is not None for process in traffic):
                traffic += load(wire)
            kill(agent)
            kills += 1
            # An upgrade: other settings in the program, and every other time other maps.
            upgrade = kills % 4 == 0
            upgrades += upgrade
            flows = 4096 + 512 * (upgrades // 2)
            agent = agents.start(flows=flows, services=f"10.{upgrades}.0.0/16")
            if kills % 3:
                assert agent.stdout.readline() == "ready\n"
        for process in traffic:
            wire.wait(process)
        time.sleep(0.2)
        kill(agent)
        truth = wire.truth()
    assert (kills, upgrades) == (20, 5)
    counted = agents.finish(flows)
    assert truth["a4"][1] > 50_000
    assert counted == (*truth["a4"], *truth["b4"])


def drained_until_quiet(wire, capture, traffic, pause):
    """Drain until every process has ended; return the sums and how many drains there were."""
    sums, drains = [0, 0, 0, 0], 0
    running = True
    while running:
        running = any(process.poll() is None for process in traffic)
        time.sleep(pause if running else 0.2)
        drains += 1
        for index, value in enumerate(total(capture.drain())):
            sums[index] += value
    for process in traffic:
        wire.wait(process)
    return tuple(sums), drains


@pytest.mark.slow
def test_a_drain_without_pause_loses_nothing_under_churn(wire, capture):
    wire.truth()
    with servers(wire):
        sums, drains = drained_until_quiet(wire, capture, load(wire), 0)
    truth = wire.truth()
    assert drains > 10
    assert sums == (*truth["a4"], *truth["b4"])


@pytest.mark.slow
def test_millions_of_packets_drained_all_the_while_lose_nothing(wire, capture, tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("no C compiler for the traffic program")
    program = tmp_path / "traffic"
    source = HERE.parents[1] / "benchmarks/agent_traffic.c"
    subprocess.run(["cc", "-O2", "-o", program, source], check=True)
    native = {"program": [str(program)]}
    wire.truth()
    sums = (0, 0, 0, 0)
    for _ in range(8):  # a busy machine sends fewer packets in twelve seconds
        with (
            wire.serve("b", "server", "5001", **native),
            wire.serve("b", "server", "5002", **native),
            wire.serve("b", "tcp_once", B, "81"),
        ):
            traffic = [
                wire.start("a", "rr", B, "5001", "12", **native),
                wire.start("a", "urr", B, "5002", "12", **native),
                wire.start("a", "churn", B, "81", "3000", "last"),
            ]
            found, _ = drained_until_quiet(wire, capture, traffic, 0.02)
        sums = tuple(map(sum, zip(sums, found, strict=True)))
        if sums[1] + sums[3] > 1_000_000:
            break
    truth = wire.truth()
    assert sums[1] + sums[3] > 1_000_000
    assert sums == (*truth["a4"], *truth["b4"])


def test_a_full_map_loses_no_byte_to_silence(wire, spool, bpffs):
    settings = Settings(flows=4, cgroups=4, dns_bytes=1 << 16)
    capture = Capture.attach(wire.cgroup, spool, pins=bpffs / "flowcost", settings=settings)
    servers = [wire.serve("b", "udp_server", B, str(port)) for port in range(5000, 5012)]
    wire.truth()
    for port, server in enumerate(servers, 5000):
        with server:
            wire.run("a", "udp_requests", B, str(port), "10", "unconnected")
    time.sleep(0.1)
    truth, drained = wire.truth(), capture.drain()
    capture.detach()
    assert len(drained) == 4
    [over] = drained.overflows()
    assert over.cgroup == wire.cgroup.stat().st_ino
    rest = total(drained)
    assert (
        over.transmitted_bytes + rest[0],
        over.transmitted_packets + rest[1],
        over.received_bytes + rest[2],
        over.received_packets + rest[3],
    ) == (*truth["a4"], *truth["b4"])
    assert over.transmitted_packets == 80
    assert drained.lost.transmitted_bytes == 0


def test_a_link_whose_cgroup_is_gone_is_replaced(wire, spool, bpffs):
    gone = wire.cgroup / "gone"
    gone.mkdir()
    Capture.attach(gone, spool, pins=bpffs / "flowcost", settings=SMALL).close()
    gone.rmdir()
    capture = Capture.attach(wire.cgroup, spool, pins=bpffs / "flowcost", settings=SMALL)
    wire.truth()
    with wire.serve("b", "udp_server", B, "5000"):
        wire.run("a", "udp_requests", B, "5000", "5")
    truth = wire.truth()
    assert total(capture.drain()) == (*truth["a4"], *truth["b4"])
    capture.detach()


def test_pins_off_a_bpffs_are_refused_with_the_way_out(wire, spool, tmp_path):
    with pytest.raises(NotSupportedError, match="mount -t bpf"):
        Capture.attach(wire.cgroup, spool, pins=tmp_path / "pins")


def test_pins_below_a_directory_that_is_not_there_are_refused_by_name(wire, spool, bpffs):
    with pytest.raises(NotPermittedError, match="deeper"):
        Capture.attach(wire.cgroup, spool, pins=bpffs / "deeper" / "flowcost")


def test_a_spool_that_cannot_be_written_leaves_the_counters_in_the_kernel(
    wire, capture, monkeypatch
):
    with wire.serve("b", "udp_server", B, "5000"):
        wire.truth()
        wire.run("a", "udp_requests", B, "5000", "5")

        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", full)
            for _ in range(3):
                with pytest.raises(NotPermittedError, match="No space"):
                    capture.drain()
        wire.run("a", "udp_requests", B, "5000", "5")
    truth = wire.truth()
    sums = [total(capture.drain()) for _ in range(2)]
    assert tuple(map(sum, zip(*sums, strict=True))) == (*truth["a4"], *truth["b4"])
