"""One set of counting maps: made, pinned, found again, read, emptied.

A generation is a directory `<layout>-<epoch>` of pinned maps: `layout` is a hash of the maps'
shapes, `epoch` when they were made. Its `ledger` map holds words of ours that must live and
die with the counters: the epoch, the next sequence number, the start of the current window, and
the totals of what was lost before it.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec.structs import astuple

from flowcost.agent import bpf_syscall as bpf
from flowcost.agent.drained import COUNTERS, Drained, Lost, Table
from flowcost.agent.hot import Places
from flowcost.agent.loader import Shape, create_maps

TABLES = ("flows4", "flows6", "overflow")
HOT = "hot"
_LEDGER = struct.Struct("<QQQ5Q")
_FIRST = bytes(4)


def layout_of(shapes: Mapping[str, Shape]) -> str:
    """Return the hash of what must be equal for a set of maps to be used again."""
    text = repr(sorted((name, tuple(shape)) for name, shape in shapes.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Generation:
    """The open maps of one generation, and what their ledger says."""

    def __init__(self, maps: dict[str, int], directory: Path | None) -> None:
        self.maps, self.directory = maps, directory
        self.epoch, self.sequence, self.window_start, *lost = _LEDGER.unpack(
            bpf.map_lookup(maps["ledger"], _FIRST, _LEDGER.size)
        )
        self.lost_before = Lost(*lost)
        # A generation of an earlier release may have no places of its own for flows.
        self._pairs = (*TABLES, HOT) if HOT in maps else TABLES
        self._ids = {
            name: bpf.map_info(maps[name]).id
            for table in self._pairs
            for name in (f"{table}_a", f"{table}_b")
        }
        self._places = {
            name: Places(maps[name]) for name in self._ids if name.startswith(f"{HOT}_")
        }

    @classmethod
    def create(
        cls, shapes: Mapping[str, Shape], *, epoch: int, start: int, parent: Path | None
    ) -> Generation:
        """Make the maps and, below `parent`, their pins; `start` is in Unix microseconds."""
        maps = create_maps(shapes)
        bpf.map_update(maps["ledger"], _FIRST, _LEDGER.pack(epoch, 1, start, *astuple(Lost())))
        directory = None
        if parent is not None:
            directory = parent / f"{layout_of(shapes)}-{epoch}"
            directory.mkdir(mode=0o700)
            for name, descriptor in maps.items():
                bpf.pin(descriptor, str(directory / name))
        return cls(maps, directory)

    @classmethod
    def found(cls, directory: Path) -> Generation | None:
        """Open a pinned generation; one whose maker died before it counted is removed."""
        names = {path.name for path in directory.iterdir()}
        # A reader of any release finds the same tables; other maps may differ.
        needed = {f"{table}{half}" for table in TABLES for half in ("", "_a", "_b")}
        if not needed | {"ledger", "lost", "answers"} <= names:
            _remove(directory)
            return None
        return cls({name: bpf.pinned(str(directory / name)) for name in sorted(names)}, directory)

    @property
    def layout(self) -> str:
        """The hash this generation was made with."""
        return self.directory.name.partition("-")[0] if self.directory else ""

    def flip(self) -> None:
        """Let the programs count into the other map of each pair; on return nobody writes the first."""  # noqa: E501
        for table in self._pairs:
            quiet = self.maps[self._quiet(table)]
            bpf.map_update(self.maps[table], _FIRST, struct.pack("<I", quiet))

    def expect(self, keys: Iterable[bytes]) -> None:
        """Give these IPv4 flows, the busiest first, places of their own from the next flip on."""
        if self._places:
            self._places[self._quiet(HOT)].give(keys)

    def expected(self) -> Table:
        """Return what the quiet places of their own hold: IPv4 flows."""
        return self._places[self._quiet(HOT)].rows() if self._places else Table()

    def read(self) -> tuple[Table, Table, Table]:
        """Return what the quiet maps hold: IPv4 flows, IPv6 flows, overflow."""
        tables = []
        for table in TABLES:
            name = self._quiet(table)
            info = bpf.map_info(self.maps[name])
            tables.append(Table(*bpf.map_read(self.maps[name], info.key_size, info.value_size)))
        return tables[0], tables[1], tables[2]

    def forget(self, tables: tuple[Table, Table, Table] | None = None) -> None:
        """Delete the rows read (all there are, if None) from the quiet maps."""
        for table, rows in zip(TABLES, tables or self.read(), strict=True):
            name = self._quiet(table)
            size = bpf.map_info(self.maps[name]).key_size
            bpf.map_delete(self.maps[name], rows.keys, size)
        self.expect(())

    def note(self, drained: Drained) -> None:
        """Write into the ledger that `drained` has been taken."""
        self.sequence, self.window_start = drained.sequence + 1, drained.window_end
        self.lost_before = drained.lost
        words = _LEDGER.pack(
            self.epoch, self.sequence, self.window_start, *astuple(self.lost_before)
        )
        bpf.map_update(self.maps["ledger"], _FIRST, words)

    def lost(self) -> Lost:
        """Return the totals of what no map had room for, since the epoch began."""
        flows, answers = (
            COUNTERS.unpack(
                bpf.map_lookup(self.maps["lost"], struct.pack("<I", row), COUNTERS.size)
            )
            for row in (0, 1)
        )
        return Lost(flows[0], flows[1], flows[2], flows[3], answers[3])

    def kernel_bytes(self) -> int:
        """Return the memory of all maps, as the kernel accounts it (fdinfo `memlock`)."""
        total = 0
        for descriptor in self.maps.values():
            text = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii")
            total += sum(
                int(line.split()[1]) for line in text.splitlines() if line.startswith("memlock:")
            )
        return total

    def close(self) -> None:
        """Close the descriptors; pins stay."""
        for places in self._places.values():
            places.close()
        for descriptor in self.maps.values():
            os.close(descriptor)
        self.maps = {}

    def remove(self) -> None:
        """Close, and remove the pins."""
        self.close()
        if self.directory is not None:
            _remove(self.directory)

    def _quiet(self, table: str) -> str:
        """Return the name of the map of a pair that the programs do not use."""
        (active,) = struct.unpack("<I", bpf.map_lookup(self.maps[table], _FIRST, 4))
        return f"{table}_b" if active == self._ids[f"{table}_a"] else f"{table}_a"


def _remove(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
