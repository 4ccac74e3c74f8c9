"""Overlapping blocks and spans of time become disjoint ones: two sweeps, both linear.

Addresses are 16 bytes, inclusive at both ends; time is half-open UTC. What wins where things
overlap is not decided here: each disjoint piece carries everything that covers it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

# Sorts after every 16-byte address.
PAST_THE_END = b"\xff" * 17
_FEW = 4


class Block(NamedTuple, Generic[T]):
    """Addresses `first..last`, all covered by the same things, in input order."""

    first: bytes
    last: bytes
    covering: tuple[T, ...]


class Span(NamedTuple, Generic[T]):
    """The time `[start, end)`, covered by the same things throughout, in input order."""

    start: datetime
    end: datetime
    covering: tuple[T, ...]


def following(address: bytes) -> bytes:
    """Return the next address; the one after the last sorts after all of them."""
    number = int.from_bytes(address) + 1
    return PAST_THE_END if number >> 128 else number.to_bytes(16)


def preceding(address: bytes) -> bytes:
    """Return the address before `address`, which may be `PAST_THE_END`."""
    return b"\xff" * 16 if address == PAST_THE_END else (int.from_bytes(address) - 1).to_bytes(16)


def blocks(items: Sequence[T], ends: Callable[[T], tuple[bytes, bytes]]) -> Iterator[Block[T]]:
    """Yield disjoint blocks in address order; `ends` gives an item's first and last address.

    Blocks next to each other differ in what covers them. Addresses that nothing covers are
    left out.
    """
    edges: list[tuple[bytes, bool, int]] = []
    for index, item in enumerate(items):
        first, last = ends(item)
        edges.append((first, True, index))
        edges.append((following(last), False, index))
    for start, end, active in _swept(edges):
        yield Block(start, preceding(end), tuple(items[index] for index in active))


def spans(items: Sequence[T], ends: Callable[[T], tuple[datetime, datetime]]) -> list[Span[T]]:
    """Return disjoint spans in time order; `ends` gives an item's start and end.

    Time that nothing covers is left out; an item that ends before it starts covers nothing.
    """
    if len(items) == 1:
        start, end = ends(items[0])
        return [Span(start, end, (items[0],))] if start < end else []
    held = [ends(item) for item in items]
    if len(items) <= _FEW:
        return list(_few(items, held))
    edges: list[tuple[datetime, bool, int]] = []
    for index, (start, end) in enumerate(held):
        if start < end:
            edges.append((start, True, index))
            edges.append((end, False, index))
    return [
        Span(start, end, tuple(items[index] for index in active))
        for start, end, active in _swept(edges)
    ]


def _few(items: Sequence[T], held: Sequence[tuple[datetime, datetime]]) -> Iterator[Span[T]]:
    """Yield what `spans` returns, faster than a sweep where hardly anything overlaps."""
    cuts = set()
    for start, end in held:
        if start < end:
            cuts.add(start)
            cuts.add(end)
    for at, until in pairwise(sorted(cuts)):
        covering = [
            item
            for item, (start, end) in zip(items, held, strict=True)
            if start <= at and until <= end
        ]
        if covering:
            yield Span(at, until, tuple(covering))


E_ = TypeVar("E_", bytes, datetime)


def _swept(
    edges: list[tuple[E_, bool, int]],
) -> Iterator[tuple[E_, E_, tuple[int, ...]]]:
    """Yield (start, end, indexes that cover it) between the edges (place, opens, index)."""
    edges.sort()
    active: list[int] = []
    position = 0
    while position < len(edges):
        here = edges[position][0]
        while position < len(edges) and edges[position][0] == here:
            _, opens, index = edges[position]
            if opens:
                insort(active, index)
            else:
                active.remove(index)
            position += 1
        if active:
            yield here, edges[position][0], tuple(active)
