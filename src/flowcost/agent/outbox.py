"""Segments on disk until the server has them.

One file per segment, `<epoch>-<sequence>-<start>.out`: the body as it is posted, msgpack deflated.
A file leaves only when the server has acknowledged it, when it was replaced by files with the same
bytes in them, or for `quarantine/` when the server refuses what it says.

A replacement is all or nothing, whatever is interrupted: the new files are written as `.new` and
named after what they replace (`…@<source>.new`, for a merged run `…@<first>+<last>.new`). Removing
the source is the moment it holds; until then the next start throws the `.new` files away, and
after it the next start finishes the work. The source is a drained segment of the spool, or files
of this outbox. A merged run is one file under the identity of its first; parts of one source have
identities of their own.

Only the two oldest files can be in doubt (posted, the answer lost), because posting is in order:
they are never merged. `epoch` is new in each process, so that no identity is used twice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from flowcost import durable, segment
from flowcost.agent.spool import counted, set_aside
from flowcost.errors import NotPermittedError
from flowcost.segment import Segment

IN_DOUBT = 2


class Entry(NamedTuple):
    """A segment in the outbox. `name` sorts by age, `start` is of its window, in Unix seconds."""

    name: str
    start: int
    size: int

    @property
    def identity(self) -> tuple[int, int]:
        """Return (epoch, sequence) of the segment."""
        epoch, sequence, _ = self.name.split("-")
        return int(epoch), int(sequence)


class Outbox:
    """A directory of segments, used by the thread that drains and the thread that posts.

    `spool` is the directory of the drained segments. `limit_bytes` bounds what the outbox takes,
    quarantine included. `epoch` is the time in nanoseconds.

    Raises:
        NotPermittedError: the directory cannot be made or written.
    """

    def __init__(self, directory: Path, spool: Path, *, epoch: int, limit_bytes: int) -> None:
        self.directory, self.limit_bytes = directory, limit_bytes
        self.quarantine = directory / "quarantine"
        self._spool = spool
        self._lock = threading.RLock()
        self._held: list[Path] = []  # their source is gone, but the disk has not said so
        self._reserved: set[str] = set()
        self._sequence = 0
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._recover()
            found = [_entry(path) for path in sorted(directory.glob("*.out"))]
            self._aside = sum(path.stat().st_size for path in self.quarantine.glob("*"))
        except OSError as error:
            raise _refused(directory, error) from None
        self._entries = {entry.name: entry for entry in found}
        last = max((int(entry.name.partition("-")[0]) for entry in found), default=0)
        self.epoch = max(epoch, last + 1)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Return the bytes on disk."""
        with self._lock:
            return self._aside + sum(entry.size for entry in self._entries.values())

    @property
    def full(self) -> bool:
        """Return whether the bound is reached."""
        return self.size >= self.limit_bytes

    def entries(self) -> list[Entry]:
        """Return what waits, oldest first."""
        with self._lock:
            return [self._entries[name] for name in sorted(self._entries)]

    def next_sequence(self) -> int:
        """Return a sequence number that no segment of this epoch has."""
        with self._lock:
            self._sequence += 1
            return self._sequence

    def replacing(self, *sources: Path) -> Replacement:
        """Begin to replace files, the first of which may be a drained segment of the spool."""
        return Replacement(self, sources)

    def settle(self, staged: list[Path], sources: Sequence[Path]) -> None:
        """Let `staged` take the place of `sources`; `Replacement.commit` calls this.

        Raises:
            OSError: the disk refuses. While the first source is there, nothing has changed; once
                it is gone, the next call, or the next start, finishes the work.
        """
        with self._lock:
            if staged:
                durable.sync(self.directory)
            sources[0].unlink()
            self._held += staged
            staged.clear()
            for path in sources:
                self._entries.pop(path.stem, None)
            for path in sources[1:]:
                path.unlink()
            durable.sync(sources[0].parent)
            while self._held:
                entry = _entry(_promoted(self._held[0]))
                self._entries[entry.name] = entry
                del self._held[0]

    def path(self, entry: Entry) -> Path:
        """Return the file of an entry."""
        return self.directory / f"{entry.name}.out"

    def body(self, entry: Entry) -> bytes:
        """Return what is to be posted."""
        return self.path(entry).read_bytes()

    def read(self, entry: Entry) -> Segment:
        """Return the segment of an entry.

        Raises:
            SourceError: it is damaged.
        """
        name = str(self.path(entry))
        return segment.decode(segment.inflate(self.body(entry), name), name)

    def acknowledged(self, entry: Entry) -> None:
        """Remove a segment that the server has."""
        with self._lock:
            self.path(entry).unlink(missing_ok=True)
            durable.sync(self.directory)
            self._entries.pop(entry.name, None)

    def refused(self, entry: Entry) -> None:
        """Set a segment aside that the server does not take, or that cannot be read."""
        with self._lock:
            set_aside(self.path(entry), self.quarantine)
            self._entries.pop(entry.name, None)
            self._aside += entry.size

    def set_aside(self) -> int:
        """Return how many segments are in quarantine."""
        return counted(self.quarantine)

    def postable(self) -> list[Entry]:
        """Return what may be posted now, oldest first: what stands before anything reserved."""
        with self._lock:
            return list(takewhile(lambda one: one.name not in self._reserved, self.entries()))

    @contextmanager
    def reserved(self) -> Iterator[list[Entry]]:
        """Keep the poster from what may be merged, given oldest first, while this is held."""
        with self._lock:
            found = self.entries()[IN_DOUBT:]
            self._reserved = {entry.name for entry in found}
        try:
            yield found
        finally:
            with self._lock:
                self._reserved.clear()

    def _recover(self) -> None:
        for leftover in self.directory.glob("*.tmp"):
            leftover.unlink()
        for path in sorted(self.directory.glob("*.new")):
            first, _, last = path.stem.partition("@")[2].partition("+")
            if (self.directory / first).exists() or (self._spool / first).exists():
                path.unlink()
                continue
            for merged in self.directory.glob("*.out"):
                if first < merged.name <= last:
                    merged.unlink()
            _promoted(path)
        durable.sync(self.directory)


