"""Partial aggregates kept beside the ledger: written once, merged at will.

A partial holds the flows of a log file, or of several small ones; it is named by their names and
content versions. So an hour can be attributed anew when a late file arrives without reading the
others again. Every file has an entry (a JSON file named by the file), written after the partial it
refers to: an interrupted run leaves no entry without a partial. What no entry refers to, the part
of a file that has since changed, does not count.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from flowcost.clock import EARLIEST
from flowcost.ledger import Input
from flowcost.pipeline.reading import Gone, Read, Reader, Task
from flowcost.sources.kernel import Options
from flowcost.sources.knowledge import Knowledge
from flowcost.sources.report import FileReport, Tally

if TYPE_CHECKING:
    from flowcost.sources.discover import LogFile


class Entry(Struct, frozen=True, kw_only=True):
    """A log file that was read.

    `key` identifies the file wherever it was copied to; `digest` its content and how it was
    read. Its flows are those of `part`, one of `parts`, in the file `partial`. `hours` are the
    UTC hours (Unix seconds) that it has flows in, with their flow counts. `late` are the flows of
    hours that had been pruned when it was read: they are booked nowhere.
    """

    key: str
    name: str
    digest: str
    partial: str
    part: int
    parts: int
    hours: dict[int, int]
    report: FileReport
    late: Tally = Tally()

    @property
    def input(self) -> Input:
        """Return what a partition's manifest says of this file."""
        return Input(self.key, self.digest)


def folder_of(ledger: Path) -> Path:
    """Return the folder of the shelf beside a ledger."""
    return ledger / ".run" / "shelf"


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
        self._live: dict[str, set[int]] = defaultdict(set)  # parts that count, by partial
        for entry in self.entries.values():
            self._live[entry.partial].add(entry.part)
        self._dropped: set[str] = set()

    def drop(self, kept_from: datetime) -> None:
        """Remove the partials that have flows of pruned hours only, those before `kept_from`.

        Their files stay known, so that they are not read again.
        """
        limit = int(kept_from.timestamp())
        latest: dict[str, int] = {}
        for entry in self.entries.values():
            if entry.hours:
                latest[entry.partial] = max(latest.get(entry.partial, 0), *entry.hours)
        self._dropped = {name for name, hour in latest.items() if hour < limit}
        for name in self._dropped:
            (self.folder / name).unlink(missing_ok=True)

    def unread(self, files: Iterable[LogFile], options: Options) -> list[LogFile]:
        """Return the files that have no entry for their present content and options.

        A file that could not be read is read again: a full disk is mended without a new version.
        """
        return [file for file in files if not self._has(file, options)]

    def _has(self, file: LogFile, options: Options) -> bool:
        entry = self.entries.get(file.key)
        return (
            entry is not None and entry.digest == _digest(file, options) and not entry.report.error
        )

    def read(
        self,
        files: Sequence[LogFile],
        reader: Reader,
        knowledge: Knowledge,
        options: Options,
        *,
        done: Callable[[], None],
        kept_from: datetime = EARLIEST,
    ) -> list[Gone]:
        """Read `files` with `reader`, call `done` per file; return those that are gone.

        Hours before `kept_from` were pruned.
        """
        tasks = [Task(file, self._partial(file, options)) for file in files]
        gone = []
        for outcome in reader.read(tasks, knowledge, options):
            if isinstance(outcome, Read):
                late = self._late(outcome, kept_from)
                self._keep(_entry(outcome, options, late))
            else:
                gone.append(outcome)
            done()
        return gone

    def _partial(self, file: LogFile, options: Options) -> Path:
        name = hashlib.sha256(f"{file.key}\0{_digest(file, options)}".encode()).hexdigest()[:32]
        return self.folder / f"{name}.parquet"

    def _keep(self, entry: Entry) -> None:
        """Write the entry; the partial of earlier contents goes when nothing refers to it."""
        before = self.entries.get(entry.key)
        name = hashlib.sha256(entry.key.encode()).hexdigest()[:32]
        path = self.folder / f"{name}.json"
        draft = path.with_suffix(".partly")
        draft.write_bytes(msgspec.json.encode(entry))
        draft.replace(path)
        self.entries[entry.key] = entry
        self._live[entry.partial].add(entry.part)
        if before and (before.partial, before.part) != (entry.partial, entry.part):
            self._live[before.partial].discard(before.part)
            if not self._live[before.partial]:
                (self.folder / before.partial).unlink(missing_ok=True)

    def _late(self, read: Read, kept_from: datetime) -> Tally:
        """Return the flows of pruned hours, but of a file that was read before as it is now."""
        before = self.entries.get(read.task.file.key)
        if before and (before.hours, before.report) == (read.hours, read.report):
            return before.late
        limit = int(kept_from.timestamp())
        if not any(hour < limit for hour in read.hours):
            return Tally()
        return _before(read, limit)

    def live(self, entries: Iterable[Entry]) -> dict[Path, frozenset[int] | None]:
        """Return the partials of entries, but dropped ones, and which parts count; None: all."""
        found: dict[Path, frozenset[int] | None] = {}
        whole = {entry.partial: entry.parts for entry in entries}
        for name in sorted(whole.keys() - self._dropped):
            parts = frozenset(self._live[name])
            found[self.folder / name] = None if len(parts) == whole[name] else parts
        return found

    def relation(self, entries: Iterable[Entry]) -> str:
        """Return the SQL relation of the flows in the partials of entries; empty if there are none.

        It has the flows of other files that lie in the same partials, too.
        """
        live = self.live(entries)
        selects = []
        whole = [_quoted(path) for path, parts in live.items() if parts is None]
        if whole:
            selects.append(f"SELECT * FROM read_parquet([{', '.join(whole)}])")
        for path, parts in live.items():
            if parts is not None:
                kept = f"part IN ({', '.join(map(str, sorted(parts)))})"
                selects.append(f"SELECT * FROM read_parquet({_quoted(path)}) WHERE {kept}")
        return f"({' UNION ALL '.join(selects)})" if selects else ""

    def by_hour(self) -> dict[datetime, list[Entry]]:
        """Return which entries have flows in which hour, both in order."""
        found: dict[int, list[Entry]] = {}
        for key in sorted(self.entries):
            for hour in self.entries[key].hours:
                found.setdefault(hour, []).append(self.entries[key])
        return {datetime.fromtimestamp(hour, UTC): found[hour] for hour in sorted(found)}


def _before(read: Read, limit: int) -> Tally:
    """Return the flows of a file that start before an instant (Unix seconds)."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

    table = pq.read_table(
        read.partial,
        columns=["bytes"],
        filters=(pc.field("part") == read.part)
        & (pc.field("window_start") < pa.scalar(limit * 1_000_000, pa.timestamp("us"))),
    )
    return Tally(len(table), pc.sum(table["bytes"]).as_py() or 0)


def _entry(read: Read, options: Options, late: Tally) -> Entry:
    file = read.task.file
    return Entry(
        key=file.key,
        name=file.name,
        digest=_digest(file, options),
        partial=read.partial.name,
        part=read.part,
        parts=read.parts,
        hours=read.hours,
        report=read.report,
        late=late,
    )


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _digest(file: LogFile, options: Options) -> str:
    how = msgspec.json.encode((file.version, options.nat_filter, options.log_format))
    return hashlib.sha256(how).hexdigest()[:32]
