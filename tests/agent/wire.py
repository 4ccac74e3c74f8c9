"""Three network namespaces in a row, a - r - b, and a cgroup: r counts what the wire carries.

The interfaces of a and b segment in software (no TSO), so r sees wire packets while the sockets
see super-packets. Everything carries this process's id in its name and is removed at the end;
what a killed run left behind is removed by the next one.
"""

import contextlib
import ctypes
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from flowcost.agent import host

HERE = Path(__file__).parent
A, B = "192.0.2.2", "198.51.100.2"
A6, B6 = "fd00:a::2", "fd00:b::2"

RULES = """
table inet truth {
  counter a4 {}
  counter b4 {}
  counter a6 {}
  counter b6 {}
  chain forward {
    type filter hook forward priority 0;
    ip saddr 192.0.2.2 counter name a4
    ip saddr 198.51.100.2 counter name b4
    ip6 saddr fd00:a::2 counter name a6
    ip6 saddr fd00:b::2 counter name b6
  }
  chain loss {
    type filter hook postrouting priority 300;
  }
}
"""


def sh(*words, stdin=None):
    done = subprocess.run(words, input=stdin, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr}")
    return done.stdout


def sweep():
    """Remove namespaces and cgroups of processes that are gone."""
    for line in sh("ip", "netns", "list").splitlines():
        name = line.split()[0]
        found = re.fullmatch(r"fck(\d+)-[arb]", name)
        if found and not Path(f"/proc/{found[1]}").exists():
            subprocess.run(["ip", "netns", "del", name], check=False)
    root, _ = host.cgroup_root(host.mounts())
    for path in root.glob("fck*"):
        if not Path(f"/proc/{path.name[3:]}").exists():
            for child in (*path.iterdir(), path):
                if child.is_dir():
                    child.rmdir()


class Wire:
    """Use as a context manager; `cgroup` is where `run` and `start` put the processes of a."""

    def __init__(self, mtu=1500):
        self.mtu = mtu
        self.pid = os.getpid()
        self.processes = []

    def name(self, end):
        return f"fck{self.pid}-{end}"

    def __enter__(self):
        sweep()
        for end in "arb":
            sh("ip", "netns", "add", self.name(end))
            self.ip(end, "link", "set", "lo", "up")
            # A link-local address under probation asks no neighbour: the first answers would wait
            # in the router for a second, behind its counters.
            for which in ("all", "default"):
                self.exec(end, "sysctl", "-qw", f"net.ipv6.conf.{which}.accept_dad=0")
        for end, four, six in (("a", "192.0.2", "fd00:a::"), ("b", "198.51.100", "fd00:b::")):
            sh(
                *f"ip -n {self.name(end)} link add eth0 mtu {self.mtu} type veth".split(),
                *f"peer name to-{end} mtu {self.mtu} netns {self.name('r')}".split(),
            )
            for where, device, host_part in ((end, "eth0", 2), ("r", f"to-{end}", 1)):
                self.ip(where, "addr", "add", f"{four}.{host_part}/24", "dev", device)
                self.ip(where, "addr", "add", f"{six}{host_part}/64", "dev", device, "nodad")
                self.ip(where, "link", "set", device, "up")
                off = ["tso", "off", "tx-udp-segmentation", "off"]
                self.exec(where, "ethtool", "-K", device, *off)
            self.ip(end, "route", "add", "default", "via", f"{four}.1")
            self.ip(end, "-6", "route", "add", "default", "via", f"{six}1")
        self.exec("r", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.exec("r", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        self.exec("r", "nft", "-f", "-", stdin=RULES)
        root, _ = host.cgroup_root(host.mounts())
        self.cgroup = root / f"fck{self.pid}"
        self.cgroup.mkdir()
        return self

    def __exit__(self, *_):
        for process in list(self.processes):
            self.stop(process)
        for end in "arb":
            sh("ip", "netns", "del", self.name(end))
        for _ in range(50):
            try:
                self.cgroup.rmdir()
            except OSError:
                time.sleep(0.02)
            else:
                break

    def ip(self, end, *words):
        return sh("ip", "-n", self.name(end), *words)

    def exec(self, end, *words, stdin=None):
        return sh("ip", "netns", "exec", self.name(end), *words, stdin=stdin)

    @contextlib.contextmanager
    def losing(self, per_mille):
        """Drop packets, behind the counters, while the block runs."""
        rule = f"numgen random mod 1000 < {per_mille} drop"
        self.exec("r", "nft", "add", "rule", "inet", "truth", "loss", *rule.split())
        try:
            yield
        finally:
            self.exec("r", "nft", "flush", "chain", "inet", "truth", "loss")

    def start(self, end, *words, program=(sys.executable, "-I", HERE / "traffic.py")):
        """Start the traffic program; in a it runs inside the cgroup."""

        def enter():
            if end == "a":
                (self.cgroup / "cgroup.procs").write_text("0")

        process = subprocess.Popen(
            ["ip", "netns", "exec", self.name(end), *program, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=enter,  # noqa: PLW1509
        )
        self.processes.append(process)
        return process

    def stop(self, process):
        process.kill()
        process.wait()
        process.stdout.close()
        self.processes.remove(process)

    @contextlib.contextmanager
    def serve(self, end, *words, **how):
        """Run a server while the block runs."""
        process = self.start(end, *words, **how)
        try:
            assert process.stdout.readline().strip() == "ready", words
            yield process
        finally:
            self.stop(process)

    def wait(self, process):
        """Wait for a traffic program to end well."""
        out, _ = process.communicate(timeout=60)
        self.processes.remove(process)
        assert process.returncode == 0, process.args
        return out

    def run(self, end, *words):
        return self.wait(self.start(end, *words))

    def truth(self):
        """Return and reset (bytes, packets) by counter, once quiet: a4, b4, a6, b6."""
        total = self.counters()
        for _ in range(40):  # a crowded machine may be late with the last packets
            more = self.counters()
            if not any(packets for _, packets in more.values()):
                break
            total = {
                name: (size + more[name][0], packets + more[name][1])
                for name, (size, packets) in total.items()
            }
        return total

    def counters(self):
        """Return and reset the counters as they stand."""
        time.sleep(0.05)
        data = json.loads(
            self.exec("r", "nft", "-j", "reset", "counters", "table", "inet", "truth")
        )
        return {
            item["counter"]["name"]: (item["counter"]["bytes"], item["counter"]["packets"])
            for item in data["nftables"]
            if "counter" in item
        }


def mount_bpffs(point):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bpf", str(point).encode(), b"bpf", 0, None):
        raise OSError(ctypes.get_errno(), "mount")


def unmount(point):
    ctypes.CDLL(None).umount2(str(point).encode(), 2)
