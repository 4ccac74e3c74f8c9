"""What agents saw of their own ends, laid over what else is known of one hour.

An agent knows its pods by cgroup, so it is right about who had an address, whatever a watch or an
inventory missed. Inside one hour:

- an address belongs to the pod that was seen there; what others claim holds outside that time;
- an address of the node, which pods on the host's network share, stays the node's;
- a pod that others know too is described in their words, which say more;
- a gap between two pods belongs to the one before it, and before the first to the first: the
  clocks of nodes and of the API server differ, and a connection's end outlives its pod.

Several clusters have their own address plans (`resolve.plans`), so each one's pods are laid out by
themselves. Where an address was never in two of them at once, it may have moved from one to the
other: then a gap belongs to none for certain, but a time in which it was held does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from flowcost.address import UNSPECIFIED, Scope, scope
from flowcost.clock import HOUR
from flowcost.model import Identity
from flowcost.pipeline.agent_shelf import scan
from flowcost.pipeline.holding import SHARED, Span, at_once, without
from flowcost.resolve import Claim, Layer, ServiceClaim

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Of several descriptions of one end the fullest counts, then the last in the alphabet.
_READ = """
SELECT cluster, address, uid, min(first), max(last), max_by(identity, (length(identity), identity))
FROM {0} GROUP BY cluster, address, uid ORDER BY ALL
"""


class Sighting(Struct, frozen=True, gc=False):
    """An end of a node as its agent described it, from its first window to its last.

    `uid` is empty for the node itself; `address` is all zero where it is not known.
    """

    cluster: str
    address: bytes
    uid: str
    first: datetime
    last: datetime
    identity: Identity


class _Part(Struct, frozen=True):
    """Who is said to have had an address and who was seen there, in one cluster or in any."""

    clusters: set[str]
    held: list[Claim]
    seen: list[Sighting]

    @property
    def spans(self) -> list[Span]:
        """Return when somebody had it."""
        spans = [(claim.valid_from, claim.valid_to) for claim in self.held]
        return [*spans, *((one.first, one.last) for one in self.seen)]


class Laid(Struct, frozen=True):
    """The layers of one hour, and the pods that are known by uid only."""

    layers: tuple[Layer, ...]
    unplaced: tuple[Identity, ...]


def read(con: DuckDBPyConnection, paths: Sequence[Path]) -> list[Sighting]:
    """Return the sightings of `seen` parts."""
    if not paths:
        return []
    decoder = msgspec.json.Decoder(Identity)
    known: dict[tuple[str, str], Identity] = {}
    found = []
    for cluster, address, uid, first, last, text in con.execute(
        _READ.format(scan(paths))
    ).fetchall():
        identity = known.get((cluster, text))
        if identity is None:
            said = decoder.decode(text)
            identity = replace(said, k8s_cluster_name=said.k8s_cluster_name or cluster)
            known[cluster, text] = identity
        span = first.replace(tzinfo=UTC), last.replace(tzinfo=UTC)
        found.append(Sighting(cluster, address, uid, *span, identity))
    return found


def lay(
    layers: Iterable[Layer],
    sightings: Sequence[Sighting],
    hour: datetime,
    addresses: Sequence[bytes],
) -> Laid:
    """Return the layers of `hour` with its sightings laid over them.

    Claims of pods and names of Services are cut to the hour, and only claims on some of
    `addresses` (sorted) are kept: published ranges alone are ten thousand.
    """
    over = _Overlay([_restricted(layer, addresses) for layer in layers], sightings, hour)
    return Laid(tuple(over.layers()), tuple(over.unplaced()))


def _restricted(layer: Layer, addresses: Sequence[bytes]) -> Layer:
    def touched(claim: Claim) -> bool:
        place = bisect_left(addresses, claim.first)
        return place < len(addresses) and addresses[place] <= claim.last

    return replace(layer, claims=tuple(filter(touched, layer.claims)))


class _Overlay:
    def __init__(self, layers: list[Layer], sightings: Sequence[Sighting], hour: datetime) -> None:
        self._layers, self._start, self._end = layers, hour, hour + HOUR
        self._known = {
            claim.identity.k8s_pod_uid: claim.identity
            for layer in layers
            for claim in sorted(layer.claims, key=lambda one: one.valid_from)
            if claim.identity.k8s_pod_uid and self._within(claim)
        }
        self._seen: dict[bytes, list[Sighting]] = {}
        self._uids: dict[str, Identity] = {}
        for one in sightings:
            if one.uid:
                self._uids.setdefault(one.uid, self._known.get(one.uid, one.identity))
            if one.address != UNSPECIFIED and scope(one.address) in {Scope.PRIVATE, Scope.PUBLIC}:
                self._seen.setdefault(one.address, []).append(one)
        self._placed: set[str] = set()

    def layers(self) -> Iterator[Layer]:
        """Yield the layers, the pods of all of them in one."""
        pods: dict[bytes, list[Claim]] = {address: [] for address in self._seen}
        nodes: set[tuple[bytes, str]] = set()
        for layer in self._layers:
            kept = []
            for claim in layer.claims:
                if _is_pod(claim):
                    if self._within(claim):
                        pods.setdefault(claim.first, []).append(self._cut(claim))
                    continue
                kept.append(claim)
                if claim.identity.k8s_node_name and claim.first == claim.last:
                    nodes.add((claim.first, claim.identity.k8s_cluster_name))
            yield replace(layer, claims=tuple(kept), services=self._services(layer.services))
        claims: list[Claim] = []
        for address, held in pods.items():
            parts = self._parts(address, held)
            apart = at_once([part.spans for part in parts])
            for part in parts:
                others = (span for one in parts if one is not part for span in one.spans)
                taken = [] if apart else list(without(others, part.spans))
                of_node = any((address, cluster) in nodes for cluster in part.clusters)
                for claim in self._held(address, part, of_node=of_node):
                    claims += _outside(claim, taken)
        self._placed = {claim.identity.k8s_pod_uid for claim in claims}
        yield Layer(source="kubernetes", claims=tuple(claims))

    def _parts(self, address: bytes, held: list[Claim]) -> list[_Part]:
        """Return the claims and sightings on an address, by cluster if there are several."""
        seen = self._seen.get(address, [])
        of_claims = [claim.identity.k8s_cluster_name for claim in held]
        of_seen = list(map(self._of, seen))
        clusters = {*of_claims, *of_seen}
        if len(clusters - {""}) < 2:
            return [_Part(clusters, held, seen)]
        return [
            _Part(
                {cluster},
                [claim for claim, its in zip(held, of_claims, strict=True) if its == cluster],
                [one for one, its in zip(seen, of_seen, strict=True) if its == cluster],
            )
            for cluster in sorted(clusters)
        ]

    def _held(self, address: bytes, part: _Part, *, of_node: bool) -> Iterator[Claim]:
        """Yield who in one cluster had an address."""
        shared = of_node or _is_shared(part.seen)
        if shared and not of_node:
            yield from self._node(address, part.seen)
        yield from self._pods(address, part.held, [] if shared else part.seen)

    def _of(self, one: Sighting) -> str:
        """Return the cluster of a pod in the words of who knows it, else as its agent's token."""
        known = self._known.get(one.uid) if one.uid else None
        return (known.k8s_cluster_name if known else "") or one.cluster

    def unplaced(self) -> Iterator[Identity]:
        """Yield the pods that were seen and have no address of their own; after `layers`."""
        for uid, identity in sorted(self._uids.items()):
            if uid not in self._placed:
                yield identity

    def _within(self, claim: Claim) -> bool:
        return claim.valid_from < self._end and claim.valid_to > self._start

    def _cut(self, claim: Claim) -> Claim:
        start, end = max(claim.valid_from, self._start), min(claim.valid_to, self._end)
        return replace(claim, valid_from=start, valid_to=end)

    def _services(self, services: Iterable[ServiceClaim]) -> tuple[ServiceClaim, ...]:
        """Return one name per address and cluster for the whole hour: the first in it."""
        names: dict[tuple[bytes, str], ServiceClaim] = {}
        for one in sorted(services, key=lambda one: (one.valid_from, one.name)):
            if one.valid_from < self._end and one.valid_to > self._start:
                names.setdefault((one.address, one.cluster), one)
        return tuple(
            replace(one, valid_from=self._start, valid_to=self._end) for one in names.values()
        )

    def _pods(self, address: bytes, held: list[Claim], seen: Sequence[Sighting]) -> Iterator[Claim]:
        uids = {one.uid for one in seen}
        claims = [claim for one in seen for claim in self._said(address, one, held)]
        spans = [(one.first, one.last) for one in seen]
        others = [claim for claim in held if claim.identity.k8s_pod_uid not in uids]
        claims += (piece for claim in others for piece in _outside(claim, spans))
        # A contradiction between others stays one: nothing is guessed.
        agreed = not any(_overlap(one, other) for one, other in _neighbours(others))
        yield from self._joined(claims) if agreed else claims

    def _said(self, address: bytes, one: Sighting, held: Iterable[Claim]) -> list[Claim]:
        """Return what others say of a pod that was seen, for as long as it was seen at least."""
        said = sorted(
            (claim for claim in held if claim.identity.k8s_pod_uid == one.uid),
            key=lambda claim: claim.valid_from,
        )
        first, last = max(one.first, self._start), min(one.last, self._end)
        if not said:
            return [Claim(first=address, last=address, identity=self._uids[one.uid],
                          valid_from=first, valid_to=last)]  # fmt: skip
        said[0] = replace(said[0], valid_from=min(first, said[0].valid_from))
        said[-1] = replace(said[-1], valid_to=max(last, said[-1].valid_to))
        return said

    def _joined(self, claims: list[Claim]) -> Iterator[Claim]:
        """Yield the claims so that together they cover the hour."""
        claims.sort(key=lambda one: (one.valid_from, one.identity.k8s_pod_uid))
        edges = [self._start, *(one.valid_from for one in claims[1:]), self._end]
        for claim, (start, end) in zip(claims, pairwise(edges), strict=bool(claims)):
            if start < end:
                yield replace(claim, valid_from=start, valid_to=end)

    def _node(self, address: bytes, seen: Sequence[Sighting]) -> Iterator[Claim]:
        """Yield the node that an address is of, if only one node's agent has it for its own."""
        identities = {one.identity for one in seen if not one.uid}
        if len(identities) == 1:
            yield Claim(
                first=address,
                last=address,
                identity=identities.pop(),
                valid_from=self._start,
                valid_to=self._end,
            )


