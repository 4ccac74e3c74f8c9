"""What agents posted, kept by the hour: partials that an hour's ledger is made from.

An hour is a folder `.run/agents/tenant=T/hour=2026-11-20T10/` of Parquet parts and an `index.json`
that names them and every segment in them. The index is replaced in one rename after its parts are
durable: what it does not name does not exist, and a segment it names is not folded in again. So
the hour is a set of segments, whatever the order, the batching, the repeats and the crashes.

Three kinds of part, all made from the same segments:

- `flows`: rows as posted, for per-minute answers and for addresses that changed hands;
- `sums`: rows summed over the hour, which is all that attribution reads otherwise;
- `seen`: who agents said their own ends were.

Parts of one level are merged into one of the next when there are many, so that an hour is a few
files, and the work to keep it so is the logarithm of what is posted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct
from msgspec.structs import replace

from flowcost import clock, durable
from flowcost.clock import HOUR
from flowcost.errors import LedgerError
from flowcost.ledger import Input
from flowcost.pipeline.parts import Part, combined, join_runs
from flowcost.sources import segments
from flowcost.sources.segments import Received

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

INDEX = "index.json"
AGENTS = "agents"  # in a manifest: the input that stands for the segments
DROPPED = "dropped"  # of a tenant: the end of the newest hour that was dropped
VERSION = 1
FOLDER = Path(".run", "agents")
STRAY_S = 600  # a file that no index names may still be read for so long

# kind -> (parts of one level that are merged, levels)
MERGES = {"flows": (16, 1), "sums": (4, 16), "seen": (4, 16)}


class Stream(Struct, frozen=True, kw_only=True):
    """The segments of one agent's epoch: `runs` are sequences, both ends included."""

    cluster: str
    node: str
    boot: str
    epoch: int
    window_end: int
    runs: tuple[tuple[int, int], ...]


class Index(Struct, frozen=True, kw_only=True):
    """An hour of one tenant. `digest` stands for its set of segments (see `Received`).

    `expired` is set when its `flows` have outlived their retention.
    """

    version: int = VERSION
    tenant: str
    hour: datetime
    segments: int = 0
    digest: str = "0"
    next: int = 1
    streams: tuple[Stream, ...] = ()
    parts: tuple[Part, ...] = ()
    expired: bool = False

    def of(self, kind: str) -> list[Part]:
        """Return the parts of one kind."""
        return [part for part in self.parts if part.kind == kind]

    @property
    def input(self) -> Input:
        """Return what a partition's manifest says of the hour's segments."""
        return input_of(self.segments, int(self.digest, 16))


def input_of(count: int, total: int) -> Input:
    """Return what stands in a manifest for `count` segments whose fingerprints sum to `total`."""
    return Input(AGENTS, f"{count}-{total % (1 << 256):064x}")


def count_of(one: Input) -> int:
    """Return of how many segments an input of `input_of` is."""
    return int(one.digest.partition("-")[0])