class Replacement:
    """Segments that are to stand for `sources`: all of them or none."""

    def __init__(self, outbox: Outbox, sources: tuple[Path, ...]) -> None:
        self._outbox, self._sources = outbox, sources
        last = f"+{sources[-1].name}" if len(sources) > 1 else ""
        self._named = sources[0].name + last
        self._staged: list[Path] = []

    def stage(self, posted: Segment) -> None:
        """Write a segment; it does not count before `commit`.

        Raises:
            NotPermittedError: the disk is full or refuses; nothing has changed.
        """
        stem = f"{posted.epoch:020d}-{posted.sequence:010d}-{posted.window_start // 1_000_000}"
        path = self._outbox.directory / f"{stem}@{self._named}.new"
        temporary = path.with_suffix(".tmp")
        self._staged.append(path)
        try:
            with temporary.open("wb") as file:
                file.write(segment.deflate(segment.encode(posted)))
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        except OSError as error:
            self.abandon()
            temporary.unlink(missing_ok=True)
            raise _refused(self._outbox.directory, error) from None

    def commit(self) -> None:
        """Let what is staged take the place of the sources.

        Raises:
            NotPermittedError: the disk refuses; nothing has changed, or the next commit goes on.
        """
        try:
            self._outbox.settle(self._staged, self._sources)
        except OSError as error:
            self.abandon()
            raise _refused(self._outbox.directory, error) from None

    def abandon(self) -> None:
        """Throw away what is staged; without effect after `commit`."""
        for path in self._staged:
            path.unlink(missing_ok=True)
        self._staged.clear()


def _promoted(path: Path) -> Path:
    return path.rename(path.with_name(path.name.partition("@")[0] + ".out"))


def _entry(path: Path) -> Entry:
    return Entry(path.stem, int(path.stem.rpartition("-")[2]), path.stat().st_size)


def _refused(directory: Path, error: OSError) -> NotPermittedError:
    return NotPermittedError(
        f"outbox {directory}: {error.strerror}",
        hint="What is counted stays in the spool or in the kernel until it can be written.",
    )
