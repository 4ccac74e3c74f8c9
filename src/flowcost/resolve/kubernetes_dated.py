"""A cluster's dated facts become a layer, by the decisions that read an inventory's files.

A pod's claim is cut wherever its node, its namespace's labels or the Service it serves changed,
and nowhere else. Where the beginning of such a change is not known exactly, or lies in a pod's
first minutes, it holds from the pod's start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from flowcost.address import pack
from flowcost.model import Finding, Identity
from flowcost.resolve import ALWAYS, FOREVER, Claim, Layer, ServiceClaim, tags
from flowcost.resolve.chronicle import SETTLES, DatedFact
from flowcost.resolve.history import succeeded
from flowcost.resolve.kubernetes import InNetwork, pod_claims, pod_identity
from flowcost.resolve.kubernetes_facts import Bare, Node, Pod
from flowcost.resolve.kubernetes_nodes import node_identity, node_without_zone
from flowcost.resolve.kubernetes_owners import Owners
from flowcost.resolve.kubernetes_slices import only

T = TypeVar("T")


class _Then(NamedTuple, Generic[T]):
    """Something that held from `start` to `end`; it may have begun since `after` already."""

    after: datetime
    start: datetime
    end: datetime
    value: T


class Cluster:
    """The facts of one cluster, by what they are of."""

    def __init__(
        self,
        name: str,
        facts: Iterable[DatedFact],
        instances: Mapping[str, Identity],
        in_network: InNetwork,
    ) -> None:
        self._name = name
        self._in_network = in_network
        self._unplaced = Identity(k8s_cluster_name=name)
        self._owners = Owners()
        self._pods: list[_Then[Pod]] = []
        self._nodes: dict[str, list[_Then[tuple[Node, Identity]]]] = {}
        self._labels: dict[str, list[_Then[dict[str, str]]]] = {}
        self._members: dict[str, list[_Then[str]]] = {}
        self._outside: dict[str, list[_Then[str]]] = {}
        self._services: list[ServiceClaim] = []
        self._unsure: list[str] = []
        for fact in facts:
            self._add(fact, instances)

    def _add(self, fact: DatedFact, instances: Mapping[str, Identity]) -> None:
        end = fact.valid_to or FOREVER
        since = fact.began_after, fact.valid_from, end
        match fact.kind:
            case "pod":
                pod = msgspec.json.decode(fact.body, type=Pod)
                self._pods.append(_Then(*since, pod))
                if fact.ended_after and fact.ended_after < end:
                    self._unsure.append(f"{pod.metadata.namespace}/{pod.metadata.name}")
            case "node":
                node = msgspec.json.decode(fact.body, type=Node)
                place = node_identity(node, self._name, instances)
                self._nodes.setdefault(node.metadata.name, []).append(_Then(*since, (node, place)))
            case "namespace":
                meta = msgspec.json.decode(fact.body, type=Bare).metadata
                self._labels.setdefault(meta.name, []).append(
                    _Then(*since, tags.attributes(meta.labels))
                )
            case "owner":
                meta = msgspec.json.decode(fact.body, type=Bare).metadata
                self._owners.add(fact.key.partition("/")[0], meta)
            case "service":
                self._services.append(
                    ServiceClaim(
                        address=pack(fact.key),
                        name=fact.body.decode(),
                        cluster=self._name,
                        valid_from=fact.valid_from,
                        valid_to=end,
                    )
                )
            case "member":
                self._members.setdefault(fact.key, []).append(_Then(*since, fact.body.decode()))
            case "outside":
                self._outside.setdefault(fact.key, []).append(_Then(*since, fact.body.decode()))

    def layer(self) -> Layer:
        """Return what the cluster said, dated."""
        return Layer(
            source="kubernetes",
            claims=(*succeeded(list(self._pod_claims())), *self._node_claims(), *self._rest()),
            services=tuple(self._services),
            findings=tuple(self._findings()),
        )

    def _pod_claims(self) -> Iterator[Claim]:
        for then in self._pods:
            for start, end, identity in _joined(self._pod_pieces(then)):
                yield from pod_claims(then.value, identity, (start, end), self._in_network)

    def _pod_pieces(self, then: _Then[Pod]) -> Iterator[tuple[datetime, datetime, Identity]]:
        pod, start, end = then.value, then.start, then.end
        meta = pod.metadata
        nodes = self._nodes.get(pod.spec.node_name, [])
        labels = self._labels.get(meta.namespace, [])
        members = self._members.get(meta.uid, [])
        workload = self._owners.workload(meta)
        if (
            _whole(nodes, start, end) and _whole(labels, start, end) and _whole(members, start, end)
        ):  # nearly every pod; the rest says the same, slowly
            place = nodes[0].value[1] if nodes else self._unplaced
            only_labels = labels[0].value if labels else {}
            service = members[0].value if members else ""
            yield start, end, pod_identity(pod, place, workload, only_labels, service)
            return
        edges = sorted({start, end, *_edges((*nodes, *labels, *members), start, end)})
        for at, until in pairwise(edges):
            placed = _at(nodes, at, start)
            named = _at(labels, at, start)
            services = {one.value for one in members if _holds(one, at, start)}
            identity = pod_identity(
                pod,
                placed[1] if placed else self._unplaced,
                workload,
                named or {},
                only(services),
            )
            yield at, until, identity

    def _node_claims(self) -> Iterator[Claim]:
        for versions in self._nodes.values():
            for then in versions:
                node, place = then.value
                for address in map(pack, node.addresses()):
                    yield Claim(
                        first=address,
                        last=address,
                        identity=place,
                        valid_from=then.start,
                        valid_to=then.end,
                    )

    def _rest(self) -> Iterator[Claim]:
        """Yield the addresses that a Service without pods stands for."""
        for text, found in self._outside.items():
            address = pack(text)
            edges = sorted({edge for one in found for edge in (_start(one), one.end)})
            for at, until in pairwise(edges):
                if name := only({one.value for one in found if _start(one) <= at < one.end}):
                    yield Claim(
                        first=address,
                        last=address,
                        identity=Identity(service_name=name),
                        valid_from=at,
                        valid_to=until,
                    )

    def _findings(self) -> Iterator[Finding]:
        placeless = [
            name
            for name, versions in self._nodes.items()
            if any(not then.value[1].cloud_availability_zone for then in versions)
        ]
        if placeless:
            yield node_without_zone(self._name, placeless)
        if self._unsure:
            yield Finding(
                code="identity-end-unseen",
                severity="info",
                subject=self._name,
                count=len(self._unsure),
                sample=min(self._unsure),
                hint="these pods ended while the cluster's API was not heard; each counts as the "
                "holder of its address until it was next listed, or until the next pod began there",
            )


def _start(one: _Then[T]) -> datetime:
    """Return when an address without a pod began; what the first list shows was always so."""
    return ALWAYS if one.after == ALWAYS else one.start


def _from(one: _Then[T], born: datetime) -> datetime:
    """Return since when something holds for a pod born at `born`; see the module's text."""
    if one.start <= born:
        return one.start
    unsure = one.after <= born
    young = one.start < born + SETTLES
    return born if unsure or young else one.start


