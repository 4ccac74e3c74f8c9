"""Which partitions there are: manifests by hour, read once and remembered.

A manifest is replaced whole, so a file that has not changed (inode, time, size) says what it said;
listing a month of hours costs a look at each, not a parse.
"""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from flowcost import clock
from flowcost.ledger.partition import MANIFEST, Manifest, Partition, read_manifest


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

    def held(
        self, start: datetime | None = None, end: datetime | None = None, *, tenant: str = ""
    ) -> list[Held]:
        """Return the partitions whose hour lies in `[start, end)`, by tenant, cluster and hour."""
        first = clock.hour_of(start) if start else None
        found = []
        for folder in self._days(first, end, tenant):
            for hour in _names(folder, "hour="):
                held = self._read(Path(folder, hour))
                if held is None:
                    continue
                instant = held.partition.hour
                if (first is None or instant >= first) and (end is None or instant < end):
                    found.append(held)
        return found

    def _days(self, start: datetime | None, end: datetime | None, tenant: str) -> list[str]:
        """Return the day folders that can hold hours of `[start, end)`."""
        found = []
        for whose in _names(self.root, "tenant="):
            for cluster in _names(f"{self.root}/{whose}", "cluster="):
                below = f"{self.root}/{whose}/{cluster}"
                for day in _names(below, "day="):
                    partition = Partition.of(Path(whose, cluster, day, "hour=00"))
                    if tenant and partition.tenant != tenant:
                        break
                    if (start and partition.hour + clock.DAY <= start) or (
                        end and partition.hour >= end
                    ):
                        continue
                    found.append(f"{below}/{day}")
        return found

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
