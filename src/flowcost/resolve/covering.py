"""Claims over each other: which blocks lie under an address, and what of time each covers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from flowcost.resolve.flatten import Block, Span, blocks, spans
from flowcost.resolve.merge import EMPTY_CHAIN, Chain, Ranked, chain


class Dated(Ranked, frozen=True, gc=False):
    """A ranked claim with its addresses and time, ready to sweep."""

    first: bytes
    last: bytes
    start: datetime
    end: datetime


class Piece(NamedTuple):
    """A chain of claims that holds over part of a block's time."""

    start: datetime
    end: datetime
    chain: Chain


def _addresses(claim: Dated) -> tuple[bytes, bytes]:
    return claim.first, claim.last


def times(claim: Dated) -> tuple[datetime, datetime]:
    """Return when a claim holds."""
    return claim.start, claim.end


class Under:
    """The blocks wider than an address, with their time already cut into pieces."""

    def __init__(self, claims: list[Dated]) -> None:
        claims.sort(key=lambda claim: claim.rank)
        self._blocks = list(blocks(claims, _addresses))
        self._pieces: dict[tuple[int, ...], list[Piece]] = {}
        self._next = 0
        self._met: tuple[int, list[Piece]] = -1, []  # the block last asked for

    def blocks(self) -> Iterator[tuple[Block[Dated], list[Piece]]]:
        """Yield each block with its pieces of time."""
        for block in self._blocks:
            yield block, self._cut(block.covering)

    def at(self, address: bytes) -> list[Piece]:
        """Return the pieces of time under `address`; addresses must come in rising order."""
        while self._next < len(self._blocks) and self._blocks[self._next].last < address:
            self._next += 1
        if self._next == len(self._blocks) or self._blocks[self._next].first > address:
            return []
        if self._met[0] != self._next:
            self._met = self._next, self._cut(self._blocks[self._next].covering)
        return self._met[1]

    def _cut(self, covering: Sequence[Dated]) -> list[Piece]:
        key = tuple(map(id, covering))
        if key not in self._pieces:
            self._pieces[key] = [
                Piece(span.start, span.end, chain(span.covering)) for span in spans(covering, times)
            ]
        return self._pieces[key]


def over(span: Span[Dated], under: Sequence[Piece]) -> Iterator[tuple[datetime, datetime, Chain]]:
    """Yield the parts of `span` with the chain that lies under each."""
    if len(under) == 1 and under[0].start <= span.start and span.end <= under[0].end:
        yield span.start, span.end, under[0].chain
        return
    at = span.start
    for piece in under:
        if piece.end <= at or piece.start >= span.end:
            continue
        if at < piece.start:
            yield at, piece.start, EMPTY_CHAIN
            at = piece.start
        yield at, min(piece.end, span.end), piece.chain
        at = min(piece.end, span.end)
    if at < span.end:
        yield at, span.end, EMPTY_CHAIN
