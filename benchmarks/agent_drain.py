"""What reading costs: CPU time of a drain, and the memory of the process that does it.

Needs root and a kernel that may load BPF. The keys are written into the kernel's map by hand; no
traffic is made. Memory is the resident set of a fresh process, the kernel's maps apart.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flowcost.agent import bpf_syscall as bpf
from flowcost.agent import host
from flowcost.agent.capture import Capture
from flowcost.agent.drained import COUNTERS, KEY4
from flowcost.agent.initiators import Initiators
from flowcost.agent.spool import Spool


def resident(field: str) -> float:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(rf"^{field}:\s+(\d+)", text, re.MULTILINE)[1]) / 1024


def fill(capture: Capture, rows: int) -> None:
    """Write rows into the map the programs count into, as the next flip will find them."""
    maps = capture._generation.maps  # noqa: SLF001 - stands in for traffic
    (active,) = struct.unpack("<I", bpf.map_lookup(maps["flows4"], bytes(4), 4))
    name = next(n for n in ("flows4_a", "flows4_b") if bpf.map_info(maps[n]).id == active)
    counters = COUNTERS.pack(1_000_000, 700, 50_000, 690, 1, 0)
    for row in range(rows):
        remote = struct.pack(">I", 0x0A000000 + row)
        bpf.map_update(
            maps[name], KEY4.pack(7, b"\x0a\x01\x00\x01", remote, 0, 443, 6, 0, 0), counters
        )


def measure(options: argparse.Namespace) -> None:
    root, _ = host.cgroup_root(host.mounts())
    cgroup = root / f"fcd{os.getpid()}"
    cgroup.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        spool = Spool(Path(scratch))
        capture = Capture.attach(cgroup, spool, pins=None)
        try:
            for _ in range(3):
                capture.drain()
            kernel = capture.kernel_bytes() / 2**20
            print(f"idle: {resident('VmRSS'):.1f} MiB; kernel maps {kernel:.1f} MiB")
            empty = [spent(capture.drain)[1] for _ in range(20)]
            print(f"empty drain: {statistics.median(empty) * 1000:.2f} ms CPU")
            if not options.keys:
                return
            times, decode = [], []
            for _ in range(options.rounds):
                fill(capture, options.keys)
                drained, cpu = spent(capture.drain)
                assert len(drained) == options.keys
                times.append(cpu)
                roles = Initiators()
                decode.append(spent(lambda d=drained, r=roles: sum(f.bytes for f in d.flows(r)))[1])
                for path, _ in spool.pending():
                    spool.remove(path)
            print(f"drain of {options.keys} keys: {statistics.median(times) * 1000:.0f} ms CPU")
            print(f"as flows, one by one: {statistics.median(decode) * 1000:.0f} ms CPU")
            print(
                f"resident then: {resident('VmRSS'):.1f} MiB, at most {resident('VmHWM'):.1f} MiB"
            )
        finally:
            capture.detach()
            cgroup.rmdir()


def spent(action):
    start = time.process_time()
    result = action()
    return result, time.process_time() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        measure(options)
    else:
        # A fresh process: nothing but the agent's own imports is in its memory.
        again = [sys.executable, "-m", "benchmarks.agent_drain", "--inside", *sys.argv[1:]]
        subprocess.run(again, check=True)
