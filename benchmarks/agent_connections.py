"""What the agent's process costs while pods open connections, by the connection.

    python -m benchmarks.agent_connections [--rate 10000] [--seconds 20] [--rounds 5]

Needs root, a kernel that may load BPF, and cc. `flowcost agent` runs on a node of the lab at its
default interval; two of its pods open `rate` TCP connections a second together, each with one
request and one answer: to a pod in the other zone, or to a Service. A connection to a Service is a
row of its own in the kernel's map and a question to conntrack, one to a pod shares a row.

The connection table keeps a closed connection for 5 seconds here instead of 120: at this rate it
would overflow. CPU is the agent process's alone (proc(5)), also given for `rate` connections a
second where the machine made fewer.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.agent_daemon import Process, agent, bpffs
from flowcost.lab.cluster import Cluster, RunningPod
from flowcost.lab.plan import shop

HERE = Path(__file__).parent
CLIENTS, SERVERS = ("cart-0", "batch-0"), ("checkout-0", "checkout-1")
CLONE_NEWNET = 0x40000000
PORT = 8080


def start(cluster: Cluster, pod: RunningPod, *words: str) -> subprocess.Popen[str]:
    """Start a program inside a pod: its cgroup first, then its network."""
    space = cluster.namespaces[pod.pod.name]

    def enter() -> None:
        (pod.cgroup / "cgroup.procs").write_text("0")
        if ctypes.CDLL(None).setns(space.fd, CLONE_NEWNET):
            raise OSError("setns")

    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=enter,  # noqa: PLW1509 - no threads run here
        pass_fds=(space.fd,),
    )


def widen() -> None:
    """Let a pod use nearly all its ports: one drain's connections to one Service fit."""
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("1024 65535")


def burst(
    cluster: Cluster,
    traffic: str,
    process: Process,
    target: tuple[str, int],
    seconds: int,
    rate: int,
) -> tuple[float, float]:
    """Return (connections a second, CPU seconds of the agent per connection)."""
    before, began = process.cpu(), time.monotonic()
    words = (traffic, "crr", target[0], str(target[1]), str(seconds), str(rate // len(CLIENTS)))
    clients = [start(cluster, cluster.pods[name], *words) for name in CLIENTS]
    made = sum(int(client.communicate(timeout=seconds + 60)[0]) for client in clients)
    took = time.monotonic() - began
    time.sleep(6)  # the drain that holds the end of it
    return made / took, (process.cpu() - before) / made


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with contextlib.ExitStack() as held:
        directory = Path(held.enter_context(tempfile.TemporaryDirectory()))
        traffic = str(directory / "traffic")
        subprocess.run(("cc", "-O2", "-o", traffic, HERE / "agent_traffic.c"), check=True)
        pins = held.enter_context(bpffs(directory / "bpf"))
        cluster = held.enter_context(Cluster(shop()))
        for node in cluster.plan.nodes:
            cluster.namespaces[node.name].sysctl(
                {"netfilter.nf_conntrack_tcp_timeout_time_wait": 5}
            )
        for name in (*CLIENTS, *SERVERS):
            cluster.namespaces[name].sysctl({"ipv4.tcp_tw_reuse": 1})
            cluster.namespaces[name].call(widen)
        for name in SERVERS:
            server = start(cluster, cluster.pods[name], traffic, "server", str(PORT))
            held.callback(server.communicate)
            held.callback(server.kill)
            assert server.stdout
            server.stdout.readline()
        process = held.enter_context(agent(cluster, directory, pins))
        time.sleep(6)
        service = cluster.plan.service("checkout")
        targets = {"a Service": (service.v4, 80), "a pod": (service.backends[0].v4, PORT)}
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in targets}
        for _ in range(options.rounds):
            for name, target in targets.items():
                found[name].append(
                    burst(cluster, traffic, process, target, options.seconds, options.rate)
                )
        for name, runs in found.items():
            rate = statistics.median(run[0] for run in runs)
            each = statistics.median(run[1] for run in runs)
            print(
                f"to {name}: {rate:.0f} connections/s, {each * 1e6:.2f} us of CPU each, "
                f"{each * options.rate:.1%} of a core at {options.rate}/s"
            )
        print(f"load {os.getloadavg()[0]:.1f}; {process.mebibytes('VmHWM'):.0f} MiB at most")


if __name__ == "__main__":
    main()
