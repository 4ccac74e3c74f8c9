"""Write small flow-log files and read them back as rows of texts and integers."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flowcost.address import pack, unpack
from flowcost.sources.discover import describe
from flowcost.sources.kernel import Kernel, Options
from flowcost.sources.knowledge import Interface, Knowledge, NatGateway
from flowcost.sources.report import FileReport

GIB = 1 << 30
NOON = 1_791_201_600  # 2026-10-05T12:00:00Z

# Everything a row may hold unless a test says otherwise.
ROW = {
    "version": 5,
    "account-id": "123456789010",
    "interface-id": "eni-a",
    "srcaddr": "10.0.1.5",
    "dstaddr": "10.0.2.6",
    "srcport": 40000,
    "dstport": 443,
    "protocol": 6,
    "packets": 10,
    "bytes": 1000,
    "start": NOON,
    "end": NOON + 60,
    "action": "ACCEPT",
    "log-status": "OK",
    "pkt-srcaddr": None,
    "pkt-dstaddr": None,
    "flow-direction": None,
    "instance-id": "i-1",
    "region": "us-east-1",
    "az-id": "use1-az1",
    "vpc-id": "vpc-1",
    "subnet-id": "subnet-1",
    "traffic-path": None,
}


def rows(*changes: dict) -> list[dict]:
    """Return complete rows; packet addresses follow the logged ones unless given."""
    complete = []
    for change in changes:
        row = {**ROW, **change}
        row["pkt-srcaddr"] = row["pkt-srcaddr"] or row["srcaddr"]
        row["pkt-dstaddr"] = row["pkt-dstaddr"] or row["dstaddr"]
        complete.append(row)
    return complete


def text(records: list[dict], names: list[str] | None = None, *, header: bool = True) -> str:
    names = names or list(ROW)
    lines = [" ".join(names)] if header else []
    lines += [" ".join("-" if r[n] is None else str(r[n]) for n in names) for r in records]
    return "\n".join(lines) + "\n"


def write_text(path: Path, records: list[dict], names: list[str] | None = None) -> Path:
    data = text(records, names).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_parquet(
    path: Path,
    records: list[dict],
    names: list[str] | None = None,
    *,
    dash: bool = False,
    hyphens: bool = False,
) -> Path:
    columns = {}
    for name in names or list(ROW):
        values = [record[name] for record in records]
        stored = name if hyphens else name.replace("-", "_")
        if isinstance(ROW.get(name), int) or name == "traffic-path":
            columns[stored] = pa.array(values, pa.int64())
        else:
            columns[stored] = pa.array(
                ["-" if value is None and dash else value for value in values], pa.string()
            )
    pq.write_table(pa.table(columns), path)
    return path


def read(
    path: Path, knowledge: Knowledge | None = None, **options: object
) -> tuple[list[dict], FileReport]:
    """Return the flows of a file, sorted, and its report."""
    file = describe(path.as_posix(), path, size=path.stat().st_size, version="1")
    assert file is not None
    kernel = Kernel(knowledge or Knowledge(), Options(**options))
    try:
        partial = kernel.partial(file)
    finally:
        kernel.close()
    found = partial.table.to_pylist()
    for row in found:
        row["local"] = unpack(row.pop("local_address"))
        row["remote"] = unpack(row.pop("remote_address"))
        row["start"] = int(row["window_start"].timestamp()) if row["window_start"] else None
    found.sort(key=lambda row: (row["window_start"], row["direction"], row["local"], row["remote"]))
    return found, partial.report


def interface(name: str, *addresses: str, kind: str = "interface", forwards: bool = False):
    blocks = tuple((pack(a), pack(a)) for a in addresses)
    return Interface(id=name, blocks=blocks, type=kind, forwards=forwards)


def nat(name: str, interfaces: tuple[str, ...], *addresses: str, regional: bool = False):
    return NatGateway(
        id=name,
        interfaces=frozenset(interfaces),
        addresses=frozenset(pack(a) for a in addresses),
        regional=regional,
    )


def brief(flows: list[dict]) -> list[tuple[str, str, str, int]]:
    """Return (direction, local, remote, bytes) of each flow."""
    return [(f["direction"], f["local"], f["remote"], f["bytes"]) for f in flows]
