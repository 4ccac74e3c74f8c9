"""The server under a fleet: acknowledging, keeping up, memory, and a burst.

    python -m benchmarks.server [--minutes 10] [--agents 500] [--records 2000] [--burst 10]

`flowcost serve` runs as a process of its own. Simulated agents hold a connection each and post a
segment every `--interval` seconds, as the real poster does: deflated, one at a time. An agent's
records are `--records` conversations of its own, each posted once a minute, so that an hour's
ledger grows to agents x records rows (at the default a million) and then only in bytes.

Freshness is how long acknowledged bytes are not in the ledger, looked at every five seconds; in
the end the ledger's sum is compared with what was acknowledged. The burst posts segments that were
encoded beforehand, as fast as they are taken. The same records are then written raw to Parquet
(zstd), in one thread, by tables of what the fleet posts in one interval; making the tables is not
counted.

The generator shares the machine with the server; the table says what it used.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import replace

from flowcost import segment
from flowcost.model import Direction, EndKind, Identity, Initiator
from flowcost.segment import Flow, SeenPod, Segment
from flowcost.sources import segments
from flowcost.sources.segments import Received

PODS = 30  # of a node


class Agent:
    """One node's agent: its pods, its conversations, and what it posts next."""

    def __init__(self, number: int, words: argparse.Namespace) -> None:
        self.number = number
        self.sequence = 0
        chance = random.Random(number)
        node = f"node-{number:04}"
        identity = Identity(
            kind=EndKind.COMPUTE,
            cloud_provider="aws",
            cloud_account_id="111111111111",
            cloud_region="us-east-1",
            cloud_availability_zone=f"use1-az{1 + number % 3}",
            cloud_vpc_id="vpc-1",
            k8s_cluster_name="prod",
            k8s_node_name=node,
        )
        pods = [pod(number, place) for place in range(PODS)]
        rows = [self._row(chance, words.agents) for _ in range(words.records)]
        posts = max(1, round(60 / words.interval))  # in a minute: each record is in one of them
        self.parts = []
        for post in range(posts):
            flows = segment.pack(rows[post::posts])
            self.parts.append(
                Segment(
                    cluster="prod",
                    node=node,
                    boot=f"boot-{number}",
                    epoch=1,
                    sequence=0,
                    window_start=0,
                    window_end=1,
                    node_identity=identity,
                    pods=tuple(pods),
                    flows=flows,
                )
            )

    def _row(self, chance: random.Random, agents: int) -> Flow:
        place, far, peer = (chance.randrange(limit) for limit in (PODS, agents, PODS))
        return Flow(
            local_uid=uid(self.number, place),
            local_address=address(self.number, place),
            remote_address=address(far, peer),
            remote_port=8080,
            transport=6,
            direction=chance.choice(list(Direction)),
            initiator=chance.choice(list(Initiator)),
            bytes=chance.randrange(100, 1_000_000),
            packets=chance.randrange(1, 900),
        )

    def next(self, now: float, seconds: float) -> Segment:
        """Return the segment of the window that ends now; an hour's edge cuts it."""
        self.sequence += 1
        end = int(now * 1e6)
        start = max(end - int(seconds * 1e6), (end - 1) // segment.HOUR_US * segment.HOUR_US)
        part = self.parts[self.sequence % len(self.parts)]
        return replace(part, sequence=self.sequence, window_start=start, window_end=end)


def uid(node: int, place: int) -> str:
    return f"{node:08x}-0000-4000-8000-{place:012x}"


def address(node: int, place: int) -> bytes:
    return bytes(10) + b"\xff\xff" + bytes((10, node // 250, node % 250, place + 1))


def pod(node: int, place: int) -> SeenPod:
    workload = f"workload-{(node * PODS + place) % 700}"
    return SeenPod(
        uid=uid(node, place),
        namespace=f"ns-{place}",
        name=f"{workload}-{node}-{place}",
        workload_kind="Deployment",
        workload_name=workload,
        owner_team=f"team-{place % 9}",
    )


class Server:
    """`flowcost serve` as a process, as proc(5) shows it."""

    def __init__(self, ledger: Path) -> None:
        command = [sys.executable, "-m", "flowcost", "serve", "--ledger", str(ledger)]
        self.process = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True
        )
        self.port, self.began = 0, time.monotonic()
        for line in self.process.stderr or ():
            found = re.search(r"serving on http://127.0.0.1:(\d+)", line)
            if found:
                self.port = int(found[1])
                break
        self._rest = threading.Thread(target=self._say, daemon=True)
        self._rest.start()

    def _say(self) -> None:
        for line in self.process.stderr or ():
            print("server:", line, end="", file=sys.stderr)

    def cpu(self) -> float:
        """Return the CPU seconds used so far."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def mebibytes(self, name: str) -> float:
        """Return VmRSS or VmHWM."""
        lines = self._proc("status").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self.process.pid}/{name}").read_text()

    def health(self) -> dict:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/health", timeout=60) as found:
            return json.load(found)

    def behind(self) -> float:
        """Return for how many seconds the newest window in the ledger has ended."""
        until = self.health()["posted_until"]
        if until is None:
            return time.monotonic() - self.began
        return (datetime.now(UTC) - datetime.fromisoformat(until)).total_seconds()

    def settle(self) -> None:
        """Wait until nothing waits for the ledger."""
        while self.health()["waiting"]:
            time.sleep(0.5)

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


class Connection:
    """One HTTP/1.1 connection that is kept open."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader = self.writer = None

    async def post(self, body: bytes) -> int:
        """Post a deflated body; return the status."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(
            b"POST /v1/segments HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-encoding: deflate\r\n"
            b"content-type: %s\r\ncontent-length: %d\r\n\r\n"
            % (segment.CONTENT_TYPE.encode(), len(body))
        )
        self.writer.write(body)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        await self.reader.readexactly(int(length[1]) if length else 0)
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


class Load:
    """The fleet at its steady pace."""

    def __init__(self, port: int, words: argparse.Namespace) -> None:
        self.words, self.port = words, port
        self.agents = [Agent(number, words) for number in range(words.agents)]
        self.took: list[float] = []
        self.records = self.turned_away = self.bytes = 0

    async def run(self) -> None:
        end = time.monotonic() + self.words.minutes * 60
        await asyncio.gather(*(self._agent(agent, end) for agent in self.agents))

    async def _agent(self, agent: Agent, end: float) -> None:
        connection = Connection(self.port)
        interval = self.words.interval
        due = time.monotonic() + interval * agent.number / len(self.agents)
        while due < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            one = agent.next(time.time(), interval)
            body = segment.deflate(segment.encode(one))
            while True:
                started = time.monotonic()
                status = await connection.post(body)
                if status == 200:
                    break
                self.turned_away += 1
                await asyncio.sleep(1)
            self.took.append(time.monotonic() - started)
            self.records += len(one.flows)
            self.bytes += sum(memoryview(one.flows.bytes).cast("Q"))
            due = max(due + interval, time.monotonic() - interval)
        connection.close()


async def burst(
    port: int, bodies: list[tuple[bytes, int, int]], connections: int
) -> tuple[int, float]:
    """Post bodies as fast as they are taken; return records acknowledged, and seconds."""
    waiting = iter(bodies)
    taken = 0

    async def one() -> None:
        nonlocal taken
        connection = Connection(port)
        for body, rows, _ in waiting:
            while await connection.post(body) != 200:
                await asyncio.sleep(0.05)
            taken += rows
        connection.close()

    started = time.monotonic()
    await asyncio.gather(*(one() for _ in range(connections)))
    return taken, time.monotonic() - started


def burst_bodies(words: argparse.Namespace) -> list[tuple[bytes, int, int]]:
    """Return segments of a minute's records each, encoded as they are posted."""
    fuller = argparse.Namespace(agents=words.agents, records=words.records, interval=60)
    made = []
    agents = [Agent(number, fuller) for number in range(min(words.agents, 20))]
    for agent in agents:
        agent.sequence = 10_000_000
    while sum(rows for _, rows, _ in made) < words.burst * 120_000:
        for agent in agents:
            one = agent.next(time.time(), 60)
            size = sum(memoryview(one.flows.bytes).cast("Q"))
            made.append((segment.deflate(segment.encode(one)), len(one.flows), size))
    return made


def raw(folder: Path, words: argparse.Namespace, records: int) -> float:
    """Return the CPU seconds of writing as many of the same records raw to Parquet."""
    agents = [Agent(number, words) for number in range(words.agents)]
    spent, written, number = 0.0, 0, 0
    pa.set_cpu_count(1)
    while written < records:
        received = [
            Received("default", "prod", agent.next(time.time(), words.interval), b"")
            for agent in agents
        ]
        table = segments.flows(received)
        started = time.process_time()
        pq.write_table(table, folder / f"raw-{number}.parquet", compression="zstd")
        spent += time.process_time() - started
        written += table.num_rows
        number += 1
    return spent * records / written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--records", type=int, default=2000, help="of an agent in a minute")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--interval", type=float, default=5, help="seconds between two posts")
    parser.add_argument("--burst", type=float, default=10, help="times 120,000 records")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flowcost-bench-") as folder:
        measure(Path(folder), words)


def measure(folder: Path, words: argparse.Namespace) -> None:
    server = Server(folder / "ledger")
    try:
        _measure(server, folder, words)
    finally:
        server.end()


def _measure(server: Server, folder: Path, words: argparse.Namespace) -> None:
    samples: list[tuple[float, float, float, float]] = []
    done = threading.Event()

    def watch() -> None:
        started = time.monotonic()
        while not done.wait(5):
            behind, memory = server.behind(), server.mebibytes("VmRSS")
            samples.append((time.monotonic() - started, behind, memory, os.getloadavg()[0]))

    load = Load(server.port, words)
    before, own = server.cpu(), time.process_time()
    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    asyncio.run(load.run())
    seconds = time.monotonic() - began
    cpu, own = server.cpu() - before, time.process_time() - own
    done.set()
    watcher.join()
    settle = time.monotonic()
    server.settle()
    settle = time.monotonic() - settle
    booked = compared(server, load.bytes)
    disk = [mebibytes(folder / "ledger" / one) for one in (".serve", ".run", "tenant=default")]
    bodies = burst_bodies(words)
    taken, spent = asyncio.run(burst(server.port, bodies, 16))
    peak = server.mebibytes("VmHWM")
    server.settle()
    booked += ", " + compared(server, load.bytes + sum(size for _, _, size in bodies))
    writing = raw(folder, words, min(load.records, 1_000_000)) * max(1, load.records / 1_000_000)
    table(words, load, samples, {
        "seconds": seconds, "cpu": cpu, "own": own, "settle": settle, "peak": peak,
        "burst": taken / spent, "raw": writing, "booked": booked,
        "disk": ", ".join(f"{size:.0f}" for size in disk),
    })  # fmt: skip


def mebibytes(folder: Path) -> float:
    """Return what lies in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / (1 << 20)


def compared(server: Server, acknowledged: int) -> str:
    """Return how many bytes the ledger holds, beside what was acknowledged."""
    url = f"http://127.0.0.1:{server.port}/v1/costs?by=direction"
    with urllib.request.urlopen(url, timeout=120) as found:
        rows = json.load(found)["rows"]
    held = sum(row["bytes"] for row in rows)
    return "all" if held == acknowledged else f"{held} bytes of {acknowledged}"


def table(words: argparse.Namespace, load: Load, samples: list, figures: dict) -> None:
    cuts = quantiles(load.took, n=1000, method="inclusive") if len(load.took) > 1 else [0] * 999
    behind = [one[1] for one in samples] or [0]
    tail = [one[1] for one in samples[-12:]] or [0]
    memory = [one[2] for one in samples] or [0]
    first, last = memory[: max(1, len(memory) // 4)], memory[-max(1, len(memory) // 4) :]
    sent = load.records / figures["seconds"]
    rows = [
        ("load average of the machine, median (two cores: 2 is full)",
         f"{median(one[3] for one in samples or [(0, 0, 0, 0)]):.1f}", ""),
        ("agents x records a minute, for minutes",
         f"{words.agents} x {words.records}, {words.minutes}", "500 x 2000, 10"),
        ("records acknowledged", f"{load.records:,} ({sent:,.0f} a second)",
         f"{words.agents * words.records / 60:,.0f} a second"),
        ("segments acknowledged, told to wait", f"{len(load.took):,}, {load.turned_away:,}", ""),
        ("acknowledge p50, p99, p99.9, most (ms)",
         ", ".join(f"{1000 * one:.1f}"
                   for one in (cuts[499], cuts[989], cuts[998], max(load.took))), "p99 < 1000"),
        ("ledger behind, median, most (s)", f"{median(behind):.1f}, {max(behind):.1f}", "<= 30"),
        ("ledger behind, last minute, most (s)", f"{max(tail):.1f}", "<= 30"),
        ("after the load, until all was booked (s)", f"{figures['settle']:.1f}", ""),
        ("booked of what was acknowledged: load, with burst", figures["booked"], "all, all"),
        ("memory, first and last quarter, most (MiB)",
         f"{median(first):.0f}, {median(last):.0f}, {figures['peak']:.0f}", "bounded"),
        ("disk before the burst: inbox, as posted, ledger (MiB)", figures["disk"], ""),
        ("CPU of the server, of the generator (cores)",
         ", ".join(f"{figures[one] / figures['seconds']:.2f}" for one in ("cpu", "own")), ""),
        ("CPU of the server / raw Parquet of the same records",
         f"{figures['cpu'] / figures['raw']:.2f}", "reported"),
        ("burst acknowledged (records a second)", f"{figures['burst']:,.0f}", ">= 100,000"),
    ]  # fmt: skip
    rows.insert(0, ("", "measured", "target"))
    first_width, second_width = (max(len(row[place]) for row in rows) for place in (0, 1))
    for name, value, target in rows:
        print(f"{name:<{first_width}}  {value:<{second_width}}  {target}".rstrip())


if __name__ == "__main__":
    main()
