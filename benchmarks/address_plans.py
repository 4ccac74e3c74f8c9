"""What equal address plans cost: the same VPCs and flows, once with blocks of their own.

    python -m benchmarks.address_plans [--vpcs 20] [--hosts 2000] [--rows 2000000] [--rounds 5]

Each VPC has its hosts in a /16: in the one world in a /16 of its own, in the other in the same one.
Flows, with the VPC in each row, go between hosts of one VPC and to the internet. A round times both
worlds in turn, in one process: merging the claims, and attribution from a Parquet file to a written
ledger. Figures are medians of CPU seconds; compare ratios.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb

from flowcost.address import network, pack
from flowcost.ledger import Input, Ledger
from flowcost.model import EndKind, Identity
from flowcost.pipeline.attribute import attribute
from flowcost.pipeline.columns import columns_of
from flowcost.pipeline.world import World
from flowcost.price import list_book
from flowcost.resolve import Claim, Layer, Resolution, timeline
from flowcost.schema import DUCKDB_TYPES, FLOWS

WORLDS = ("apart", "equal")


def second(world: str, vpc: int) -> int:
    """Return the second octet of a VPC's addresses."""
    return 1 + vpc if world == "apart" else 1


def layers(world: str, vpcs: int, hosts: int) -> list[Layer]:
    """Return the interfaces and the networks of a world."""

    def place(vpc: int, **more: object) -> Identity:
        return Identity(
            cloud_provider="aws",
            cloud_account_id="111111111111",
            cloud_region="us-east-1",
            cloud_vpc_id=f"vpc-{vpc}",
            **more,
        )

    def interfaces() -> Iterator[Claim]:
        for vpc in range(vpcs):
            for host in range(hosts):
                address = pack(f"10.{second(world, vpc)}.{host >> 8}.{host & 255}")
                zone = f"use1-az{1 + host % 3}"
                identity = place(
                    vpc,
                    kind=EndKind.COMPUTE,
                    cloud_resource_id=f"i-{vpc}-{host}",
                    cloud_availability_zone=zone,
                )
                yield Claim(first=address, last=address, identity=identity)

    def networks() -> Iterator[Claim]:
        for vpc in range(vpcs):
            first, last = network(f"10.{second(world, vpc)}.0.0/16")
            yield Claim(first=first, last=last, identity=place(vpc))

    return [
        Layer(source="interfaces", claims=tuple(interfaces())),
        Layer(source="subnets", claims=tuple(networks())),
    ]


def write_flows(path: Path, world: str, vpcs: int, hosts: int, rows: int) -> None:
    """Write `rows` flow aggregates of one hour; one in ten goes to the internet."""
    octet = "1 + v" if world == "apart" else "1"
    own = "unhex('00000000000000000000FFFF0A' || printf('%02X%04X', {0}, {1}))"
    far = "unhex('00000000000000000000FFFF' || printf('%08X', 134744072 + c))"
    given = {
        "window_start": "TIMESTAMP '2026-11-02' + to_seconds(i % 60 * 60)",
        "window_end": "TIMESTAMP '2026-11-02' + to_seconds(i % 60 * 60 + 60)",
        "tenant": "'demo'",
        "observer_type": "'interface'",
        "vpc_id": "'vpc-' || v",
        "direction": "CASE WHEN i % 2 = 0 THEN 'transmit' ELSE 'receive' END",
        "local_address": own.format(octet, f"c % {hosts}"),
        "remote_address": f"CASE WHEN c % 10 = 0 THEN {far}"
        f" ELSE {own.format(octet, f'c * 7 % {hosts}')} END",
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
            f"COPY (SELECT {columns} FROM (SELECT i, (i % {vpcs})::INTEGER AS v,"
            f" (hash(i) % {4 * hosts})::INTEGER AS c FROM range({rows}) t(i)))"
            f" TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
        )


def attributed(flows: Path, resolution: Resolution) -> None:
    """Attribute the file into a new ledger."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(config={"threads": 1}) as con:
        con.execute("SET preserve_insertion_order = false")
        con.execute(f"CREATE VIEW flows AS FROM read_parquet('{flows}')")
        ledger = Ledger.open(folder, create=True)
        attribute(
            con,
            World(con, columns_of(resolution)),
            list_book(),
            ledger,
            lambda _: [Input("synthetic", "1")],
        )


def main() -> None:
    """Print one table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--vpcs", type=int, default=20)
    options.add_argument("--hosts", type=int, default=2_000)
    options.add_argument("--rows", type=int, default=2_000_000)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    seconds: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {world: Path(folder) / f"{world}.parquet" for world in WORLDS}
        for world, path in files.items():
            write_flows(path, world, chosen.vpcs, chosen.hosts, chosen.rows)
        for _ in range(chosen.rounds):
            for world, path in files.items():
                claims = layers(world, chosen.vpcs, chosen.hosts)
                start = time.process_time()
                resolution = timeline.build(claims)
                built = time.process_time()
                attributed(path, resolution)
                done = time.process_time()
                seconds.setdefault(("merge", world), []).append(built - start)
                seconds.setdefault(("attribution", world), []).append(done - built)
    print(
        f"{chosen.vpcs} VPCs of {chosen.hosts:,} hosts, {chosen.rows:,} flows, "
        f"{chosen.rounds} interleaved rounds"
    )
    print("| step | blocks of their own, CPU s | equal blocks, CPU s | ratio |\n|---|---|---|---|")
    for step in ("merge", "attribution"):
        apart, equal = (statistics.median(seconds[step, world]) for world in WORLDS)
        print(f"| {step} | {apart:.2f} | {equal:.2f} | {equal / apart:.2f} |")


if __name__ == "__main__":
    main()
