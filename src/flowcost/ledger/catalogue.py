"""Which partitions there are: manifests by hour, read once and remembered.

A manifest is replaced whole, so a file that has not changed (inode, time, size) says what it said.
Every writer renews the mark at the root when it is done; while the mark stays, a question lists
nothing again (but every ten seconds, for a writer that died before it could, or a hand that deleted
a folder). The mark is an empty file, so that equal ledgers are equal files.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from flowcost import clock
from flowcost.ledger.partition import MANIFEST, Manifest, Partition, read_manifest

MARK = ".changed"
RELIST_NS = 10_000_000_000


class Held(Struct, frozen=True):
    """A partition that a ledger holds; `digest` is its content's, equal only for equal files."""

    folder: Path
    partition: Partition
    manifest: Manifest
    digest: str

    def file(self, table: str) -> Path | None:
        """Return the Parquet file of a table, or None where it has no rows."""
        entry = self.manifest.files[table]
        return self.folder / entry.name if entry.rows else None


class Catalogue:
    """The partitions below a root; safe to ask from several threads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, tuple[tuple[int, int, int], Held]] = {}
        self._listed: tuple[tuple[int, int], int, list[Held]] | None = None

    def held(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        tenant: str = "",
        listed: bool = False,
    ) -> list[Held]:
        """Return the partitions whose hour lies in `[start, end)`, by tenant, cluster and hour.

        `listed` looks at the folders whatever the mark says: for who decides what is to be done.
        """
        first = clock.hour_of(start) if start else None
        return [
            held
            for held in self._all(listed=listed)
            if (not tenant or held.partition.tenant == tenant)
            and (first is None or held.partition.hour >= first)
            and (end is None or held.partition.hour < end)
        ]

    def _all(self, *, listed: bool) -> list[Held]:
        """Return every partition; the mark is read first, so a later writer is not missed."""
        mark, now = self._mark(), time.monotonic_ns()
        before = self._listed
        fresh = before is not None and before[0] == mark and now - before[1] < RELIST_NS
        if before and fresh and not listed:
            return before[2]
        found = [
            held
            for whose in _names(self.root, "tenant=")
            for cluster in _names(f"{self.root}/{whose}", "cluster=")
            for day in _names(f"{self.root}/{whose}/{cluster}", "day=")
            for hour in _names(f"{self.root}/{whose}/{cluster}/{day}", "hour=")
            if (held := self._read(Path(self.root, whose, cluster, day, hour)))
        ]
        self._listed = mark and (mark, now, found)
        return found

    def _mark(self) -> tuple[int, int] | None:
        try:
            found = (self.root / MARK).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def mark(self) -> None:
        """Renew the mark; writers call it when they have changed a partition."""
        path, now = self.root / MARK, time.time_ns()
        with suppress(OSError):  # a full disk: readers list again after `RELIST_NS`
            path.touch()
            os.utime(path, ns=(now, now))  # to the nanosecond; the kernel's own step is coarser

    def _read(self, folder: Path) -> Held | None:
        path = f"{folder}/{MANIFEST}"
        try:
            now = os.stat(path)  # noqa: PTH116 - a month is 720 of these
        except FileNotFoundError:
            return None
        mark = now.st_ino, now.st_mtime_ns, now.st_size
        known = self._known.get(path)
        if known and known[0] == mark:
            return known[1]
        manifest = read_manifest(Path(path))
        digest = hashlib.sha256(msgspec.json.encode(manifest.files)).hexdigest()[:32]
        held = Held(folder, Partition.of(folder), manifest, digest)
        self._known[path] = mark, held
        return held


def _names(folder: str | Path, prefix: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.startswith(prefix))  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return []
