"""The store: hourly Parquet partitions, written whole or not at all.

Enters: four tables per hour (charges, identities, verdicts, rates) with the columns of `schema`,
as queries or as Arrow tables. Leaves: files named by content and a manifest that is replaced in one
rename. Same input, same bytes (`encode`), and a partition whose content has not changed is not
touched. The law it keeps: no byte or money column is ever a float, whatever the engine computed.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from flowcost import clock, durable
from flowcost.errors import LedgerError
from flowcost.ledger.attach import attach_held
from flowcost.ledger.catalogue import Held
from flowcost.ledger.encode import Rows
from flowcost.ledger.engine import MEMORY, SPILL, Engine
from flowcost.ledger.levels import FINEST, Detail, Shelves
from flowcost.ledger.partition import (
    IDS,
    MANIFEST,
    VERSION,
    Input,
    Manifest,
    Partition,
    read_manifest,
)
from flowcost.ledger.remembered import Kept, Reduction, Remembered
from flowcost.ledger.tally import Tallies
from flowcost.ledger.writing import Sums, write

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


class Ledger:
    """A folder of partitions.

    A `shared` ledger is a server's: it remembers what it read, and is read for one tenant at a
    time. Asked for all of them it raises ValueError, so that a view which lost its tenant shows
    nothing. `memory` is what the engine that answers questions may take.
    """

    def __init__(self, root: Path, *, shared: bool = False, memory: str = MEMORY) -> None:
        self.root = root
        self.shared = shared
        self.shelves = Shelves(root)
        self.engine = Engine(root / SPILL, memory)
        self._remembered = Remembered(self.engine) if shared else None  # one who asks once need not
        self.tallies = Tallies(self.engine)

    @classmethod
    def open(cls, root: str | Path, *, create: bool = False, memory: str = MEMORY) -> Ledger:
        """Return the ledger at `root`.

        Raises:
            LedgerError: there is no ledger and `create` is false.
        """
        path = Path(root)
        if create:
            path.mkdir(parents=True, exist_ok=True)
        elif not path.is_dir():
            raise LedgerError(
                f"{path}: no ledger there", hint="name an existing folder with --ledger"
            )
        return cls(path, memory=memory)

    def manifests(
        self, start: datetime | None = None, end: datetime | None = None, *, tenant: str = ""
    ) -> list[Manifest]:
        """Return the manifests of all hours in `[start, end)`, in order."""
        self._require(tenant)
        held = self.shelves.hours.held(start, end, tenant=tenant, listed=True)
        return [found.manifest for found in held]

    def _require(self, tenant: str) -> None:
        if self.shared and not tenant:
            raise ValueError("a shared ledger is read for one tenant")

    def manifest(self, partition: Partition) -> Manifest | None:
        """Return the manifest of one hour, or None if the hour is not in the ledger."""
        path = self.root / partition.folder / MANIFEST
        return read_manifest(path) if path.exists() else None

    def put(
        self,
        con: DuckDBPyConnection,
        partition: Partition,
        contents: Mapping[str, str | pa.Table | Rows],
        inputs: Sequence[Input],
    ) -> bool:
        """Write one hour from `contents` (table name -> SELECT or rows); return if it changed.

        Raises:
            LedgerError: an id names two contents, or the hour was pruned. Nothing is written then.
        """
        if self.shelves.retired().has(partition.hour):
            raise LedgerError(
                f"{partition.folder}: was pruned; its hours can no longer change",
                hint="read newer flows, or keep hours longer",
            )
        given = {
            table: con.sql(content).to_arrow_table() if isinstance(content, str) else content
            for table, content in sorted(contents.items())
        }
        folder = self.root / partition.folder
        with self._lock():
            for table, column in IDS.items():
                _check_unique(given[table], column, partition)
            folder.mkdir(parents=True, exist_ok=True)
            sums = Sums()
            files = {
                table: write(folder, table, rows, sums) for table, rows in sorted(given.items())
            }
            manifest = Manifest(
                version=VERSION,
                tenant=partition.tenant,
                cluster=partition.cluster,
                hour=clock.iso(partition.hour),
                inputs=tuple(sorted(inputs)),
                files=files,
                totals=sums.totals,
            )
            before = self.manifest(partition)
            if before == manifest:
                return False
            encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
            durable.replace(folder / MANIFEST, encoded + b"\n")
            _sweep(folder, manifest)
            return True

    def drop(self, partition: Partition) -> None:
        """Remove one hour; the manifest goes first, so a reader never sees half an hour."""
        folder = self.root / partition.folder
        with self._lock():
            (folder / MANIFEST).unlink(missing_ok=True)
            _sweep(folder, None)

    def attach(
        self,
        con: DuckDBPyConnection,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        tenant: str = "",
        detail: Detail = FINEST,
        summed: Reduction | None = None,
    ) -> list[Kept]:
        """Create temporary views `charges identities verdicts rates` over `[start, end)`.

        Dimension views hold each id once. An empty ledger gives empty views. With less `detail`
        than the finest, roll-ups may answer: what they do not tell apart is then empty. `summed`
        is of charges and stands in their place, by that name, in parts that the asker sums up.
        Returns what the views read beside files, to be held as long as they are used.
        """
        self._require(tenant)
        held = self.shelves.chosen(start, end, tenant=tenant, detail=detail)
        return attach_held(con, held, summed=summed, remembered=self._remembered)

    @contextmanager
    def attached(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        tenant: str = "",
        detail: Detail = FINEST,
        summed: Reduction | None = None,
    ) -> Iterator[DuckDBPyConnection]:
        """Attach `[start, end)` to a connection of its own; safe from several threads."""
        con = self.engine.connect()
        try:
            kept = self.attach(con, start, end, tenant=tenant, detail=detail, summed=summed)
            yield con
            del kept
        finally:
            con.close()

    def verify(self) -> list[str]:
        """Return what is wrong: missing, altered or stray files; empty if all is well."""
        wrong = []
        shelves = self.shelves
        for shelf in (shelves.hours, *shelves.rolled.values(), shelves.traffic):
            for held in shelf.held():
                wrong += _wrong(held)
        return wrong

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the ledger for one writer; the kernel frees it when the process dies."""
        with (self.root / ".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                yield
            finally:
                self.shelves.hours.mark()


def _check_unique(given: pa.Table, column: str, partition: Partition) -> None:
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    counts = pc.value_counts(given[column])
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise LedgerError(
            f"{partition.folder}: {column} {twice[0]['values']} stands for two contents",
            hint="report this: a content hash collided",
        )


def _wrong(held: Held) -> list[str]:
    named = {entry.name: entry for entry in held.manifest.files.values()}
    wrong = []
    for name, entry in named.items():
        file = held.folder / name
        if not file.exists():
            wrong.append(f"{file}: missing")
        elif _sha256(file) != entry.sha256:
            wrong.append(f"{file}: content differs from the manifest")
    wrong += [
        f"{file}: not in the manifest"
        for file in sorted(held.folder.iterdir())
        if file.name not in named and file.name != MANIFEST
    ]
    return wrong


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _sweep(folder: Path, manifest: Manifest | None) -> None:
    """Delete what no manifest names: earlier versions and drafts of a crashed writer."""
    if not folder.is_dir():
        return
    keep = {MANIFEST} | {entry.name for entry in manifest.files.values()} if manifest else set()
    for file in folder.iterdir():
        if file.name not in keep:
            file.unlink()