class AgentShelf:
    """The hours of all tenants below one ledger; one process writes, any reads."""

    def __init__(self, ledger: Path) -> None:
        self.root = ledger / FOLDER

    def hours(self, tenant: str) -> list[datetime]:
        """Return the hours of a tenant, in order."""
        found = self._of(tenant).glob(f"hour=*/{INDEX}")
        return sorted(_hour_of(path.parent.name) for path in found)

    def tenants(self) -> list[str]:
        """Return the tenants, in order."""
        folders = self.root.glob("tenant=*")
        return sorted(unquote(path.name.removeprefix("tenant=")) for path in folders)

    def index(self, tenant: str, hour: datetime) -> Index | None:
        """Return an hour, or None if nothing was posted for it.

        Raises:
            LedgerError: the index is not one of this version.
        """
        path = self.folder(tenant, hour) / INDEX
        try:
            found = msgspec.json.decode(path.read_bytes(), type=Index)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise LedgerError(
                f"{path}: not the index of an hour ({error})",
                hint="restore the file from a backup; without it the hour cannot be made again",
            ) from None
        if found.version != VERSION:
            raise LedgerError(
                f"{path}: version {found.version}, this Flowcost reads {VERSION}",
                hint="use the Flowcost version that wrote it",
            )
        return found

    def folder(self, tenant: str, hour: datetime) -> Path:
        """Return the folder of an hour."""
        return self._of(tenant) / f"hour={hour:%Y-%m-%dT%H}"

    def _of(self, tenant: str) -> Path:
        return self.root / f"tenant={quote(tenant, safe='')}"

    def paths(self, index: Index, kind: str) -> list[Path]:
        """Return the files of one kind of an hour."""
        folder = self.folder(index.tenant, index.hour)
        return [folder / part.name for part in index.of(kind)]

    def receipts(self) -> Iterator[tuple[str, Stream]]:
        """Yield every stream of every hour with its tenant."""
        for tenant in self.tenants():
            for hour in self.hours(tenant):
                index = self.index(tenant, hour)
                for stream in index.streams if index else ():
                    yield tenant, stream

    def fold(
        self, con: DuckDBPyConnection, tenant: str, hour: datetime, received: Sequence[Received]
    ) -> Index:
        """Take segments of one hour into it, durably, and return the hour as it is then.

        Segments that it has already are left out.

        Raises:
            LedgerError: the hour's index is damaged.
            OSError: the disk is full or refuses; the hour is as it was.
        """
        folder = self.folder(tenant, hour)
        folder.mkdir(parents=True, exist_ok=True)
        index = self.index(tenant, hour) or Index(tenant=tenant, hour=hour)
        fresh = _fresh(index, received)
        if not fresh:
            return index
        index = self._append(con, index, fresh)
        for kind in MERGES:
            index = self._merge(con, index, kind)
        self._write(index)
        _sweep(folder, index)
        return index

    def expire(self, con: DuckDBPyConnection, index: Index, exact: str) -> None:
        """Drop the rows as posted; `exact` is a relation that tells all that attribution needs."""
        part = self._copied(con, index, "sums", exact)
        kept = [*index.of("seen"), part]
        changed = replace(index, next=index.next + 1, parts=tuple(kept), expired=True)
        self._write(changed)
        _sweep(self.folder(index.tenant, index.hour), changed, after_s=0)

    def dropped_before(self, tenant: str) -> datetime:
        """Return up to where hours of a tenant were dropped: none before may be posted again."""
        try:
            return clock.parse(self._dropped(tenant).read_text())
        except FileNotFoundError:
            return clock.EARLIEST

    def _dropped(self, tenant: str) -> Path:
        return self._of(tenant).joinpath(DROPPED)

    def drop(self, tenant: str, hour: datetime) -> None:
        """Remove an hour, for good: that it is gone is written first, and its index goes next."""
        if hour + HOUR > self.dropped_before(tenant):
            durable.replace(self._dropped(tenant), clock.iso(hour + HOUR).encode())
        folder = self.folder(tenant, hour)
        (folder / INDEX).unlink(missing_ok=True)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()

    # -- one hour ----------------------------------------------------------------------------------

    def _append(self, con: DuckDBPyConnection, index: Index, fresh: Sequence[Received]) -> Index:
        """Write the parts of new segments."""
        rows, ends = segments.flows(fresh), segments.seen(fresh)
        parts = [*index.parts, self._written(index, rows)]
        for kind, table, query in (("sums", rows, segments.SUM), ("seen", ends, segments.SUM_SEEN)):
            con.register("incoming", table)
            parts.append(self._copied(con, index, kind, query.format("incoming")))
            con.unregister("incoming")
        total = int(index.digest, 16) + sum(one.fingerprint for one in fresh)
        return replace(
            index,
            next=index.next + 1,
            parts=tuple(parts),
            segments=index.segments + len(fresh),
            digest=f"{total % (1 << 256):x}",
            streams=_with(index.streams, fresh),
        )

    def _merge(self, con: DuckDBPyConnection, index: Index, kind: str) -> Index:
        """Merge parts of one level while there are enough of them."""
        fan, levels = MERGES[kind]
        for level in range(levels):
            same = [part for part in index.of(kind) if part.level == level]
            if len(same) < fan:
                continue
            folder = self.folder(index.tenant, index.hour)
            paths = [folder / part.name for part in same]
            if kind == "flows":
                name = f"{kind}-{index.next}.parquet"
                made = combined(paths, folder / name, segments.SCHEMA, level=level + 1)
            else:
                query = segments.SUM if kind == "sums" else segments.SUM_SEEN
                source = query.format(scan(paths))
                made = self._copied(con, index, kind, source, level=level + 1)
            kept = tuple(part for part in index.parts if part not in same)
            index = replace(index, next=index.next + 1, parts=(*kept, made))
        return index

    def _written(self, index: Index, table: pa.Table) -> Part:
        path = self.folder(index.tenant, index.hour) / f"flows-{index.next}.parquet"
        pq.write_table(table, path, compression="zstd")
        durable.sync(path)
        return Part(kind="flows", name=path.name, level=0, rows=table.num_rows)

    def _copied(
        self, con: DuckDBPyConnection, index: Index, kind: str, query: str, *, level: int = 0
    ) -> Part:
        path = self.folder(index.tenant, index.hour) / f"{kind}-{index.next}.parquet"
        quoted = str(path).replace("'", "''")
        rows = con.execute(
            f"COPY ({query}) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)"
        ).fetchall()[0][0]
        durable.sync(path)
        return Part(kind=kind, name=path.name, level=level, rows=rows)

    def _write(self, index: Index) -> None:
        folder = self.folder(index.tenant, index.hour)
        durable.sync(folder)
        durable.replace(folder / INDEX, msgspec.json.encode(index))


