"""Layers become one answer: disjoint, dated, most specific first.

The order is: the smaller block, then the earlier source in `PRECEDENCE`. Attribute by attribute,
what the winner leaves empty is filled from the next claim that covers the same address at the
same time, so a pod gets its zone, network and account from its interface, its subnet or a
declared network (`merge` has the exact rule). Time and memory are linear in the claims, times
the depth of nesting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from flowcost.address import unpack
from flowcost.content import remember
from flowcost.errors import InventoryError
from flowcost.model import Finding, Identity
from flowcost.resolve import (
    PRECEDENCE,
    Claim,
    HostInterval,
    Layer,
    NetworkInterface,
    RangeInterval,
    Resolution,
    ServiceClaim,
)
from flowcost.resolve.flatten import Block, Span, blocks, spans
from flowcost.resolve.merge import (
    CONTRADICTED,
    EMPTY_CHAIN,
    NOTHING,
    Chain,
    Ranked,
    Values,
    chain,
    contradicted,
    identity_of,
    merged_over,
    values_of,
)
from flowcost.resolve.paths import flat_gateways, flat_routes


class _Dated(Ranked, frozen=True, gc=False):
    """A ranked claim with its addresses and time, ready to sweep."""

    first: bytes
    last: bytes
    start: datetime
    end: datetime


class _Piece(NamedTuple):
    """A chain of claims that holds over part of a block's time."""

    start: datetime
    end: datetime
    chain: Chain


def build(layers: Iterable[Layer]) -> Resolution:
    """Merge layers into disjoint dated intervals, identities, routes and gateways.

    The order of the layers, and of the claims in them, changes nothing.

    Raises:
        InventoryError: a layer's source is not in `PRECEDENCE`, a claim's block is upside down.
        FlowcostError: two identities share a content id.
    """
    ordered = sorted(layers, key=_position)
    claims = [_dated(claim, _position(layer)) for layer in ordered for claim in layer.claims]
    merger = _Merger()
    ranges, hosts = merger.merge(claims)
    return Resolution(
        hosts=tuple(hosts),
        ranges=tuple(ranges),
        identities=dict(sorted(merger.identities.items())),
        services=_services(ordered),
        gateways=flat_gateways(ordered),
        routes=flat_routes(ordered),
        interfaces=tuple(sorted((i for layer in ordered for i in layer.interfaces), key=_id)),
        findings=(
            *(finding for layer in ordered for finding in layer.findings),
            *merger.findings(),
        ),
    )


def _id(interface: NetworkInterface) -> str:
    return interface.id


def _position(layer: Layer) -> int:
    try:
        return PRECEDENCE.index(layer.source)
    except ValueError:
        raise InventoryError(
            f"unknown source of identity {layer.source!r}",
            hint=f"one of: {', '.join(PRECEDENCE)}",
        ) from None


def _dated(claim: Claim, position: int) -> _Dated:
    if claim.last < claim.first:
        raise InventoryError(
            f"a block ends before it starts: {unpack(claim.first)} to {unpack(claim.last)}"
        )
    size = int.from_bytes(claim.last) - int.from_bytes(claim.first)
    return _Dated(
        (size, position),
        values_of(claim.identity),
        claim.first,
        claim.last,
        claim.valid_from,
        claim.valid_to,
    )


def _addresses(claim: _Dated) -> tuple[bytes, bytes]:
    return claim.first, claim.last


def _times(claim: _Dated) -> tuple[datetime, datetime]:
    return claim.start, claim.end


