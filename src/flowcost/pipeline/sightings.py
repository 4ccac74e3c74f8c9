"""What agents saw of their own ends, laid over what else is known of one hour.

An agent knows its pods by cgroup, so it is right about who had an address, whatever a watch or an
inventory missed. Inside one hour:

- an address belongs to the pod that was seen there; what others claim holds outside that time;
- an address of the node, which pods on the host's network share, stays the node's;
- a pod that others know too is described in their words, which say more;
- a gap between two pods belongs to the one before it, and before the first to the first: the
  clocks of nodes and of the API server differ, and a connection's end outlives its pod.

Clusters whose pods have one address at once have an address plan each (`resolve.plans`): what
they say and see of it is laid over each other cluster by cluster.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
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
from flowcost.resolve import Claim, Layer, ServiceClaim

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Pods that have one address at once for longer than windows overlap share their node's.
SHARED = timedelta(minutes=1)

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
        for address, all_held in pods.items():
            for clusters, held, seen in self._by_plan(address, all_held):
                of_node = any((address, cluster) in nodes for cluster in clusters)
                if not of_node and _is_shared(seen):
                    claims += self._node(address, seen)
                claims += self._pods(address, held, [] if of_node or _is_shared(seen) else seen)
        self._placed = {claim.identity.k8s_pod_uid for claim in claims}
        yield Layer(source="kubernetes", claims=tuple(claims))

    def _by_plan(
        self, address: bytes, held: list[Claim]
    ) -> Iterator[tuple[set[str], list[Claim], list[Sighting]]]:
        """Yield (clusters, claims, sightings) on an address, by cluster where plans differ."""
        seen = self._seen.get(address, [])
        clusters = {claim.identity.k8s_cluster_name for claim in held} | set(map(self._of, seen))
        parts = [
            (
                {cluster},
                [claim for claim in held if claim.identity.k8s_cluster_name == cluster],
                [one for one in seen if self._of(one) == cluster],
            )
            for cluster in sorted(clusters)
        ]
        if len(clusters - {""}) > 1 and _at_once(
            [spans for part in parts if (spans := _spans(*part[1:]))]
        ):
            yield from parts
        else:
            yield clusters, held, seen

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


def _spans(held: Iterable[Claim], seen: Iterable[Sighting]) -> list[tuple[datetime, datetime]]:
    """Return when an address was whose, as claims and sightings have it."""
    spans = [(claim.valid_from, claim.valid_to) for claim in held]
    return sorted([*spans, *((one.first, one.last) for one in seen)])


def _at_once(parts: Sequence[Sequence[tuple[datetime, datetime]]]) -> bool:
    """Return whether spans of two parts overlap for longer than clocks differ."""
    edges = sorted((start, end, part) for part, spans in enumerate(parts) for start, end in spans)
    last: dict[int, datetime] = {}
    for start, end, part in edges:
        if any(min(end, until) - start > SHARED for other, until in last.items() if other != part):
            return True
        last[part] = max(end, last.get(part, end))
    return False


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


def _outside(claim: Claim, spans: Sequence[tuple[datetime, datetime]]) -> Iterator[Claim]:
    """Yield the parts of a claim's time that lie in none of `spans`."""
    start = claim.valid_from
    for first, last in sorted(spans):
        if first >= claim.valid_to:
            break
        if start < first:
            yield replace(claim, valid_from=start, valid_to=first)
        start = max(start, last)
    if start < claim.valid_to:
        yield replace(claim, valid_from=start)