def scan(paths: Iterable[Path]) -> str:
    """Return the relation of Parquet files."""
    names = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
    return f"read_parquet([{names}], hive_partitioning = false)"


def _fresh(index: Index, received: Sequence[Received]) -> list[Received]:
    """Return the segments that the hour has not, each once."""
    had = {(one.cluster, one.node, one.boot, one.epoch): one.runs for one in index.streams}
    fresh: dict[tuple[str, str, str, int, int], Received] = {}
    for one in received:
        key = (one.cluster, one.segment.node, one.segment.boot, one.segment.epoch)
        sequence = one.segment.sequence
        if not any(first <= sequence <= last for first, last in had.get(key, ())):
            fresh.setdefault((*key, sequence), one)
    return [fresh[key] for key in sorted(fresh)]


def _with(streams: Sequence[Stream], fresh: Sequence[Received]) -> tuple[Stream, ...]:
    """Return the streams with the sequences of `fresh`."""
    by_key = {(one.cluster, one.node, one.boot, one.epoch): one for one in streams}
    added: dict[tuple[str, str, str, int], list[int]] = {}
    ends: dict[tuple[str, str, str, int], int] = {}
    for one in fresh:
        key = (one.cluster, one.segment.node, one.segment.boot, one.segment.epoch)
        added.setdefault(key, []).append(one.segment.sequence)
        ends[key] = max(ends.get(key, 0), one.segment.window_end)
    for key, sequences in added.items():
        before = by_key.get(key)
        cluster, node, boot, epoch = key
        by_key[key] = Stream(
            cluster=cluster,
            node=node,
            boot=boot,
            epoch=epoch,
            window_end=max(ends[key], before.window_end if before else 0),
            runs=join_runs(before.runs if before else (), sequences),
        )
    return tuple(by_key[key] for key in sorted(by_key))


def _sweep(folder: Path, index: Index, *, after_s: int = STRAY_S) -> None:
    """Delete what the index does not name, once nobody can be reading it any more."""
    named = {INDEX, *(part.name for part in index.parts)}
    edge = time.time() - after_s
    with os.scandir(folder) as entries:
        strays = [e.path for e in entries if e.name not in named and e.stat().st_mtime <= edge]
    for path in strays:
        Path(path).unlink(missing_ok=True)


def _hour_of(name: str) -> datetime:
    return datetime.strptime(name, "hour=%Y-%m-%dT%H").replace(tzinfo=UTC)