class _Merger:
    """One build: identities met so far, and where sources contradict themselves."""

    def __init__(self) -> None:
        self.identities: dict[int, Identity] = {0: Identity()}
        self._ids: dict[Values, int] = {NOTHING: 0}
        self._conflicts: dict[tuple[str, ...], tuple[int, str]] = {}

    def merge(self, claims: list[_Dated]) -> tuple[list[RangeInterval], list[HostInterval]]:
        """Return the disjoint ranges and hosts of `claims`, in address and time order."""
        wide = [claim for claim in claims if claim.first != claim.last]
        narrow = sorted(
            (claim for claim in claims if claim.first == claim.last),
            key=lambda claim: claim.first,
        )
        ranges: list[RangeInterval] = []
        hosts: list[HostInterval] = []
        under = _Under(wide)
        for block, pieces in under.blocks():
            ranges += self._range(block, pieces)
        for address, same in groupby(narrow, key=lambda claim: claim.first):
            hosts += self._host(address, list(same), under.at(address))
        return ranges, hosts

    def _range(self, block: Block[_Dated], pieces: list[_Piece]) -> Iterator[RangeInterval]:
        for start, end, key in self._joined(
            (piece.start, piece.end, piece.chain.values, block.first) for piece in pieces
        ):
            yield RangeInterval(block.first, block.last, start, end, key)

    def _host(
        self, address: bytes, claims: list[_Dated], under: list[_Piece]
    ) -> Iterator[HostInterval]:
        merged: list[tuple[datetime, datetime, Values, bytes]] = []
        for span in spans(claims, _times):
            merged += (
                (start, end, merged_over(span.covering, wide), address)
                for start, end, wide in _over(span, under)
            )
        for start, end, key in self._joined(merged):
            yield HostInterval(address, start, end, key)

    def _joined(
        self, pieces: Iterable[tuple[datetime, datetime, Values, bytes]]
    ) -> Iterator[tuple[datetime, datetime, int]]:
        """Yield (start, end, identity id); adjoining pieces of one identity become one."""
        held: tuple[datetime, datetime, int] | None = None
        for start, end, values, address in pieces:
            key = self._identify(values, address)
            if held and held[1] == start and held[2] == key:
                held = (held[0], end, key)
                continue
            if held:
                yield held
            held = (start, end, key)
        if held:
            yield held

    def _identify(self, values: Values, address: bytes) -> int:
        key = self._ids.get(values)
        if key is None:
            identity = identity_of(values)
            key = 0 if identity == self.identities[0] else remember(self.identities, identity)
            self._ids[values] = key
        if CONTRADICTED in values:
            names = contradicted(values)
            count, sample = self._conflicts.get(names, (0, unpack(address)))
            self._conflicts[names] = (count + 1, sample)
        return key

    def findings(self) -> Iterator[Finding]:
        """Yield one finding per set of attributes that sources contradict themselves on."""
        for names, (count, sample) in sorted(self._conflicts.items()):
            yield Finding(
                code="contradicting-identities",
                severity="warning",
                subject=", ".join(names),
                count=count,
                sample=sample,
                hint="one source describes an address twice and differently at one time; "
                "these attributes stay unknown there",
            )


class _Under:
    """The blocks wider than an address, with their time already cut into pieces."""

    def __init__(self, claims: list[_Dated]) -> None:
        claims.sort(key=lambda claim: claim.rank)
        self._blocks = list(blocks(claims, _addresses))
        self._pieces: dict[tuple[int, ...], list[_Piece]] = {}
        self._next = 0

    def blocks(self) -> Iterator[tuple[Block[_Dated], list[_Piece]]]:
        """Yield each block with its pieces of time."""
        for block in self._blocks:
            yield block, self._cut(block.covering)

    def at(self, address: bytes) -> list[_Piece]:
        """Return the pieces of time under `address`; addresses must come in rising order."""
        while self._next < len(self._blocks) and self._blocks[self._next].last < address:
            self._next += 1
        if self._next == len(self._blocks) or self._blocks[self._next].first > address:
            return []
        return self._cut(self._blocks[self._next].covering)

    def _cut(self, covering: Sequence[_Dated]) -> list[_Piece]:
        key = tuple(map(id, covering))
        if key not in self._pieces:
            self._pieces[key] = [
                _Piece(span.start, span.end, chain(span.covering))
                for span in spans(covering, _times)
            ]
        return self._pieces[key]


def _over(span: Span[_Dated], under: list[_Piece]) -> Iterator[tuple[datetime, datetime, Chain]]:
    """Yield the parts of `span` with the chain that lies under each."""
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


def _services(layers: Sequence[Layer]) -> tuple[ServiceClaim, ...]:
    """Return the services in address and time order, each only once."""
    services = {service for layer in layers for service in layer.services}
    return tuple(sorted(services, key=lambda one: (one.address, one.valid_from, one.name)))
