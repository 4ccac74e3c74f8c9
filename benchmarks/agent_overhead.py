"""What counting costs: throughput as a ratio to none, and kernel time per packet.

Needs root, a kernel that may load BPF, clang and cc. Four namespaces in a row, pod a - node 1 -
node 2 - pod b, and all processes on one CPU: the worst case, as each transaction pays both ends.
Every round runs all variants in random order, so that drift of the machine hits all alike.

    none        nothing attached
    empty       cgroup_skb programs that only pass
    flowcost    the shipped programs, after a drain: what goes on has its own place
    cold        the same before the first drain: every flow is searched for
    confined    as flowcost, loaded without CAP_PERFMON: the kernel adds speculation barriers
    tc pods     a TC program on the two pod interfaces, both directions
    tc all      the same on all interfaces of both nodes
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import random
import statistics
import struct
import subprocess
import tempfile
import threading
from pathlib import Path

from flowcost.agent import bpf_syscall as bpf
from flowcost.agent import host, loader
from flowcost.agent.drained import COUNTERS, KEY4, Table
from flowcost.agent.elf import Object
from flowcost.agent.hot import Places, busiest
from flowcost.agent.programs import ATTACH, Settings, attach_links, load_programs

HERE = Path(__file__).parent
CPU = max(os.sched_getaffinity(0))
KINDS = {"TCP_RR": "rr", "TCP_CRR": "crr", "UDP_RR": "urr", "bulk": "bulk"}
TCX = {"ingress": 46, "egress": 47}
SCHED_CLS = 3
PASS = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 1, 0x95, 0, 0, 0)  # r0 = 1; exit
NAMES = ("a", "n1", "n2", "b")


def sh(*words: str) -> str:
    return subprocess.run(words, check=True, text=True, capture_output=True).stdout


def netns(end: str) -> str:
    return f"fcb{os.getpid()}-{end}"


def build(directory: Path) -> tuple[Path, Object]:
    traffic = directory / "traffic"
    sh("cc", "-O2", "-o", str(traffic), str(HERE / "agent_traffic.c"))
    clang = next(c for c in ("clang-14", "clang") if not os.system(f"command -v {c} >/dev/null"))
    tc = directory / "tc.o"
    flags = ["-target", "bpfel", "-mcpu=v3", "-O2", "-nostdinc", "-ffreestanding", "-c"]
    sh(clang, *flags, str(HERE / "agent_tc.bpf.c"), "-o", str(tc))
    return traffic, Object(tc.read_bytes(), str(tc))


@contextlib.contextmanager
def network():
    """Lay the four namespaces; yield each interface TC could sit on, as (namespace, name)."""
    try:
        for end in NAMES:
            sh("ip", "netns", "add", netns(end))
            sh("ip", "-n", netns(end), "link", "set", "lo", "up")
        for left, right, number in (("a", "n1", 1), ("n1", "n2", 2), ("n2", "b", 3)):
            sh(
                *f"ip -n {netns(left)} link add to-{right} type veth peer to-{left}".split(),
                *f"netns {netns(right)}".split(),
            )
            for where, other, last in ((left, right, 1), (right, left, 2)):
                ip = ("ip", "-n", netns(where))
                sh(*ip, "addr", "add", f"10.7.{number}.{last}/24", "dev", f"to-{other}")
                sh(*ip, "link", "set", f"to-{other}", "up")
        for end, via in (("a", "1.2"), ("n1", "2.2"), ("n2", "2.1"), ("b", "3.1")):
            sh("ip", "-n", netns(end), "route", "add", "default", "via", f"10.7.{via}")
            for setting in (
                "ip_forward=1",
                "tcp_tw_reuse=1",
                "tcp_max_tw_buckets=2048",
                "ip_local_port_range=32768 65535",
            ):
                sh("ip", "netns", "exec", netns(end), "sysctl", "-qw", f"net.ipv4.{setting}")
        yield [("n1", "to-a"), ("n2", "to-b"), ("n1", "to-n2"), ("n2", "to-n1")]
    finally:
        for end in NAMES:
            subprocess.run(["ip", "netns", "del", netns(end)], check=False)


def inside(end: str, action):
    """Do something in a namespace: a thread enters it and ends."""
    result: list = []

    def enter() -> None:
        with Path(f"/run/netns/{netns(end)}").open() as file:
            if ctypes.CDLL(None).setns(file.fileno(), 0x40000000):
                raise OSError("setns")
            result.append(action())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return result[0]


def effective(capabilities: int | None = None) -> int:
    """Return this thread's effective capabilities; set them first, if given."""
    libc = ctypes.CDLL(None, use_errno=True)
    head = struct.pack("<Ii", 0x20080522, 0)  # linux/capability.h: version 3, this thread
    data = ctypes.create_string_buffer(24)
    if libc.capget(head, data):
        raise OSError("capget")
    words = list(struct.unpack("<6I", data.raw))
    if capabilities is not None:
        words[0], words[3] = capabilities & 0xFFFFFFFF, capabilities >> 32
        if libc.capset(head, struct.pack("<6I", *words)):
            raise OSError("capset")
    return words[0] | words[3] << 32


