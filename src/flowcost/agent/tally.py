"""Totals since the agent began, in the shapes that `/metrics` shows; memory is bounded.

Totals never go down. Conversations beyond the top ones are summed in `(other)`: a conversation
that enters the top counts there from that moment, one that has gone silent leaves with its
series, so that over any interval the increases add up to the increase of the totals.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from msgspec import Struct

from flowcost.agent.lines import OVERFLOW, Line
from flowcost.model import Direction, Identity, Path

_K = TypeVar("_K")

OTHER = "(other)"
DECAY = 0.97  # of a conversation's weight per drain: half of it is gone after two minutes


class Sum(Struct):
    """Bytes and packets, and their cost as a numerator over `money.ONE`."""

    bytes: int = 0
    packets: int = 0
    cost: int = 0
    unpriced_bytes: int = 0
    last: float = 0.0

    def add(self, line: Line, now: float) -> None:
        """Add one line at monotonic second `now`."""
        self.bytes += line.bytes
        self.packets += line.packets
        self.cost += line.cost
        self.unpriced_bytes += line.unpriced_bytes
        self.last = now


class PathKey(NamedTuple):
    """A billing path in one direction."""

    path: Path
    direction: Direction


class PodKey(NamedTuple):
    """A pod (or a unit of the node, with an empty pod) on one path."""

    namespace: str
    workload: str
    pod: str
    path: Path
    direction: Direction


class PeerKey(NamedTuple):
    """A workload and whom it talks to: the dialed Service, else the workload, else a name."""

    namespace: str
    workload: str
    peer_namespace: str
    peer: str


class ClassKey(NamedTuple):
    """What the network-cost metrics of OpenCost tell apart."""

    namespace: str
    pod: str
    internet: bool
    same_zone: bool
    same_region: bool
    nat_gateway: bool
    service: str
    direction: Direction


class Tally:
    """Sums of every line so far.

    `top` bounds the conversations shown; a pod or conversation silent for `keep_s` seconds
    leaves, late enough for two scrapes to have seen its end.
    """

    def __init__(self, *, top: int = 200, keep_s: float = 900.0) -> None:
        self.top = top
        self.keep_s = keep_s
        self.paths: dict[PathKey, Sum] = {}
        self.pods: dict[PodKey, Sum] = {}
        self.classes: dict[ClassKey, Sum] = {}
        self.overflow: dict[PodKey, Sum] = {}
        self.peers: dict[PeerKey, dict[PathKey, Sum]] = {}
        self._weights: dict[PeerKey, float] = {}

    def take(self, lines: Iterable[Line], now: float) -> None:
        """Add the lines of one drain at monotonic second `now`."""
        conversations: dict[PeerKey, list[Line]] = {}
        for line in lines:
            path = PathKey(line.verdict.path, line.direction)
            _sum(self.paths, path).add(line, now)
            namespace, workload, pod = local_labels(line.local)
            key = PodKey(namespace, workload, pod, *path)
            _sum(self.pods, key).add(line, now)
            if line.verdict is OVERFLOW:
                _sum(self.overflow, key).add(line, now)
            if line.local.k8s_pod_name and line.verdict.priced:
                _sum(self.classes, _class(line, namespace, pod)).add(line, now)
            peer = PeerKey(namespace, workload, *peer_labels(line))
            conversations.setdefault(peer, []).append(line)
        self._rank(conversations)
        for peer, its in conversations.items():
            shown = (
                peer if peer in self.peers else PeerKey(peer.namespace, peer.workload, "", OTHER)
            )
            sums = self.peers.setdefault(shown, {})
            for line in its:
                _sum(sums, PathKey(line.verdict.path, line.direction)).add(line, now)
        self._forget(now)

    def _rank(self, conversations: dict[PeerKey, list[Line]]) -> None:
        """Let the heaviest conversations in, in place of silent lighter ones."""
        for peer in self._weights:
            self._weights[peer] *= DECAY
        for peer, lines in conversations.items():
            size = sum(line.bytes for line in lines)
            self._weights[peer] = self._weights.get(peer, 0.0) + size
        for peer in sorted(conversations, key=lambda one: (-self._weights[one], one)):
            if peer in self.peers:
                continue
            if self._shown() >= self.top and not self._make_room(peer, conversations):
                break
            self.peers[peer] = {}
        if len(self._weights) > 4 * self.top:
            heaviest = sorted(self._weights, key=lambda one: -self._weights[one])[: 2 * self.top]
            kept = {*heaviest, *self.peers}
            self._weights = {peer: self._weights[peer] for peer in kept if peer in self._weights}

    def _shown(self) -> int:
        return sum(peer.peer != OTHER for peer in self.peers)

    def _make_room(self, peer: PeerKey, active: dict[PeerKey, list[Line]]) -> bool:
        """Drop the lightest silent conversation if `peer` is clearly heavier."""
        silent = [one for one in self.peers if one.peer != OTHER and one not in active]
        lightest = min(silent, key=lambda one: self._weights.get(one, 0.0), default=None)
        if lightest is None or self._weights[peer] < 2 * self._weights.get(lightest, 0.0):
            return False
        del self.peers[lightest]
        return True

    def _forget(self, now: float) -> None:
        before = now - self.keep_s
        _drop_silent(self.pods, before)
        _drop_silent(self.classes, before)
        _drop_silent(self.overflow, before)
        for peer in [
            peer
            for peer, sums in self.peers.items()
            if sums and all(total.last < before for total in sums.values())
        ]:
            del self.peers[peer]
            self._weights.pop(peer, None)


def local_labels(local: Identity) -> tuple[str, str, str]:
    """Return namespace, workload and pod; a pod still unknown shows its uid, a unit its path."""
    if local.k8s_pod_uid:
        pod = local.k8s_pod_name or local.k8s_pod_uid
        return local.k8s_namespace_name, local.k8s_workload_name, pod
    return "", local.service_name or "(node)", ""


def peer_labels(line: Line) -> tuple[str, str]:
    """Return namespace and name of the far end, by the best name there is."""
    if line.dialed:
        namespace, _, name = line.dialed.rpartition("/")
        return namespace, name
    remote = line.remote
    name = (
        remote.k8s_workload_name
        or remote.service_name
        or remote.k8s_pod_name
        or line.name
        or remote.dns_name
        or remote.cloud_service
        or remote.cloud_resource_id
        or remote.k8s_node_name
        or str(line.verdict.path)
    )
    return remote.k8s_namespace_name, name


_INTERNET = {Path.INTERNET_EGRESS, Path.INTERNET_INGRESS, Path.NAT_GATEWAY}


def _class(line: Line, namespace: str, pod: str) -> ClassKey:
    """Return the class of a priced line; what costs nothing counts as within the zone."""
    path = line.verdict.path
    internet = path in _INTERNET
    return ClassKey(
        namespace,
        pod,
        internet=internet,
        same_zone=not internet and line.cost == 0,
        same_region=not internet and path is not Path.CROSS_REGION,
        nat_gateway=path is Path.NAT_GATEWAY,
        service=line.remote.cloud_service,
        direction=line.direction,
    )


def _sum(sums: dict[_K, Sum], key: _K) -> Sum:
    found = sums.get(key)
    if found is None:
        found = sums[key] = Sum()
    return found


def _drop_silent(sums: dict[_K, Sum], before: float) -> None:
    for key in [key for key, total in sums.items() if total.last < before]:
        del sums[key]