def _holds(one: _Then[T], at: datetime, born: datetime) -> bool:
    return _from(one, born) <= at < one.end


def _at(versions: Sequence[_Then[T]], at: datetime, born: datetime) -> T | None:
    """Return the newest version that holds at `at`."""
    holding = [one for one in versions if _holds(one, at, born)]
    return max(holding, key=lambda one: one.start).value if holding else None


def _whole(things: Sequence[_Then[T]], start: datetime, end: datetime) -> bool:
    """Return whether there is at most one thing, and it holds all of the time."""
    return not things or (
        len(things) == 1 and _from(things[0], start) <= start and things[0].end >= end
    )


def _edges(things: Iterable[_Then[Any]], start: datetime, end: datetime) -> Iterator[datetime]:
    for one in things:
        for edge in (_from(one, start), one.end):
            if start < edge < end:
                yield edge


def _joined(
    pieces: Iterable[tuple[datetime, datetime, Identity]],
) -> Iterator[tuple[datetime, datetime, Identity]]:
    """Yield the pieces with neighbours of one identity made one."""
    held: tuple[datetime, datetime, Identity] | None = None
    for start, end, identity in pieces:
        if held and held[2] == identity:
            held = held[0], end, identity
            continue
        if held:
            yield held
        held = start, end, identity
    if held:
        yield held
