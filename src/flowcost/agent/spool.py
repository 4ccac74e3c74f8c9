"""Drained segments on disk, before the kernel forgets them.

One file per segment, named `<boot>-<epoch>-<sequence>` with a suffix that is its state:

- `.tmp` is being written, and is thrown away by the next start;
- `.open` is durable, while the kernel may still hold the same counters: they are to be deleted
  there, not written again;
- `.seg` is durable and the kernel no longer holds it: it may be shipped.

A file moves from one state to the next by rename, with the file and then its directory synced,
so after a crash at any instant each byte is in exactly one place. A file that cannot be read goes
to `quarantine/`, for a human: it stops none of the others.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from flowcost import durable
from flowcost.agent.drained import Drained, decode, encode
from flowcost.errors import NotPermittedError, SourceError

LOG = logging.getLogger("flowcost.agent")


class Spool:
    """A directory of segments, held by one process at a time.

    Raises:
        NotPermittedError: the directory cannot be made or written, or another agent holds it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.quarantine = directory / "quarantine"
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise NotPermittedError(
                f"spool {directory}: {error.strerror}",
                hint="Name a directory the agent may write, on a disk, not in memory.",
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise NotPermittedError(
                f"spool {directory} is held by another agent",
                hint="Stop it, or give this one its own spool and bpffs directory.",
            ) from None
        for leftover in directory.glob("*.tmp"):
            leftover.unlink()

    def close(self) -> None:
        """Let go of the directory; segments stay."""
        os.close(self._lock)

    def write(self, drained: Drained) -> Path:
        """Write a segment durably in state `.open` and return its path.

        Raises:
            NotPermittedError: the disk is full or refuses.
        """
        name = f"{drained.boot}-{drained.epoch}-{drained.sequence:010d}"
        temporary = self.directory / f"{name}.tmp"
        path = self.directory / f"{name}.open"
        try:
            with temporary.open("wb") as file:
                file.write(encode(drained))
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
            durable.sync(self.directory)
        except OSError as error:
            raise NotPermittedError(
                f"spool {self.directory}: {error.strerror}",
                hint="The counters stay in the kernel until they can be written.",
            ) from None
        return path

    def settle(self, path: Path) -> Path:
        """Move an `.open` segment to `.seg`: the kernel has forgotten it."""
        settled = path.with_suffix(".seg")
        path.rename(settled)
        durable.sync(self.directory)
        return settled

    def open_segments(self) -> list[tuple[Path, Drained]]:
        """Return the segments a crash left `.open`, oldest name first."""
        return list(self._readable(sorted(self.directory.glob("*.open"))))

    def pending(self) -> Iterator[tuple[Path, Drained]]:
        """Yield the shippable segments, oldest first; damaged ones are set aside."""
        paths = self.directory.glob("*.seg")
        return self._readable(sorted(paths, key=lambda p: (p.stat().st_mtime_ns, p)))

    def _readable(self, paths: list[Path]) -> Iterator[tuple[Path, Drained]]:
        for path in paths:
            try:
                drained = self.read(path)
            except SourceError as error:
                LOG.warning("%s\n  set aside in %s", error, self.quarantine)
                set_aside(path, self.quarantine)
                continue
            yield path, drained

    def read(self, path: Path) -> Drained:
        """Return the segment of one file.

        Raises:
            SourceError: it is damaged, or the disk cannot read it.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SourceError(f"{path}: {error.strerror}") from None
        return decode(data, str(path))

    def damaged(self) -> int:
        """Return how many files were set aside."""
        return counted(self.quarantine)

    def remove(self, path: Path) -> None:
        """Delete a segment that has been acknowledged, or consumed where no server is."""
        path.unlink()
        durable.sync(self.directory)

    def size(self) -> int:
        """Return the bytes of all segments on disk."""
        return sum(path.stat().st_size for path in self.directory.glob("*.*"))


def set_aside(path: Path, quarantine: Path) -> None:
    """Move a file where nothing reads it but a human."""
    quarantine.mkdir(mode=0o700, exist_ok=True)
    path.rename(quarantine / path.name)


def counted(quarantine: Path) -> int:
    """Return how many files were set aside there."""
    return sum(1 for _ in quarantine.iterdir()) if quarantine.is_dir() else 0
