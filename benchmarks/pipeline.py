"""What attribution costs beside a bare scan: rows a second, peak memory, facts a second.

    python -m benchmarks.pipeline [--rows 20000000] [--rounds 5]

Synthetic flow aggregates (10-minute windows over a day, 20 thousand conversations, three zones, an
internet gateway) are written once as Parquet. Each round runs, in a process of its own and in
turn, the engine's bare `SELECT sum(bytes)` over the file, and the whole pipeline from that file to
a written ledger. Classification is timed apart, over distinct facts. Figures are medians; compare
ratios, not seconds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import duckdb

from flowcost.classify import classify
from flowcost.ledger import Input, Ledger
from flowcost.model import Direction, EndKind, Facts, GatewayKind, VpcRelation
from flowcost.pipeline.attribute import attribute
from flowcost.pipeline.columns import columns_of
from flowcost.pipeline.world import World
from flowcost.price import list_book
from flowcost.resolve import declared, timeline
from flowcost.schema import DUCKDB_TYPES, FLOWS

CONVERSATIONS = 20_011
PODS = 6_000


def world_text() -> str:
    """Return a world of three zones with a named pod behind each low address."""
    whole = (
        '[[network]]\ncidr = "10.0.0.0/8"\ncloud.provider = "aws"\ncloud.vpc_id = "vpc-a"\n'
        'cloud.account.id = "111111111111"\ncloud.region = "us-east-1"\n'
    )
    networks = [
        f'[[network]]\ncidr = "10.{zone}.0.0/16"\ncloud.availability_zone = "use1-az{zone}"\n'
        for zone in (1, 2, 3)
    ]
    networks += [
        f'[[network]]\ncidr = "10.{1 + pod % 3}.{pod // 3 // 256}.{pod // 3 % 256}/32"\n'
        f'k8s.namespace.name = "ns{pod % 50}"\nk8s.workload.name = "w{pod % 500}"\n'
        f'k8s.pod.name = "p{pod}"\n'
        for pod in range(PODS)
    ]
    route = '[[route]]\nfrom = "vpc-a"\nto = "0.0.0.0/0"\nvia = "internet_gateway"\n'
    return "".join((whole, *networks, route))


def write_flows(path: Path, rows: int) -> None:
    """Write `rows` flow aggregates; the same rows give the same file."""
    given = {
        "window_start": "TIMESTAMP '2026-11-02' + to_seconds(600 * (i % 144))",
        "window_end": "TIMESTAMP '2026-11-02' + to_seconds(600 * (i % 144) + 600)",
        "tenant": "'demo'",
        "observer_type": "'interface'",
        "direction": "CASE WHEN i % 2 = 0 THEN 'transmit' ELSE 'receive' END",
        "local_address": "unhex('00000000000000000000FFFF0A' || printf('%06X', near))",
        "remote_address": "unhex('00000000000000000000FFFF' || CASE WHEN c % 10 = 0"
        " THEN printf('%08X', 134744072 + c) ELSE '0A' || printf('%06X', far) END)",
        "transport": "6",
        "initiator": "'unknown'",
        "bytes": "40 + hash(i) % 1000000",
        "packets": "1",
        "sampled": "1",
        "dialed_address": "NULL",
    }
    blank = {"text": "''", "small": "0", "int": "0"}
    columns = ", ".join(
        f"({given.get(c.name) or blank[c.type]})::{DUCKDB_TYPES[c.type]} AS {c.name}" for c in FLOWS
    )
    with duckdb.connect() as con:
        con.execute(
            f"COPY (SELECT {columns} FROM (SELECT i, c,"
            " (65536 * (1 + c % 3) + c % 1997)::INTEGER AS near,"
            " (65536 * (1 + c // 3 % 3) + c % 1499)::INTEGER AS far"
            f" FROM (SELECT i, (hash(i) % {CONVERSATIONS})::INTEGER AS c"
            f" FROM range({rows}) t(i)))) TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
        )


def bare(flows: Path) -> None:
    """Sum one column."""
    with duckdb.connect() as con:
        con.execute(f"SELECT sum(bytes) FROM read_parquet('{flows}')").fetchall()


def pipeline(flows: Path) -> None:
    """Attribute the file into a new ledger."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as con:
        con.execute("SET preserve_insertion_order = false")
        con.execute(f"CREATE VIEW flows AS FROM read_parquet('{flows}')")
        world = World(con, columns_of(timeline.build([declared.parse(world_text())])))
        ledger = Ledger.open(folder, create=True)
        attribute(con, world, list_book(), ledger, lambda _: [Input("synthetic", "1")])


