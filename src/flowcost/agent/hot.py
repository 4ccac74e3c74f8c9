"""Flows that go on get a place of their own in the kernel, so that they need not be searched for.

The place follows from the key (`bpf/flow.h`), so the programs need one comparison. Places are
given while nobody counts into the array, to the flows with the most packets of the last drain; a
flow whose place is taken by a busier one is searched for like all others. Nothing depends on it
but time: every packet is counted in the one map or in the other.
"""

from __future__ import annotations

import heapq
import mmap
import struct
from collections.abc import Iterable, Iterator
from operator import add

from flowcost.agent.drained import COUNTERS, KEY4, Table

PLACES = 1024
WORTH = 64  # packets between two drains that make a place worth giving
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
_WORDS = struct.Struct("<QQQ")
_ROW = struct.Struct(f"{KEY4.size}s{COUNTERS.size}s")
_NONE = bytes(COUNTERS.size)
_WIDTH = COUNTERS.size // 8


def place_of(key: bytes) -> int:
    """Return the place of a packed IPv4 key."""
    mixed = sum(word * factor for word, factor in zip(_WORDS.unpack(key), _FACTORS, strict=True))
    return int(mixed & 0xFFFFFFFFFFFFFFFF) >> 54


def busiest(table: Table) -> list[bytes]:
    """Return the keys of the flows worth a place, busiest first."""
    words = memoryview(table.values).cast("Q")
    sums = map(add, words[1::_WIDTH].tolist(), words[3::_WIDTH].tolist())
    worth = ((packets, row) for row, packets in enumerate(sums) if packets >= WORTH)
    size = KEY4.size
    return [table.keys[row * size : (row + 1) * size] for _, row in heapq.nlargest(PLACES, worth)]


class Places:
    """One array of places, as it lies in the kernel; to be written only while it is not in use."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, PLACES * _ROW.size)

    def give(self, keys: Iterable[bytes]) -> None:
        """Give places, the first come first; all counters are zero then."""
        rows = bytearray(len(self._memory))
        for key in keys:
            at = place_of(key) * _ROW.size
            if not any(rows[at : at + KEY4.size]):
                rows[at : at + KEY4.size] = key
        self._memory[:] = bytes(rows)

    def rows(self) -> Table:
        """Return the flows that were counted here."""
        counted = list(self._counted())
        return Table(b"".join(key for key, _ in counted), b"".join(value for _, value in counted))

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()

    def _counted(self) -> Iterator[tuple[bytes, bytes]]:
        for key, value in _ROW.iter_unpack(self._memory[:]):
            if value != _NONE:
                yield key, value
