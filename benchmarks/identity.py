"""What watching a large cluster costs, and telling its agents: time, memory, bytes.

    python -m benchmarks.identity [--pods 50000] [--events 20000] [--rounds 5]

A small API server with realistic objects (five kilobytes a pod) runs in a process of its own. Each
round starts a fresh process for each side: the recorder, and a bare client that reads the same
pages and decodes all of their JSON. The agents' answers are then asked of the recorded cluster.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import http.client
import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from benchmarks import gen_cluster
from benchmarks.kubernetes_server import KubernetesServer
from flowcost import clock, identities
from flowcost.errors import BusyError
from flowcost.resolve import chronicle
from flowcost.resolve import recorded as recordings
from flowcost.resolve.inventory import Inventory
from flowcost.resolve.kubernetes_api import ApiServer
from flowcost.resolve.kubernetes_credentials import FileCredentials
from flowcost.resolve.kubernetes_facts import RESOURCES
from flowcost.resolve.kubernetes_recorder import Recorder
from flowcost.resolve.timeline import build
from flowcost.server.settings import Cluster
from flowcost.server.watching import Watching
from flowcost.views.service import NodeIdentities

NODES = 500


def serve(pods: int, pipe: Connection) -> None:
    """Serve a cluster until told to end; a number asks for so many changes."""
    server = KubernetesServer()
    server.bookmarks = 1.0
    gen_cluster.fill(server, pods)
    pipe.send(server.url)
    while (asked := pipe.recv()) is not None:
        bodies = list(gen_cluster.changes(pods, asked))
        began = time.monotonic()
        for body in bodies:
            server.put("pods", body)
        pipe.send((server.version, began))


def measured() -> dict[str, float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    own = Path("/proc/self/statm").read_text().split()
    return {
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss / 1024,
        "rss": int(own[1]) * resource.getpagesize() / (1 << 20),
    }


def bare(url: str) -> dict[str, float]:
    """Read every page of every resource and decode all of its JSON."""
    began = time.monotonic()
    size = 0
    for one in RESOURCES:
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        token = ""
        while True:
            connection.request("GET", f"{one.path}?limit=500&continue={token}")
            body = connection.getresponse().read()
            size += len(body)
            token = msgspec.json.decode(body)["metadata"].get("continue", "")
            if not token:
                break
    return {"seconds": time.monotonic() - began, "bytes": size, **measured()}


def recorded(url: str, folder: str) -> dict[str, float]:
    """Record the cluster until all of it is known and durable."""
    before = measured()
    recorder = _recorder(url, folder)
    began = time.monotonic()
    recorder.start()
    while recorder.state.watch != "watching":
        time.sleep(0.01)
    seconds = time.monotonic() - began
    lists = recorder.lists
    after = measured()
    recorder.close()
    disk = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return {
        "seconds": seconds,
        "lists": lists,
        "disk": disk,
        "cpu": after["cpu"] - before["cpu"],
        "peak": after["peak"],
        "rss": after["rss"],
        "imported": before["rss"],
    }


def _recorder(url: str, folder: str) -> Recorder:
    return Recorder(ApiServer(url, FileCredentials()), Path(folder), keep=timedelta(days=40))


def child(*words: str) -> dict[str, float]:
    """Run one side in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.identity", *words],
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def told(url: str, folder: str, pipe: Connection, events: int) -> list[tuple[str, str]]:
    """Ask for agents' answers, before and after changes; time events on the way."""
    watching = Watching(
        Path(folder), [Cluster(name="big", url=url)], keep=timedelta(days=40), refresh_s=0.5
    )

    def ask(node: int, known: str = "", *, changes: bool = False) -> NodeIdentities:
        return watching.for_node("default", "big", f"node-{node}", known=known, changes=changes)

    rows: list[tuple[str, str]] = []
    with watching:
        while watching.states("default")[0].watch != "watching":
            time.sleep(0.01)
        _until(lambda: ask(0))
        whole = ask(7)
        plain = gzip.decompress(whole.packed)
        size = f"{len(plain) >> 10} ({len(whole.packed) >> 10})"
        rows.append(("whole answer, KiB (packed)", size))
        known = identities.decode(plain, "benchmark")
        rows.append(
            ("addresses; identities for them", f"{len(known.hosts)}; {len(known.identities)}")
        )
        spent = time.process_time()
        tags = {number: ask(number).tag for number in range(NODES)}
        rows.append((f"whole for {NODES} nodes, CPU s", f"{time.process_time() - spent:.2f}"))
        spent = time.process_time()
        assert not any(ask(number, tag).packed for number, tag in tags.items())
        rows.append((f"unchanged for {NODES} nodes, CPU s", f"{time.process_time() - spent:.2f}"))
        spent = time.process_time()
        pipe.send(events)
        version, sent = pipe.recv()
        place = recordings.place(watching.folder("default"), "big")
        _until(lambda: int(chronicle.places(place)["pods"].version) >= version)
        rows.append(("events durable, per s", f"{events / (time.monotonic() - sent):,.0f}"))
        rows.append(("CPU for each, µs", f"{(time.process_time() - spent) / events * 1e6:.0f}"))
        _until(lambda: ask(0, tags[0]).packed)  # the view rests after a refresh
        time.sleep(20)
        spent = time.process_time()
        sizes = [len(ask(number, tag, changes=True).packed) for number, tag in tags.items()]
        rows.append(
            (
                f"{events // 2:,} changed pods for {NODES} nodes, CPU s; KiB each",
                f"{time.process_time() - spent:.2f}; {statistics.median(sizes) / 1024:.0f}",
            )
        )
        began = time.monotonic()
        ask(7)
        rows.append(("whole answer, first after a change, ms", f"{_ms(began):.0f}"))
    hour = clock.hour_of(clock.now())
    spent = time.process_time()
    layers = recordings.layers(
        watching.folder("default"), hour, hour + timedelta(hours=1), Inventory()
    )
    rows.append(("an hour's claims, CPU s", f"{time.process_time() - spent:.2f}"))
    spent = time.process_time()
    resolution = build(layers)
    rows.append(
        (f"{len(resolution.hosts)} intervals of them, CPU s", f"{time.process_time() - spent:.2f}")
    )
    return rows


