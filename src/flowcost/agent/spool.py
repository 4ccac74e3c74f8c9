"""Drained segments on disk, before the kernel forgets them.

One file per segment, named `<boot>-<epoch>-<sequence>` with a suffix that is its state:

- `.tmp` is being written, and is thrown away by the next start;
- `.open` is durable, while the kernel may still hold the same counters: they are to be deleted
  there, not written again;
- `.seg` is durable and the kernel no longer holds it: it may be shipped.

A file moves from one state to the next by rename, with the file and then its directory synced,
so after a crash at any instant each byte is in exactly one place.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from flowcost.agent.drained import Drained, decode, encode
from flowcost.errors import NotPermittedError


class Spool:
    """A directory of segments, held by one process at a time.

    Raises:
        NotPermittedError: the directory cannot be made or written, or another agent holds it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
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
            self._sync()
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
        self._sync()
        return settled

    def open_segments(self) -> list[Path]:
        """Return the segments a crash left `.open`, oldest name first."""
        return sorted(self.directory.glob("*.open"))

    def pending(self) -> Iterator[tuple[Path, Drained]]:
        """Yield the shippable segments, oldest first.

        Raises:
            SourceError: a file is damaged; it is named and stays where it is.
        """
        for path in sorted(self.directory.glob("*.seg"), key=lambda p: (p.stat().st_mtime_ns, p)):
            yield path, self.read(path)

    def read(self, path: Path) -> Drained:
        """Return the segment of one file."""
        return decode(path.read_bytes(), str(path))

    def remove(self, path: Path) -> None:
        """Delete a segment that has been acknowledged, or consumed where no server is."""
        path.unlink()
        self._sync()

    def size(self) -> int:
        """Return the bytes of all segments on disk."""
        return sum(path.stat().st_size for path in self.directory.glob("*.*"))

    def _sync(self) -> None:
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
