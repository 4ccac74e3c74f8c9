"""Flow logs to partials and to a ledger, against other tools on the same files.

    python -m benchmarks.flow_logs --rows 2000000 --rounds 3

Every measurement is a process of its own, so that memory is its own too; the contenders of one
table take turns, and the table shows medians and their ratio to the bare query. (a) is measured on
many small files and on few large ones. (c) needs the package flowlogs-reader, which is not a
dependency; without it the row says so. (d) at its full size takes an hour to generate and run:
`--tables d --rows 100000000`.
"""

# ruff: noqa: PLC0415 - each contender loads its own library, in its own process
from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import gen_logs

MIB = 1 << 20


# -- contenders: each runs in a child and returns what it counted ---------------------------------


def _files(data: Path) -> list[str]:
    return sorted(
        str(path) for path in (data / "logs").rglob("*.log*") if "_vpcflowlogs_" in path.name
    )


def duckdb_bare(data: Path) -> int:
    """Group by source, destination, interface and ten minutes, in one query."""
    import duckdb

    with duckdb.connect(config={"preserve_insertion_order": False}) as con:
        con.execute(
            "CREATE TABLE found AS SELECT srcaddr, dstaddr, interface_id, start // 600 AS slot,"
            f" sum(bytes) AS bytes FROM read_parquet({_files(data)}) GROUP BY ALL"
        )
        return con.execute("SELECT sum(bytes)::BIGINT FROM found").fetchall()[0][0]