def _until(holds: Callable[[], object]) -> None:
    while True:
        with contextlib.suppress(BusyError):
            if holds():
                return
        time.sleep(0.01)


def _ms(began: float) -> float:
    return (time.monotonic() - began) * 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pods", type=int, default=50_000)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(options.pods, theirs), daemon=True)
    server.start()
    url = ours.recv()
    rounds: dict[str, list[dict[str, float]]] = {"bare": [], "recorded": [], "resumed": []}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(options.rounds):
            folder = f"{scratch}/{number}/default/big"
            rounds["bare"].append(child("bare", url))
            rounds["recorded"].append(child("recorded", url, folder))
            rounds["resumed"].append(child("recorded", url, folder))
            assert rounds["resumed"][-1]["lists"] == 0
        told_rows = told(url, f"{scratch}/0", ours, options.events)
    ours.send(None)
    server.join(10)

    def median(side: str, what: str) -> float:
        return statistics.median(one[what] for one in rounds[side])

    print(f"| {options.pods:,} pods, {median('bare', 'bytes') / 1e6:.0f} MB of JSON | |")
    print("|---|---|")
    rows = []
    for side, name in (
        ("bare", "bare reading and decoding"),
        ("recorded", "recorded, durable"),
        ("resumed", "restarted, resumed"),
    ):
        figures = (f"{median(side, what):.2f}" for what in ("seconds", "cpu"))
        peak = f"{median(side, 'peak'):.0f}"
        rows.append((f"{name}: seconds; CPU s; peak MiB", "; ".join((*figures, peak))))
    rows += [
        ("CPU, recorded to bare", f"{median('recorded', 'cpu') / median('bare', 'cpu'):.2f}"),
        ("memory once recorded, MiB (imports)",
         f"{median('recorded', 'rss'):.0f} ({median('recorded', 'imported'):.0f})"),
        ("on disk, MiB", f"{median('recorded', 'disk') / (1 << 20):.1f}"),
    ]  # fmt: skip
    for name, figure in (*rows, *told_rows):
        print(f"| {name} | {figure} |")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["bare", url]:
            print(json.dumps(bare(url)))
        case ["recorded", url, folder]:
            print(json.dumps(recorded(url, folder)))
        case _:
            main()
