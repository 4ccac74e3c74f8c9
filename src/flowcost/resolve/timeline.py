"""Layers become one answer: disjoint, dated, most specific first.

The order is: the smaller block, then the earlier source in `PRECEDENCE`. Attribute by attribute,
what the winner leaves empty is filled from the next claim that covers the same address at the
same time, so a pod gets its zone, network and account from its interface, its subnet or a
declared network (`merge` has the exact rule). Where several clusters or VPCs have one address,
each of them gets an answer of its own besides (`plans`). Time and memory are linear in the claims,
times the depth of nesting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TypeVar

from msgspec.structs import replace

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
    NOTHING,
    Chain,
    Values,
    chain,
    contradicted,
    filled,
    identity_of,
    merged_over,
    rests,
    values_of,
)
from flowcost.resolve.paths import flat_gateways, flat_routes
from flowcost.resolve.plans import contested, visible
from flowcost.resolve.services import flat_services

# The name of the plan of observers that no plan of their own helps.
ANYBODY = ""
T = TypeVar("T", HostInterval, RangeInterval)
_ADDRESS, _FIRST = attrgetter("address"), attrgetter("first")


def build(layers: Iterable[Layer]) -> Resolution:
    """Merge layers into disjoint dated intervals, identities, routes and gateways.

    The order of the layers, and of the claims in them, changes nothing.

    Raises:
        InventoryError: a layer's source is not in `PRECEDENCE`, a claim's block is upside down.
        FlowcostError: two identities share a content id.
    """
    ordered = sorted(layers, key=_position)
    merger = _Merger()
    known = merger.merge([claim for layer in ordered for claim in _dated(layer)])
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


def _dated(layer: Layer) -> Iterator[Dated]:
    """Yield the claims of a layer; neighbours of one identity share its values."""
    position = _position(layer)
    who, values = Identity(), NOTHING
    for claim in layer.claims:
        if claim.identity is not who:
            who = claim.identity
            values = values_of(who)
        yield Dated(
            (_size(claim), position),
            values,
            claim.first,
            claim.last,
            claim.valid_from,
            claim.valid_to,
        )


def _size(claim: Claim) -> int:
    """Return by how many addresses the last one is after the first."""
    if claim.last == claim.first:
        return 0
    if claim.last < claim.first:
        raise InventoryError(
            f"a block ends before it starts: {unpack(claim.first)} to {unpack(claim.last)}"
        )
    return int.from_bytes(claim.last) - int.from_bytes(claim.first)


class _Merger:
    """One build: identities met so far, and where sources contradict themselves."""

    def __init__(self) -> None:
        self.identities: dict[int, Identity] = {0: Identity()}
        # What merged values are: the identity, and what of it is contradicted.
        self._known: dict[Values, tuple[int, tuple[str, ...]]] = {NOTHING: (0, ())}
        self._merged: dict[tuple[int, int], Values] = {}
        self._conflicts: dict[tuple[bool, tuple[str, ...]], tuple[int, str]] = {}
        self._hosts: dict[str, list[HostInterval]] = {ANYBODY: []}
        self._ranges: dict[str, list[RangeInterval]] = {ANYBODY: []}

    def merge(self, claims: list[Dated]) -> Known:
        """Return what `claims` say to anybody; `plans` has what they say to some."""
        wide = [claim for claim in claims if claim.rank[0]]
        narrow = sorted((claim for claim in claims if not claim.rank[0]), key=_FIRST)
        under = Under(wide)
        for block, pieces in under.blocks():
            self._say_of_block(block.first, block.last, pieces)
        for address, same in groupby(narrow, key=_FIRST):
            self._say_of_host(address, list(same), under.at(address))
        return self._known_to(ANYBODY)

    def _say_of_block(self, first: bytes, last: bytes, pieces: Sequence[Piece]) -> None:
        """Enter what is said of a block, by plan."""
        for start, end, held in pieces:
            plans = contested((), held)
            key = self._identify(held.values, first, differs=bool(plans))
            _enter(self._ranges[ANYBODY], RangeInterval(first, last, start, end, key), _FIRST)
            for plan in plans:
                values = chain(visible(held.claims, plan)).values
                key = self._identify(values, first, differs=False)
                one = RangeInterval(first, last, start, end, key)
                _enter(self._ranges.setdefault(plan, []), one, _FIRST)

    def _say_of_host(self, address: bytes, claims: Sequence[Dated], under: Sequence[Piece]) -> None:
        """Enter what is said of an address, by plan, where that is more than of its block."""
        anybody = self._hosts[ANYBODY]
        for span in spans(claims, times):
            for start, end, wide in over(span, under):
                narrow = span.covering
                plans = contested(narrow, wide)
                key = self._identify(self._over(narrow, wide), address, differs=bool(plans))
                _enter(anybody, HostInterval(address, start, end, key), _ADDRESS)
                for plan in plans:
                    met = visible([*narrow, *wide.claims], plan)
                    if any(claim.rank[0] == 0 for claim in met) or plan not in contested((), wide):
                        key = self._identify(chain(met).values, address, differs=False)
                        one = HostInterval(address, start, end, key)
                        _enter(self._hosts.setdefault(plan, []), one, _ADDRESS)

    def plans(self) -> dict[str, Known]:
        """Return what the clusters and VPCs know that share addresses, by plan."""
        names = (self._hosts.keys() | self._ranges.keys()) - {ANYBODY}
        return {plan: self._known_to(plan) for plan in sorted(names)}

    def _known_to(self, plan: str) -> Known:
        return Known(
            hosts=tuple(self._hosts.get(plan, ())), ranges=tuple(self._ranges.get(plan, ()))
        )

    def _identify(self, values: Values, address: bytes, *, differs: bool) -> int:
        known = self._known.get(values)
        if known is None:
            identity = identity_of(values)
            key = 0 if identity == self.identities[0] else remember(self.identities, identity)
            known = self._known[values] = key, contradicted(values)
        key, names = known
        if names:
            count, sample = self._conflicts.get((differs, names), (0, unpack(address)))
            self._conflicts[differs, names] = (count + 1, sample)
        return key

    def _over(self, narrow: Sequence[Dated], wide: Chain) -> Values:
        """Return the merge of host claims; interfaces have many addresses and are merged once."""
        values = narrow[0].values
        if len(narrow) > 1:
            if rests(narrow, wide):
                return filled(values, self._over(narrow[1:], wide))
            return merged_over(narrow, wide)
        key = id(values), id(wide)  # both outlive the build
        found = self._merged.get(key)
        if found is None:
            found = self._merged[key] = merged_over(narrow, wide)
        return found

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


def _enter(known: list[T], one: T, place: Callable[[T], bytes]) -> None:
    """Append an interval, or lengthen the last one that it adjoins with the same identity."""
    last = known[-1] if known else one
    if (
        last.identity_id == one.identity_id
        and last.valid_to == one.valid_from
        and place(last) == place(one)
    ):
        known.pop()
        one = replace(one, valid_from=last.valid_from)
    known.append(one)