def polars_bare(data: Path) -> int:
    """The same from text, with the streaming engine."""
    import polars as pl

    names = gen_logs.V2 if _is_v2(data) else gen_logs.CUSTOM
    schema = {name: pl.Int64 if name in gen_logs.NUMBERS else pl.String for name in names}
    found = (
        pl.scan_csv(_files(data), separator=" ", null_values=["-"], schema=schema, quote_char=None)
        .group_by("srcaddr", "dstaddr", "interface-id", pl.col("start") // 600)
        .agg(pl.col("bytes").sum())
        .collect(engine="streaming")
    )
    return int(found["bytes"].sum())


def flowlogs_reader(data: Path) -> int:
    """Sum bytes over flowlogs-reader's records, parsed from lines already inflated."""
    import gzip

    from flowlogs_reader.flowlogs_reader import FlowRecord

    total = 0
    for name in _files(data):
        with gzip.open(name, "rt") as stream:
            fields = [word.replace("-", "_") for word in next(stream).split()]
            for line in stream:
                record = FlowRecord(dict(zip(fields, line.split(), strict=True)))
                total += record.bytes or 0
    return total


def kernels(data: Path) -> int:
    """Read every file into partial aggregates, as a run does."""
    from flowcost.pipeline.knowledge import knowledge_of
    from flowcost.pipeline.reading import Embedded, Read, Task
    from flowcost.resolve import inventory, timeline
    from flowcost.sources.discover import local
    from flowcost.sources.kernel import Options

    known = knowledge_of(timeline.build(inventory.read(data / "inventory")))
    with tempfile.TemporaryDirectory() as folder:
        names = set(_files(data))
        files = [file for file in local(data / "logs") if str(file.path) in names]
        tasks = [
            Task(file, Path(folder) / f"{number}.parquet") for number, file in enumerate(files)
        ]
        started[:] = time.perf_counter(), time.process_time()  # the inventory is read
        found = [
            done for done in Embedded().read(tasks, known, Options()) if isinstance(done, Read)
        ]
    return sum(tally.bytes for done in found for tally in done.report.fates.values())


def run(data: Path) -> int:
    """`flowcost run`: inventory, partials, resolve, classify, price, ledger, summary."""
    with tempfile.TemporaryDirectory() as folder:
        _run(data / "logs", data, folder)
    return 0


def first_run(data: Path) -> int:
    """`flowcost run` over the later half of the hours, on a ledger that has nothing yet."""
    with tempfile.TemporaryDirectory() as folder:
        _run(_half(data, 1), data, folder)
    return 0


def run_again(data: Path) -> int:
    """The same on a ledger that an earlier process took the first half of the hours into."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "flowcost", *_words(_half(data, 0), data, folder)]
        subprocess.run(words, check=True, capture_output=True)
        started[:] = time.perf_counter(), time.process_time()
        _run(_half(data, 1), data, folder)
    return 0


def _run(logs: Path, data: Path, ledger: str) -> None:
    from click.testing import CliRunner

    from flowcost.cli import main

    result = CliRunner().invoke(main, _words(logs, data, ledger))
    assert result.exit_code == 0, result.output


def _words(logs: Path, data: Path, ledger: str) -> list[str]:
    inventory = str(data / "inventory")
    return ["run", "--flow-logs", str(logs), "--inventory", inventory, "--ledger", ledger]


def _half(data: Path, number: int) -> Path:
    """Return a folder with the files of the first (0) or the later (1) half of the slots."""
    folder = data / "halves" / str(number)
    if not folder.exists():
        names = {path: re.search(r"_(\d{8}T\d{4})Z_", path.name) for path in
                 data.joinpath("logs").rglob("*.log*")}  # fmt: skip
        slots = sorted({found[1] for found in names.values() if found})
        middle = slots[len(slots) // 2]
        for path, found in names.items():
            if found and (found[1] >= middle) == bool(number):
                to = folder / path.relative_to(data)
                to.parent.mkdir(parents=True, exist_ok=True)
                to.hardlink_to(path)
    return folder


def _is_v2(data: Path) -> bool:
    return json.loads((data / "meta.json").read_text()).get("format") == "v2"


CONTENDERS = {
    "DuckDB bare": duckdb_bare,
    "Polars bare": polars_bare,
    "flowlogs-reader": flowlogs_reader,
    "flowcost partials": kernels,
    "flowcost run": run,
    "first run": first_run,
    "run again": run_again,
}
started = [0.0, 0.0]  # wall and processor seconds


def child(name: str, data: Path) -> None:
    """Run one contender and print what it took."""
    started[:] = time.perf_counter(), time.process_time()
    total = CONTENDERS[name](data)
    seconds, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": _peak(), "bytes": total}))


def _peak() -> int:
    """Return the most memory this process held (Linux; getrusage also counts its parent's)."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024


# -- the parent ---------------------------------------------------------------------------------


def measure(name: str, data: Path) -> dict[str, float]:
    """Run one contender in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.flow_logs", "--child", name, str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(title: str, names: list[str], data: Path, rounds: int) -> None:
    """Print medians of interleaved rounds, as ratios to the first contender."""
    rows = json.loads((data / "meta.json").read_text())["rows"]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            found[name].append(measure(name, data))
    print(f"\n{title}: {rows:,} rows\n")
    print(
        "| | seconds | ratio | CPU s | ratio | rows/s | peak MiB |\n|---|---|---|---|---|---|---|"
    )
    middle = {
        key: {name: statistics.median(one[key] for one in found[name]) for name in names}
        for key in ("seconds", "cpu")
    }
    base, base_cpu = (middle[key][names[0]] for key in ("seconds", "cpu"))
    for name in names:
        seconds, cpu = middle["seconds"][name], middle["cpu"][name]
        peak = max(one["peak"] for one in found[name]) / MIB
        print(
            f"| {name} | {seconds:.2f} | {seconds / base:.2f} | {cpu:.2f} | {cpu / base_cpu:.2f}"
            f" | {rows / seconds:,.0f}"
            f" | {peak:,.0f} |"
        )


def _head(*names: str) -> None:
    print(f"| {' | '.join(names)} |")
    print("|---" * len(names) + "|")


def generated(folder: Path, kind: str, rows: int, **more: int) -> Path:
    """Generate logs once per size and kind."""
    sizes = {
        "rows": rows, "pods": 50_000, "prefixes": 10_000, "hours": 2, "slot_minutes": 60,
        "seed": 7, "conversations": max(1000, rows // 50), **more,
    }  # fmt: skip
    name = "-".join([kind, *(f"{key}{value}" for key, value in sorted(sizes.items()))])
    out = folder / name
    if not (out / "meta.json").exists():
        made = gen_logs.generate(out, argparse.Namespace(**sizes, format=kind))
        (out / "meta.json").write_text(json.dumps({**made, "format": kind}))
    return out


BARE, PARTIALS, RUN = "DuckDB bare", "flowcost partials", "flowcost run"


def parquet(folder: Path, rows: int, rounds: int) -> None:
    """(a): many small files, as an account of many interfaces has them, and few large ones."""
    for title, minutes in (("small files", 5), ("large files", 60)):
        data = generated(folder, "parquet", rows, slot_minutes=minutes)
        files = json.loads((data / "meta.json").read_text())["files"]
        table(f"(a) Parquet, {files} {title}", [BARE, PARTIALS, RUN], data, rounds)


def text(folder: Path, rows: int, rounds: int) -> None:
    """(b): gzip text of either kind."""
    for kind, title in (("text", "27 fields"), ("v2", "the default fields")):
        data = generated(folder, kind, rows // 2)
        table(f"(b) gzip text, {title}", ["Polars bare", PARTIALS, RUN], data, rounds)


def peer(folder: Path, rows: int, _: int) -> None:
    """(c): records per second of flowlogs-reader."""
    if not importlib.util.find_spec("flowlogs_reader"):
        print("\n(c) flowlogs-reader is not installed here")
        return
    data = generated(folder, "v2", rows // 2)
    table("(c) flowlogs-reader", ["flowlogs-reader", PARTIALS, RUN], data, 1)


def memory(folder: Path, rows: int, _: int) -> None:
    """(d): the most memory of a run."""
    data = generated(folder, "parquet", rows)
    found = measure(RUN, data)
    print(f"\n(d) {rows:,} rows: {found['peak'] / MIB:,.0f} MiB, {found['cpu']:.0f} CPU s")


def growth(folder: Path, rows: int, rounds: int) -> None:
    """(e): by rows, and by the identities that the inventory knows.

    A run again has as many new rows as the first run, and an inventory that did not change.
    """
    print("\n(e) growth by rows, 50,000 pods, processor seconds\n")
    _head("rows", "partials", "run", "run peak MiB")
    for factor in (0.25, 0.5, 1):
        data = generated(folder, "parquet", int(rows * factor))
        partials, whole = measure(PARTIALS, data), measure(RUN, data)
        print(
            f"| {rows * factor:,.0f} | {partials['cpu']:.2f} | {whole['cpu']:.2f}"
            f" | {whole['peak'] / MIB:,.0f} |"
        )
    print(f"\n(e) growth by identities, {rows // 4:,} new rows, processor seconds\n")
    _head("pods known", "in the logs", "first run", "peak MiB", "run again", "peak MiB")
    small, middle, large = (
        generated(folder, "parquet", rows // 2, pods=pods) for pods in (5_000, 50_000, 100_000)
    )
    cases = [small, widened(small, large), middle, large]
    found: list[dict[str, list[dict[str, float]]]] = [
        {"first run": [], "run again": []} for _ in cases
    ]
    for _ in range(rounds):
        for case, data in zip(found, cases, strict=True):
            for name, measured in case.items():
                measured.append(measure(name, data))
    for case, data in zip(found, cases, strict=True):
        cells = [f"{size:,}" for size in _pods(data)]
        for measured in case.values():
            cells.append(f"{statistics.median(one['cpu'] for one in measured):.2f}")
            cells.append(f"{max(one['peak'] for one in measured) / MIB:,.0f}")
        print(f"| {' | '.join(cells)} |")


def widened(own: Path, other: Path) -> Path:
    """Return `own` with the accounts and clusters of `other` that it does not have."""
    folder = own.with_name(own.name + "-widened")
    if not folder.exists():
        shutil.copytree(own / "logs", folder / "logs", copy_function=os.link)
        for part in ("aws", "kubernetes"):
            for source in (other, own):  # its own last: they stay
                for place in sorted((source / "inventory" / part).iterdir()):
                    target = folder / "inventory" / part / place.name
                    shutil.rmtree(target, ignore_errors=True)
                    shutil.copytree(place, target)
        shutil.copy2(own / "meta.json", folder)
    return folder


def _pods(data: Path) -> tuple[int, int]:
    """Return how many pods the inventory has, and how many the logs were made of."""
    lists = data.glob("inventory/kubernetes/*/pods.json")
    known = sum(len(json.loads(one.read_bytes())["items"]) for one in lists)
    return known, json.loads((data / "meta.json").read_text())["pods"]


TABLES = {"a": parquet, "b": text, "c": peer, "d": memory, "e": growth}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child", nargs=2, metavar=("NAME", "DATA"))
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tables", default="".join(TABLES), help="which of them: abcde")
    parser.add_argument("--data", type=Path, default=Path(".cache/flow-logs"))
    args = parser.parse_args()
    if args.child:
        child(args.child[0], Path(args.child[1]))
        return
    import duckdb
    import polars as pl

    print(
        f"{platform.platform()}, {os.cpu_count()} processors, Python {platform.python_version()},"
        f" DuckDB {duckdb.__version__}, Polars {pl.__version__},"
        f" load {os.getloadavg()[0]:.1f} at the start"
    )
    for letter in args.tables:
        TABLES[letter](args.data, args.rows, args.rounds)


if __name__ == "__main__":
    main()
