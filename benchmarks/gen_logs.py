"""Write realistic flow logs, the inventory to resolve them, and the truth about them.

    python -m benchmarks.gen_logs OUT --rows 1000000 --format parquet|text|v2 --seed 7

OUT/logs holds the files as the cloud delivers them, OUT/inventory what `flowcost snapshot` would
write, OUT/truth.parquet the expected ledger (hour, ends, direction, path, bytes), OUT/meta.json
the sizes. The same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks import gen_inventory
from benchmarks.gen_topology import REGION, TGW_ID, ZONES, Topology, hexid, pod_uid
from benchmarks.gen_traffic import ROWS_PER_EXCHANGE, Block, Conversations, Slot
from flowcost.sources.tgw_flow_logs import TGW
from flowcost.sources.vpc_flow_logs import VPC

START = int(datetime(2026, 10, 5, 12, tzinfo=UTC).timestamp())
V2 = list(VPC.default)
CUSTOM = [
    *V2,
    *("vpc-id", "subnet-id", "instance-id", "tcp-flags", "type", "pkt-srcaddr", "pkt-dstaddr"),
    *("region", "az-id", "pkt-src-aws-service", "pkt-dst-aws-service", "flow-direction"),
    "traffic-path",
]
NARROW = {"version", "srcport", "dstport", "protocol", "tcp-flags", "traffic-path"}
NUMBERS = NARROW | {"packets", "bytes", "start", "end"} | {
    f"packets-lost-{why}" for why in ("no-route", "blackhole", "mtu-exceeded", "ttl-expired")
}  # fmt: skip


class Columns:
    """Turn numbered rows into provider columns; `-` where the record has no value."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        vpcs = topology.all_vpcs
        self.pools = {
            "address": topology.addresses.texts,
            "eni": topology.interfaces,
            "account": [vpc.account for vpc in vpcs],
            "vpc": [vpc.id for vpc in vpcs],
            "attachment": [vpc.attachment for vpc in vpcs],
            "zone": list(ZONES),
            "subnet": [vpc.subnet(third) for vpc in vpcs for third in range(256)],
            "instance": [gen_inventory.instance_id(node) for node in range(topology.nodes)] + ["-"],
            "direction": ["ingress", "egress"],
            "action": ["ACCEPT", "REJECT", "-"],
            "status": ["OK", "NODATA", "SKIPDATA"],
            "path": ["-", *(str(n) for n in range(1, 9))],
        }
        self.arrays = {name: pa.array(pool) for name, pool in self.pools.items()}

    def of(self, name: str, indices: np.ndarray) -> pa.Array:
        """Return a column of texts from a pool."""
        return pa.DictionaryArray.from_arrays(pa.array(indices.astype(np.int32)), self.arrays[name])

    def vpc_rows(self, rows: Block, fields: list[str], version: int) -> pa.Table:
        """Return the rows of a VPC flow log."""
        size = len(rows["start"])
        bare = rows["status"] != 0
        columns: dict[str, pa.Array] = {
            "version": pa.array(np.full(size, version)),
            "account-id": self.of("account", rows["vpc"]),
            "interface-id": self.of("eni", rows["eni"]),
            "srcaddr": self.of("address", rows["src"]),
            "dstaddr": self.of("address", rows["dst"]),
            "srcport": pa.array(rows["sport"], mask=bare),
            "dstport": pa.array(rows["dport"], mask=bare),
            "protocol": pa.array(np.full(size, 6), mask=bare),
            "packets": pa.array(rows["packets"], mask=bare),
            "bytes": pa.array(rows["bytes"], mask=bare),
            "start": pa.array(rows["start"]),
            "end": pa.array(rows["end"]),
            "action": self.of("action", np.where(bare, 2, rows["action"])),
            "log-status": self.of("status", rows["status"]),
            "vpc-id": self.of("vpc", rows["vpc"]),
            "subnet-id": self.of("subnet", rows["vpc"] * 256 + rows["third"]),
            "instance-id": self.of(
                "instance", np.where(rows["instance"] < 0, self.topology.nodes, rows["instance"])
            ),
            "tcp-flags": pa.array(rows["flags"], mask=bare),
            "type": self._constant("IPv4", size),
            "pkt-srcaddr": self.of("address", rows["psrc"]),
            "pkt-dstaddr": self.of("address", rows["pdst"]),
            "region": self._constant(REGION, size),
            "az-id": self.of("zone", rows["zone"]),
            "pkt-src-aws-service": self._constant("-", size),
            "pkt-dst-aws-service": self._constant("-", size),
            "flow-direction": self.of("direction", rows["direction"]),
            "traffic-path": pa.array(rows["path"], mask=rows["path"] == 0),
        }
        return pa.table({name: columns[name] for name in fields})

    def tgw_rows(self, rows: Block) -> pa.Table:
        """Return the rows of a transit gateway flow log; `third` holds the receiving VPC."""
        size = len(rows["start"])
        near, far, zone = rows["vpc"], rows["third"], rows["zone"]
        ingress = rows["direction"] == 0
        enis = np.array([[eni for eni, _ in vpc.tgw] for vpc in self.topology.all_vpcs])
        columns: dict[str, pa.Array] = {
            "version": pa.array(np.full(size, 6)),
            "resource-type": self._constant("TransitGateway", size),
            "account-id": self._constant(self.topology.egress.account, size),
            "tgw-id": self._constant(TGW_ID, size),
            "tgw-attachment-id": self.of("attachment", np.where(ingress, near, far)),
            "tgw-src-vpc-account-id": self.of("account", near),
            "tgw-dst-vpc-account-id": self.of("account", far),
            "tgw-src-vpc-id": self.of("vpc", near),
            "tgw-dst-vpc-id": self.of("vpc", far),
            "tgw-src-subnet-id": self.of("subnet", near * 256 + 250 + zone),
            "tgw-dst-subnet-id": self.of("subnet", far * 256 + 250 + zone),
            "tgw-src-eni": self.of("eni", enis[near, zone]),
            "tgw-dst-eni": self.of("eni", enis[far, zone]),
            "tgw-src-az-id": self.of("zone", zone),
            "tgw-dst-az-id": self.of("zone", zone),
            "tgw-pair-attachment-id": self.of("attachment", np.where(ingress, far, near)),
            "srcaddr": self.of("address", rows["src"]),
            "dstaddr": self.of("address", rows["dst"]),
            "srcport": pa.array(rows["sport"]),
            "dstport": pa.array(rows["dport"]),
            "protocol": pa.array(np.full(size, 6)),
            "packets": pa.array(rows["packets"]),
            "bytes": pa.array(rows["bytes"]),
            "start": pa.array(rows["start"]),
            "end": pa.array(rows["end"]),
            "log-status": self._constant("OK", size),
            "type": self._constant("IPv4", size),
            "tcp-flags": pa.array(rows["flags"]),
            "region": self._constant(REGION, size),
            "flow-direction": self.of("direction", rows["direction"]),
            "pkt-src-aws-service": self._constant("-", size),
            "pkt-dst-aws-service": self._constant("-", size),
        }
        zero = pa.array(np.zeros(size, np.int64))
        return pa.table({name: columns.get(name, zero) for name in TGW.default})

    @staticmethod
    def _constant(value: str, size: int) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(size, np.int32)), pa.array([value]))


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write as AWS does: underscores, INT32 and INT64, gzip, dictionary pages."""
    fields, arrays = [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = pa.int32() if name in NARROW else pa.int64() if name in NUMBERS else pa.string()
        fields.append(pa.field(name.replace("-", "_"), kind))
        arrays.append(column.cast(kind))
    pq.write_table(pa.table(arrays, schema=pa.schema(fields)), path, compression="gzip")


def write_text(table: pa.Table, path: Path) -> None:
    """Write as AWS does: one header line, single spaces, `-` for no value, gzip."""
    texts = []
    for column in table.columns:
        text = column.cast(pa.string())
        texts.append(text.fill_null("-"))
    body = pa.BufferOutputStream()
    options = pa.csv.WriteOptions(include_header=False, delimiter=" ", quoting_style="none")
    pa.csv.write_csv(pa.table(texts, names=table.column_names), body, options)
    head = (" ".join(table.column_names) + "\n").encode()
    packed = gzip.compress(head + body.getvalue().to_pybytes(), 6, mtime=0)
    path.write_bytes(packed)


def file_path(root: Path, topology: Topology, log: int, begin: int, kind: str) -> Path:
    """Return where the cloud would put this file."""
    vpc = topology.egress if log < 0 else topology.all_vpcs[log]
    at = datetime.fromtimestamp(begin, UTC)
    service = "transitgateway" if log < 0 else "vpcflowlogs"
    flow_log = "fl-0aaaaaaaaaaaaaaa1" if log < 0 else vpc.flow_log
    suffix = "log.parquet" if kind == "parquet" else "log.gz"
    folder = root / "AWSLogs" / vpc.account / "vpcflowlogs" / REGION / f"{at:%Y/%m/%d}"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = f"{at:%Y%m%dT%H%MZ}"
    digest = f"{hexid('', topology.seed, log + 1, begin)[-8:]}"
    return folder / f"{vpc.account}_{service}_{REGION}_{flow_log}_{stamp}_{digest}.{suffix}"


def truth_table(topology: Topology, truth: list[Block]) -> pa.Table:
    """Return the truth summed to (hour, observer, direction, local, remote, path)."""
    names = truth[0].keys()
    rows = {name: np.concatenate([block[name] for block in truth]) for name in names}
    pods = topology.pods
    uids: dict[str, pa.Array] = {}
    for end in ("local", "remote"):
        is_pod = rows[end] < pods
        generation = topology.generation(np.where(is_pod, rows[end], 0), rows["at"])
        rows[f"{end}_generation"] = np.where(is_pod, generation, -1)
    keys = [
        "hour", "finest", "observer_type", "direction", "path", "local", "local_generation",
        "remote", "remote_generation",
    ]  # fmt: skip
    table = pa.table({name: rows[name] for name in [*keys, "bytes", "packets"]})
    table = table.group_by(keys).aggregate([("bytes", "sum"), ("packets", "sum")])
    table = table.sort_by([(key, "ascending") for key in keys])
    texts = pa.array(topology.addresses.texts)
    for end in ("local", "remote"):
        slots = table[end].to_pylist()
        generations = table[f"{end}_generation"].to_pylist()
        uids[end] = pa.array(
            [pod_uid(s, g) if g >= 0 else "" for s, g in zip(slots, generations, strict=True)]
        )
    return pa.table(
        {
            "hour": pa.compute.multiply(table["hour"], 3600).cast(pa.timestamp("s")),
            "finest": table["finest"],
            "observer_type": table["observer_type"],
            "direction": table["direction"],
            "path": table["path"],
            "local_address": texts.take(table["local"]),
            "local_uid": uids["local"],
            "remote_address": texts.take(table["remote"]),
            "remote_uid": uids["remote"],
            "bytes": table["bytes_sum"],
            "packets": table["packets_sum"],
        }
    )


def generate(out: Path, args: argparse.Namespace) -> dict[str, int]:
    """Write everything under `out`; return the sizes."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    topology = Topology(
        pods=args.pods, prefixes=args.prefixes, seed=args.seed, start=START, hours=args.hours
    )
    talks = Conversations.plan(topology, args.conversations or max(1000, args.rows // 20))
    columns = Columns(topology)
    step = args.slot_minutes * 60
    slots = args.hours * 3600 // step
    exchanges = max(1, int(args.rows / ROWS_PER_EXCHANGE / slots))
    fields, version = (V2, 2) if args.format == "v2" else (CUSTOM, 5)
    truth: list[Block] = []
    sizes = {"files": 0, "rows": 0, "bytes": 0}
    for begin in range(START, START + slots * step, step):
        slot = Slot(topology, talks, begin, begin + step)
        slot.generate(exchanges)
        truth.extend(slot.truth)
        for log, rows in slot.tables():
            table = columns.tgw_rows(rows) if log < 0 else columns.vpc_rows(rows, fields, version)
            path = file_path(out / "logs", topology, log, begin, args.format)
            (write_parquet if args.format == "parquet" else write_text)(table, path)
            sizes["files"] += 1
            sizes["rows"] += len(table)
            sizes["bytes"] += path.stat().st_size
    pq.write_table(truth_table(topology, truth), out / "truth.parquet")
    gen_inventory.write(out / "inventory", topology)
    sizes |= {"seed": args.seed, "pods": topology.pods, "hours": args.hours, "start": START}
    (out / "meta.json").write_text(json.dumps(sizes, indent=1) + "\n")
    return sizes


def main() -> None:
    """Read the flags and generate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pods", type=int, default=50_000)
    parser.add_argument("--prefixes", type=int, default=10_000)
    parser.add_argument("--conversations", type=int, default=0, help="default: rows / 20")
    parser.add_argument("--hours", type=int, default=2)
    parser.add_argument("--slot-minutes", type=int, default=5)
    parser.add_argument("--format", choices=("parquet", "text", "v2"), default="parquet")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    print(json.dumps(generate(args.out, args)))


if __name__ == "__main__":
    main()