class Variants:
    """Programs loaded once; `attached` links one variant's while a slice runs."""

    def __init__(self, cgroup: Path, interfaces: list, tc: Object, flow: Object) -> None:
        self.cgroup, self.interfaces = cgroup, interfaces
        settings = Settings()
        self.maps = loader.create_maps(settings.sized(loader.shapes(flow)))
        self.flowcost = load_programs(flow, self.maps, settings)
        self.cold_maps = loader.create_maps(settings.sized(loader.shapes(flow)))
        self.cold = load_programs(flow, self.cold_maps, settings)
        full = effective()
        effective(1 << host.CAPABILITIES["CAP_BPF"] | 1 << host.CAPABILITIES["CAP_NET_ADMIN"])
        self.confined = load_programs(flow, self.maps, settings)
        effective(full)
        self.empty = {
            name: bpf.program_load(
                bpf.CGROUP_SKB, PASS, attach_type=attach, name="empty", license_name="MIT"
            )
            for name, attach in ATTACH.items()
        }
        self.tc_maps = loader.create_maps(loader.shapes(tc))
        self.tc = {
            name: loader.load(tc, f"tcx/{name}", self.tc_maps, 0, kind=SCHED_CLS, attach=attach)
            for name, attach in TCX.items()
        }
        self.index = {
            (end, name): inside(end, lambda n=name: __import__("socket").if_nametoindex(n))
            for end, name in interfaces
        }

    @contextlib.contextmanager
    def attached(self, variant: str):
        links: list[int] = []
        if variant in ("empty", "flowcost", "cold", "confined"):
            links += attach_links(self.cgroup, getattr(self, variant), None).values()
        elif variant.startswith("tc"):
            for end, name in self.interfaces[: 2 if variant == "tc pods" else 4]:
                for direction, program in self.tc.items():
                    index = self.index[end, name]
                    links.append(
                        inside(
                            end,
                            lambda p=program, i=index, d=direction: bpf.link_create(p, i, TCX[d]),
                        )
                    )
        try:
            yield
        finally:
            for link in links:
                os.close(link)
            self.clear()

    def clear(self) -> None:
        keys, _ = bpf.map_read(self.tc_maps["flows"], 44, 32)
        bpf.map_delete(self.tc_maps["flows"], keys, 44)
        for maps in (self.maps, self.cold_maps):
            keys, _ = bpf.map_read(maps["flows4_a"], KEY4.size, COUNTERS.size)
            bpf.map_delete(maps["flows4_a"], keys, KEY4.size)

    def expect(self, traffic: Traffic, kinds: list[str]) -> None:
        """Do what a drain does after some seconds of this traffic."""
        with contextlib.ExitStack() as held:
            links = attach_links(self.cgroup, self.flowcost, None)
            held.callback(lambda: [os.close(link) for link in links.values()])
            for kind in kinds:
                traffic.run(KINDS[kind], 0.2)
        table = Table(*bpf.map_read(self.maps["flows4_a"], KEY4.size, COUNTERS.size))
        Places(self.maps["hot_a"]).give(busiest(table))

    def programs(self, variant: str) -> dict[str, int]:
        if variant.startswith("tc"):
            return self.tc
        return getattr(self, variant) if variant != "none" else {}