def facts_per_second() -> int:
    """Return how many distinct facts are classified a second, on one core."""
    kinds = (EndKind.COMPUTE, EndKind.MANAGED, EndKind.SERVICE, EndKind.INTERNET)
    ways = (GatewayKind.NONE, GatewayKind.NAT_GATEWAY, GatewayKind.INTERNET_GATEWAY,
            GatewayKind.VPC_PEERING, GatewayKind.TRANSIT_GATEWAY)  # fmt: skip
    zones = ("use1-az1", "use1-az2", "use1-az4")
    distinct = [
        Facts(
            provider="aws", direction=direction, local_region="us-east-1", local_az=near,
            remote_kind=kind, remote_region=region, remote_az=far,
            remote_public=kind in (EndKind.SERVICE, EndKind.INTERNET),
            vpc=VpcRelation.SAME, gateway=way, gateway_region="us-east-1", gateway_az=near,
        )
        for direction, near, far, kind, region, way in itertools.product(
            Direction, zones, zones, kinds, ("us-east-1", "eu-west-1"), ways
        )
    ]  # fmt: skip
    start = time.perf_counter()
    for facts in distinct:
        classify(facts, date(2026, 11, 2))
    return int(len(distinct) / (time.perf_counter() - start))


def measured(job: str, flows: Path) -> tuple[float, int]:
    """Run a job in a process of its own; return its seconds and peak resident MiB."""
    command = [sys.executable, "-m", "benchmarks.pipeline", "--job", job, "--flows", str(flows)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    answer = json.loads(done.stdout)
    return answer["seconds"], answer["peak_mib"]


def main() -> None:
    """Print one table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=20_000_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--job", choices=["bare", "pipeline"])
    options.add_argument("--flows", type=Path)
    chosen = options.parse_args()
    if chosen.job:
        start = time.perf_counter()
        {"bare": bare, "pipeline": pipeline}[chosen.job](chosen.flows)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps({"seconds": seconds, "peak_mib": peak}))
        return
    with tempfile.TemporaryDirectory() as folder:
        flows = Path(folder) / "flows.parquet"
        write_flows(flows, chosen.rows)
        results: dict[str, list[tuple[float, int]]] = {"bare": [], "pipeline": []}
        for _ in range(chosen.rounds):
            for job, figures in results.items():
                figures.append(measured(job, flows))
    seconds = {job: statistics.median(s for s, _ in runs) for job, runs in results.items()}
    peaks = {job: max(peak for _, peak in runs) for job, runs in results.items()}
    versions = f"Python {platform.python_version()}, DuckDB {duckdb.__version__}"
    print(f"pipeline: {chosen.rows:,} rows, {chosen.rounds} interleaved rounds, {versions}, "
          f"{date.today()}")  # noqa: DTZ011 - a label  # fmt: skip
    print("| job | seconds (median) | rows/s | peak MiB |\n|---|---|---|---|")
    for job in results:
        rate = f"{chosen.rows / seconds[job]:,.0f}"
        print(f"| {job} | {seconds[job]:.2f} | {rate} | {peaks[job]:,} |")
    print(f"\npipeline / bare scan: {seconds['pipeline'] / seconds['bare']:.0f}")
    print(f"distinct facts classified per second: {facts_per_second():,}")


if __name__ == "__main__":
    main()
