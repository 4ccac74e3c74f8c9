"""Partial aggregates kept beside the ledger: one per log file, written once, merged at will.

A partial is named by its file and content version, so reading the same file again finds it there,
and an hour can be attributed anew when a late file arrives without reading the others again. Its
entry (a JSON file) is written after it: an interrupted run leaves no entry without a partial.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from flowcost.ledger import Input
from flowcost.sources.kernel import Kernel, Options
from flowcost.sources.knowledge import Knowledge
from flowcost.sources.report import FileReport

if TYPE_CHECKING:
    from flowcost.sources.discover import LogFile


class Entry(Struct, frozen=True, kw_only=True):
    """A log file that was read.

    `key` identifies the file wherever it was copied to; `digest` its content and how it was
    read. `hours` are the UTC hours (Unix seconds) that it has flows in, with their flow counts.
    """

    key: str
    name: str
    digest: str
    partial: str
    hours: dict[int, int]
    report: FileReport

    @property
    def input(self) -> Input:
        """Return what a partition's manifest says of this file."""
        return Input(self.key, self.digest)


class Shelf:
    """The folder of partials and their entries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        entries = (
            msgspec.json.decode(path.read_bytes(), type=Entry)
            for path in sorted(folder.glob("*.json"))
        )
        self.entries = {entry.key: entry for entry in entries}

    def unread(self, files: Iterable[LogFile], options: Options) -> list[LogFile]:
        """Return the files that have no entry for their present content and options."""
        return [
            file
            for file in files
            if file.key not in self.entries
            or self.entries[file.key].digest != _digest(file, options)
        ]

    def read(
        self,
        files: Sequence[LogFile],
        knowledge: Knowledge,
        options: Options,
        *,
        workers: int,
        done: Callable[[Entry], None],
    ) -> None:
        """Read `files`, `workers` at a time, one connection each; call `done` per file."""
        free: SimpleQueue[Kernel] = SimpleQueue()
        kernels = [Kernel(knowledge, options) for _ in range(min(workers, len(files)))]
        for kernel in kernels:
            free.put(kernel)

        def one(file: LogFile) -> Entry:
            kernel = free.get()
            try:
                return self._read(kernel, file, options)
            finally:
                free.put(kernel)

        try:
            with ThreadPoolExecutor(max_workers=workers) as pool:
                for entry in pool.map(one, files):
                    self._keep(entry)
                    done(entry)
        finally:
            for kernel in kernels:
                kernel.close()

    def _read(self, kernel: Kernel, file: LogFile, options: Options) -> Entry:
        digest = _digest(file, options)
        name = hashlib.sha256(f"{file.key}\0{digest}".encode()).hexdigest()[:32]
        path = self.folder / f"{name}.parquet"
        partial = kernel.partial(file, path)
        hours = kernel.con.execute(
            "SELECT epoch(date_trunc('hour', window_start))::BIGINT AS hour, count(*)"
            " FROM read_parquet(?) GROUP BY ALL ORDER BY ALL",
            [str(path)],
        ).fetchall()
        return Entry(
            key=file.key,
            name=file.name,
            digest=digest,
            partial=f"{name}.parquet",
            hours=dict(hours),
            report=partial.report,
        )

    def _keep(self, entry: Entry) -> None:
        """Write the entry; the partial of an earlier content of the file goes."""
        before = self.entries.get(entry.key)
        path = (self.folder / entry.partial).with_suffix(".json")
        draft = path.with_suffix(".partly")
        draft.write_bytes(msgspec.json.encode(entry))
        draft.replace(path)
        self.entries[entry.key] = entry
        if before and before.partial != entry.partial:
            (self.folder / before.partial).with_suffix(".json").unlink(missing_ok=True)
            (self.folder / before.partial).unlink(missing_ok=True)

    def partials(self) -> list[Path]:
        """Return every partial that holds flows."""
        return [
            self.folder / self.entries[key].partial
            for key in sorted(self.entries)
            if self.entries[key].hours
        ]

    def by_hour(self) -> dict[datetime, list[Entry]]:
        """Return which entries have flows in which hour, both in order."""
        found: dict[int, list[Entry]] = {}
        for key in sorted(self.entries):
            for hour in self.entries[key].hours:
                found.setdefault(hour, []).append(self.entries[key])
        return {datetime.fromtimestamp(hour, UTC): found[hour] for hour in sorted(found)}


def _digest(file: LogFile, options: Options) -> str:
    how = msgspec.json.encode((file.version, options.nat_filter, options.log_format))
    return hashlib.sha256(how).hexdigest()[:32]
