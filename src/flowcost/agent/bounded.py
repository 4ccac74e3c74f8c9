"""Memories with a bound: the oldest goes first."""

from __future__ import annotations

from itertools import islice
from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


def forget_oldest(memory: dict[_K, _V]) -> int:
    """Forget the oldest eighth of a memory, at least one; return how many.

    Not one by one: finding a dictionary's first entry takes as long as many were removed there.
    """
    oldest = list(islice(memory, max(1, len(memory) // 8)))
    for key in oldest:
        del memory[key]
    return len(oldest)