def _is_shared(seen: Sequence[Sighting]) -> bool:
    """Return whether an address is no pod's own, but its node's."""
    if any(not one.uid for one in seen):
        return True
    ordered = sorted(seen, key=lambda one: (one.first, one.uid))
    furthest = None
    for one in ordered:
        if furthest is not None and min(furthest, one.last) - one.first > SHARED:
            return True
        furthest = one.last if furthest is None else max(furthest, one.last)
    return False


def _is_pod(claim: Claim) -> bool:
    return claim.first == claim.last and bool(claim.identity.k8s_pod_uid)


def _overlap(one: Claim, other: Claim) -> bool:
    return (
        one.valid_from < other.valid_to
        and other.valid_from < one.valid_to
        and one.identity.k8s_pod_uid != other.identity.k8s_pod_uid
    )


def _neighbours(claims: list[Claim]) -> Iterator[tuple[Claim, Claim]]:
    """Yield each claim with the one of the earlier ones that lasts longest."""
    ordered = sorted(claims, key=lambda one: one.valid_from)
    furthest: Claim | None = None
    for claim in ordered:
        if furthest is not None:
            yield furthest, claim
        if furthest is None or claim.valid_to > furthest.valid_to:
            furthest = claim


def _outside(claim: Claim, spans: Iterable[Span]) -> Iterator[Claim]:
    """Return the parts of a claim's time that lie in none of `spans`."""
    for start, end in without([(claim.valid_from, claim.valid_to)], spans):
        yield replace(claim, valid_from=start, valid_to=end)
