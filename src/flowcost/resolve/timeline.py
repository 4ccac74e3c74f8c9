"""Layers become one answer: disjoint, dated, most specific first.

The order is: the smaller block, then the earlier source in `PRECEDENCE`. Attribute by attribute,
what the winner leaves empty is filled from the next claim that covers the same address at the
same time, so a pod gets its zone, network and account from its interface, its subnet or a
declared network (`merge` has the exact rule). Where several clusters or VPCs have one address,
each of them gets an answer of its own besides (`plans`). Time and memory are linear in the claims,
times the depth of nesting.
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
    Known,
    Layer,
    NetworkInterface,
    RangeInterval,
    Resolution,
)
from flowcost.resolve.covering import Dated, Piece, Under, over, times
from flowcost.resolve.flatten import spans
from flowcost.resolve.merge import (
    CONTRADICTED,
    NOTHING,
    Values,
    chain,
    contradicted,
    identity_of,
    merged_over,
    values_of,
)
from flowcost.resolve.paths import flat_gateways, flat_routes
from flowcost.resolve.plans import contested, visible
from flowcost.resolve.services import flat_services

# The name of the plan of observers that no plan of their own helps.
ANYBODY = ""


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
    known = merger.merge(claims)
    return Resolution(
        hosts=known.hosts,
        ranges=known.ranges,
        plans=merger.plans(),
        identities=dict(sorted(merger.identities.items())),
        services=flat_services(ordered),
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


def _dated(claim: Claim, position: int) -> Dated:
    if claim.last < claim.first:
        raise InventoryError(
            f"a block ends before it starts: {unpack(claim.first)} to {unpack(claim.last)}"
        )
    size = int.from_bytes(claim.last) - int.from_bytes(claim.first)
    return Dated(
        (size, position),
        values_of(claim.identity),
        claim.first,
        claim.last,
        claim.valid_from,
        claim.valid_to,
    )


class _Said(NamedTuple):
    """What claims say together over part of a time; `contested` if it differs with the plan."""

    start: datetime
    end: datetime
    values: Values
    contested: bool = False


class _Merger:
    """One build: identities met so far, and where sources contradict themselves."""

    def __init__(self) -> None:
        self.identities: dict[int, Identity] = {0: Identity()}
        self._ids: dict[Values, int] = {NOTHING: 0}
        self._conflicts: dict[tuple[bool, tuple[str, ...]], tuple[int, str]] = {}
        self._hosts: dict[str, list[HostInterval]] = {}
        self._ranges: dict[str, list[RangeInterval]] = {}

    def merge(self, claims: list[Dated]) -> Known:
        """Return what `claims` say to anybody; `plans` has what they say to some."""
        wide = [claim for claim in claims if claim.first != claim.last]
        narrow = sorted(
            (claim for claim in claims if claim.first == claim.last),
            key=lambda claim: claim.first,
        )
        under = Under(wide)
        for block, pieces in under.blocks():
            for plan, said in _said_of_range(pieces).items():
                self._ranges.setdefault(plan, []).extend(
                    RangeInterval(block.first, block.last, start, end, key)
                    for start, end, key in self._joined(said, block.first)
                )
        for address, same in groupby(narrow, key=lambda claim: claim.first):
            for plan, said in _said_of_host(list(same), under.at(address)).items():
                self._hosts.setdefault(plan, []).extend(
                    HostInterval(address, start, end, key)
                    for start, end, key in self._joined(said, address)
                )
        return self._known(ANYBODY)

    def plans(self) -> dict[str, Known]:
        """Return what the clusters and VPCs know that share addresses, by plan."""
        names = (self._hosts.keys() | self._ranges.keys()) - {ANYBODY}
        return {plan: self._known(plan) for plan in sorted(names)}

    def _known(self, plan: str) -> Known:
        return Known(
            hosts=tuple(self._hosts.get(plan, ())), ranges=tuple(self._ranges.get(plan, ()))
        )

    def _joined(
        self, pieces: Iterable[_Said], address: bytes
    ) -> Iterator[tuple[datetime, datetime, int]]:
        """Yield (start, end, identity id); adjoining pieces of one identity become one."""
        held: tuple[datetime, datetime, int] | None = None
        for start, end, values, differs in pieces:
            key = self._identify(values, address, differs=differs)
            if held and held[1] == start and held[2] == key:
                held = (held[0], end, key)
                continue
            if held:
                yield held
            held = (start, end, key)
        if held:
            yield held

    def _identify(self, values: Values, address: bytes, *, differs: bool) -> int:
        key = self._ids.get(values)
        if key is None:
            identity = identity_of(values)
            key = 0 if identity == self.identities[0] else remember(self.identities, identity)
            self._ids[values] = key
        if CONTRADICTED in values:
            conflict = differs, contradicted(values)
            count, sample = self._conflicts.get(conflict, (0, unpack(address)))
            self._conflicts[conflict] = (count + 1, sample)
        return key

    def findings(self) -> Iterator[Finding]:
        """Yield one finding per set of attributes that sources contradict themselves on."""
        for (differs, names), (count, sample) in sorted(self._conflicts.items()):
            subject = ", ".join(names)
            yield (_overlap if differs else _contradiction)(subject, count, sample)


def _contradiction(subject: str, count: int, sample: str) -> Finding:
    return Finding(
        code="contradicting-identities",
        severity="warning",
        subject=subject,
        count=count,
        sample=sample,
        hint="one source describes an address twice and differently at one time; "
        "these attributes stay unknown there",
    )


def _overlap(subject: str, count: int, sample: str) -> Finding:
    return Finding(
        code="overlapping-address-plans",
        severity="info",
        subject=subject,
        count=count,
        sample=sample,
        hint="several clusters or VPCs have this address; an observer in one of them meets its "
        "own, and for any other these attributes are unknown",
    )


def _said_of_range(pieces: Sequence[Piece]) -> dict[str, list[_Said]]:
    """Return what is said of a block, by plan."""
    said: dict[str, list[_Said]] = {ANYBODY: []}
    for start, end, held in pieces:
        plans = contested((), held)
        said[ANYBODY].append(_Said(start, end, held.values, bool(plans)))
        for plan in plans:
            values = chain(visible(held.claims, plan)).values
            said.setdefault(plan, []).append(_Said(start, end, values))
    return said


def _said_of_host(claims: Sequence[Dated], under: Sequence[Piece]) -> dict[str, list[_Said]]:
    """Return what is said of a single address, by plan, where that is more than of its block."""
    said: dict[str, list[_Said]] = {ANYBODY: []}
    for span in spans(claims, times):
        for start, end, wide in over(span, under):
            plans = contested(span.covering, wide)
            values = merged_over(span.covering, wide)
            said[ANYBODY].append(_Said(start, end, values, bool(plans)))
            for plan in plans:
                met = visible([*span.covering, *wide.claims], plan)
                if any(claim.rank[0] == 0 for claim in met) or plan not in contested((), wide):
                    said.setdefault(plan, []).append(_Said(start, end, chain(met).values))
    return said