class Traffic:
    def __init__(self, program: Path, cgroup: Path, *, realtime: bool) -> None:
        self.program, self.cgroup, self.realtime = program, cgroup, realtime
        self.server = self.start("b", "server", "5001")
        assert self.server.stdout.readline() == "ready\n"

    def start(self, end: str, *words: str) -> subprocess.Popen:
        def place() -> None:
            (self.cgroup / "cgroup.procs").write_text("0")
            os.sched_setaffinity(0, {CPU})
            if self.realtime:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

        return subprocess.Popen(
            ["ip", "netns", "exec", netns(end), str(self.program), *words],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=place,  # noqa: PLW1509
        )

    def run(self, kind: str, seconds: float) -> float:
        out, _ = self.start("a", kind, "10.7.3.2", "5001", str(seconds)).communicate(timeout=30)
        return int(out) / seconds


def measure(options: argparse.Namespace) -> None:
    root, _ = host.cgroup_root(host.mounts())
    cgroup = root / f"fcb{os.getpid()}"
    cgroup.mkdir()
    names = options.variants.split(",")
    kinds = options.kinds.split(",")
    flow = (
        Object(options.object.read_bytes(), str(options.object))
        if options.object
        else loader.packaged_object()
    )
    with tempfile.TemporaryDirectory() as scratch, network() as interfaces:
        program, tc = build(Path(scratch))
        variants = Variants(cgroup, interfaces, tc, flow)
        traffic = Traffic(program, cgroup, realtime=options.realtime)
        try:
            variants.expect(traffic, kinds)
            if options.rounds:
                throughput(variants, traffic, names, kinds, options)
            if "empty" in names:  # what the kernel itself spends on a program is taken off
                kernel_time(variants, traffic, [n for n in names if n != "none"], kinds, options)
        finally:
            traffic.server.kill()
            traffic.server.wait()
    for _ in range(100):
        with contextlib.suppress(OSError):
            cgroup.rmdir()
            break


def throughput(variants, traffic, names, kinds, options) -> None:
    rates: dict = {(v, k): [] for v in names for k in kinds}
    for _ in range(options.rounds):
        for variant in random.sample(names, len(names)):
            with variants.attached(variant):
                for kind in kinds:
                    rates[variant, kind].append(traffic.run(KINDS[kind], options.seconds))
    print(f"throughput, ratio to none, {options.rounds} rounds of {options.seconds} s, p50 / p90")
    for kind in kinds:
        print(f"  {kind}: none {statistics.median(rates['none', kind]):.0f}/s")
        for variant in names[1:]:
            middle, high = (
                pick(rates[variant, kind]) / pick(rates["none", kind])
                for pick in (statistics.median, lambda r: statistics.quantiles(r, n=10)[-1])
            )
            print(f"    {variant:9} {middle:.3f} / {high:.3f}")


def kernel_time(variants, traffic, names, kinds, options) -> None:
    print("kernel time per run of a program, ns, egress / ingress, less the empty program's")
    times: dict = {}
    runs: dict = {}
    clock = bpf.enable_statistics()
    for _ in range(options.repeats):
        for variant in random.sample(names, len(names)):
            with variants.attached(variant):
                for kind in kinds:
                    before = {
                        n: bpf.program_statistics(p) for n, p in variants.programs(variant).items()
                    }
                    count = traffic.run(KINDS[kind], options.seconds)
                    for name, program in variants.programs(variant).items():
                        time, run, _ = bpf.program_statistics(program)
                        spent = (time - before[name][0]) / max(1, run - before[name][1])
                        times.setdefault((variant, kind, name), []).append(spent)
                        runs[variant, kind] = runs.get((variant, kind), 0) + (
                            run - before[name][1]
                        ) / (count * options.seconds)
    os.close(clock)
    for kind in kinds:
        for variant in names:
            cells = []
            for name in ("egress", "ingress"):
                raw = statistics.median(times[variant, kind, name])
                base = statistics.median(times["empty", kind, name])
                cells.append(f"{raw:.0f} ({raw - base:+.0f})")
            per = runs[variant, kind] / options.repeats
            print(f"  {kind:8} {variant:9} {' / '.join(cells)}, {per:.1f} runs a transaction")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.15)
    parser.add_argument("--variants", default="none,empty,flowcost,cold,confined,tc pods,tc all")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--realtime", action="store_true", help="on a machine that is not quiet")
    parser.add_argument("--object", type=Path, help="another flow.bpf.o to measure")
    measure(parser.parse_args())
