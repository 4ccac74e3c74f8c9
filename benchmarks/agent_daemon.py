"""What the agent's process costs: memory and CPU at rest, and a drain of many connections.

    python -m benchmarks.agent_daemon [--keys 100000] [--rest 30]

Needs root and a kernel that may load BPF. `flowcost agent` runs as a process of its own on a node
of the lab, at its default interval. Two pods then open `keys` connections to a Service, each a row
in the kernel's map and an entry in conntrack, and send once on each. The figures are of the
agent's process alone (proc(5)); kernel maps are counted apart.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from flowcost.lab import objects
from flowcost.lab.cluster import Cluster
from flowcost.lab.plan import shop

FIRST_PORT = 1025
MNT_DETACH = 2


@contextlib.contextmanager
def bpffs(directory: Path) -> Iterator[Path]:
    """Mount a bpffs of our own."""
    directory.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bpf", os.fsencode(directory), b"bpf", 0, None):
        raise OSError(ctypes.get_errno(), "mount")
    try:
        yield directory
    finally:
        libc.umount2(os.fsencode(directory), MNT_DETACH)


class Process:
    """The agent's process as proc(5) shows it."""

    def __init__(self, pid: int) -> None:
        self._at = Path(f"/proc/{pid}")

    def cpu(self) -> float:
        """Return the CPU seconds used so far."""
        fields = (self._at / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def mebibytes(self, name: str) -> float:
        """Return VmRSS or VmHWM."""
        lines = (self._at / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


@contextlib.contextmanager
def agent(cluster: Cluster, directory: Path, pins: Path) -> Iterator[Process]:
    """Run `flowcost agent` on the first node."""
    node = cluster.plan.nodes[0]
    space, where = cluster.namespaces[node.name], objects.place(node)
    world = directory / "world"
    world.mkdir()
    objects.write(cluster.plan, world)
    running = subprocess.Popen(
        (
            *("nsenter", f"--net={space.path}", sys.executable, "-m", "flowcost", "agent"),
            *("--node", node.name, "--kubernetes", str(world), "--provider", "aws"),
            *("--region", where.region, "--zone-id", where.zone_id, "--vpc", where.vpc),
            *("--spool", str(directory / "spool"), "--pins", str(pins / "flowcost")),
            *("--cgroup", str(cluster.node_roots[node.name]), "--listen", "127.0.0.1:9990"),
        ),
        pass_fds=(space.fd,),
    )
    try:
        yield Process(running.pid)
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(20)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rest", type=int, default=30)
    options = parser.parse_args()
    with contextlib.ExitStack() as held:
        directory = Path(held.enter_context(tempfile.TemporaryDirectory()))
        pins = held.enter_context(bpffs(directory / "bpf"))
        cluster = held.enter_context(Cluster(shop()))
        for name in ("checkout-0", "checkout-1"):
            cluster.pods[name].call("serve_udp", port=8443, silent=True)
        process = held.enter_context(agent(cluster, directory, pins))
        time.sleep(6)
        before = process.cpu()
        time.sleep(options.rest)
        share = (process.cpu() - before) / options.rest
        print(f"at rest: {process.mebibytes('VmRSS'):.1f} MiB resident, {share:.2%} of a core")
        before = process.cpu()
        host = cluster.plan.service("checkout").v4
        half = options.keys // 2
        pods = [cluster.pods[name] for name in ("cart-0", "batch-0")]
        for pod in pods:
            pod.start("spray", host=host, port=443, first=FIRST_PORT, last=FIRST_PORT + half)
        for pod in pods:
            pod.finish()
        time.sleep(12)
        used = process.cpu() - before
        most, after = process.mebibytes("VmHWM"), process.mebibytes("VmRSS")
        print(f"{2 * half} connections to a Service: {used:.2f} s of CPU for everything, ", end="")
        print(f"{most:.1f} MiB at most, {after:.1f} MiB after")


if __name__ == "__main__":
    main()
