"""Kubernetes objects as they are watched, and the facts they state.

Only the fields that identities need are decoded, and only those are kept: what is stored is
Kubernetes' own JSON with everything else left out, so the same code reads it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from flowcost.address import pack, unpack
from flowcost.clock import parse
from flowcost.resolve import kubernetes, kubernetes_nodes, tags
from flowcost.resolve.chronicle import Fact, Sighting
from flowcost.resolve.kubernetes_owners import HASH_LABEL, controller
from flowcost.resolve.kubernetes_slices import Slice

HOST = "host"  # the key of a pod that uses its node's addresses
_KEPT_LABELS = frozenset(tags.MEANINGS) | {HASH_LABEL}
_NODE_LABELS = "topology."
_OLD_NODE_LABELS = "failure-domain.beta.kubernetes.io/"


class Annotations(Struct, gc=False):
    """The one annotation that is read: the hash a static pod's cgroup is called by."""

    config_hash: str = field(name="kubernetes.io/config.hash", default="")


class Meta(kubernetes_nodes.Meta, omit_defaults=True, gc=False):
    """The metadata of a watched object."""

    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    annotations: Annotations = field(default_factory=Annotations)


class Pod(kubernetes.Pod, omit_defaults=True, gc=False):
    """A watched pod."""

    metadata: Meta


class Node(kubernetes_nodes.Node, omit_defaults=True, gc=False):
    """A watched node."""

    metadata: Meta


class Service(kubernetes.Service, gc=False):
    """A watched Service."""

    metadata: Meta


class EndpointSlice(Slice, gc=False):
    """A watched EndpointSlice."""

    metadata: Meta


class Bare(Struct, gc=False):
    """A watched object of which only the metadata is read."""

    metadata: Meta


class Resource(Struct, frozen=True):
    """One resource: where it is, what is decoded of it, and what it states.

    `bare` means that the server is asked for metadata alone.
    """

    name: str
    path: str
    shape: type[Any]
    facts: Callable[[Any], Iterator[Fact]]
    bare: bool = False


def sighting(resource: Resource, seen: Any) -> Sighting:  # noqa: ANN401 - of the resource's shape
    """Return what an object states.

    Raises:
        ValueError: it holds a text that is no address or time.
    """
    meta: Meta = seen.metadata
    name = meta.uid if resource.name == "pods" else f"{meta.namespace}/{meta.name}"
    began, ended = None, None
    if isinstance(seen, Pod):
        began = _instant(seen.status.start_time)
        ended = max(_container_ends(seen), default=None) if seen.ended else None
    elif not isinstance(seen, EndpointSlice):  # a member may be younger than its slice
        began = _instant(meta.creation_timestamp)
    number = meta.resource_version
    return Sighting(
        name,
        int(number) if number.isdecimal() else 0,
        tuple(resource.facts(seen)),
        began,
        ended,
    )


def end_of(seen: Any) -> datetime | None:  # noqa: ANN401 - of any resource's shape
    """Return what a deleted object says of its end: when its last container ended, if all have."""
    if not isinstance(seen, Pod):
        return None
    ends = _container_ends(seen)
    return max(ends) if ends and len(ends) == len(seen.status.container_statuses) else None


def _pod(pod: Pod) -> Iterator[Fact]:
    """Yield who a pod is, keyed by its addresses; a finished one says so only with its end."""
    if not pod.spec.node_name or (pod.ended and not _container_ends(pod)):
        return
    addresses = pod.addresses()
    key = HOST if pod.spec.host_network else ",".join(map(unpack, addresses))
    slim = Pod(
        metadata=_slim(pod.metadata),
        spec=pod.spec,
        status=kubernetes.PodStatus(pod_ips=[kubernetes.Address(unpack(one)) for one in addresses]),
    )
    yield Fact("pod", key, msgspec.json.encode(slim))


def _node(node: Node) -> Iterator[Fact]:
    addresses = list(dict.fromkeys(pack(text) for text in node.addresses()))
    labels = {
        key: value
        for key, value in sorted(node.metadata.labels.items())
        if key.startswith((_NODE_LABELS, _OLD_NODE_LABELS))
    }
    slim = Node(
        metadata=Meta(name=node.metadata.name, labels=labels),
        spec=node.spec,
        status=kubernetes_nodes.NodeStatus(
            addresses=[
                kubernetes_nodes.NodeAddress(type="InternalIP", address=unpack(one))
                for one in addresses
            ]
        ),
    )
    yield Fact("node", ",".join(map(unpack, addresses)), msgspec.json.encode(slim))


def _namespace(namespace: Bare) -> Iterator[Fact]:
    slim = Bare(_slim(namespace.metadata))
    yield Fact("namespace", namespace.metadata.name, msgspec.json.encode(slim))


def _service(service: Service) -> Iterator[Fact]:
    name = f"{service.metadata.namespace}/{service.metadata.name}"
    for address in service.addresses():
        yield Fact("service", unpack(address), name.encode())


def _slice(one: EndpointSlice) -> Iterator[Fact]:
    if name := one.service:
        for uid in dict.fromkeys(one.pods()):
            yield Fact("member", uid, name.encode())
        for address in dict.fromkeys(map(pack, one.outside())):
            yield Fact("outside", unpack(address), name.encode())


def _owner(kind: str) -> Callable[[Bare], Iterator[Fact]]:
    def facts(one: Bare) -> Iterator[Fact]:
        meta = one.metadata
        slim = Bare(replace(_slim(meta), labels={}))
        yield Fact("owner", f"{kind}/{meta.namespace}/{meta.name}", msgspec.json.encode(slim))

    return facts


def _slim(meta: Meta) -> Meta:
    """Return what is kept of an object's metadata."""
    owner = controller(meta)
    return Meta(
        name=meta.name,
        namespace=meta.namespace,
        uid=meta.uid,
        labels={
            key: value
            for key, value in sorted(meta.labels.items())
            if key.casefold() in _KEPT_LABELS
        },
        owner_references=[kubernetes_nodes.Owner(*owner, controller=True)] if owner else [],
        annotations=meta.annotations,
    )


def _container_ends(pod: Pod) -> list[datetime]:
    states = [container.state.terminated for container in pod.status.container_statuses]
    return [parse(state.finished_at) for state in states if state and state.finished_at]


def _instant(text: str | None) -> datetime | None:
    return parse(text) if text else None


# What pods refer to comes first, so that it is known when they are read.
RESOURCES = (
    Resource("namespaces", "/api/v1/namespaces", Bare, _namespace, bare=True),
    Resource("nodes", "/api/v1/nodes", Node, _node),
    Resource("replicasets", "/apis/apps/v1/replicasets", Bare, _owner("ReplicaSet"), bare=True),
    Resource("jobs", "/apis/batch/v1/jobs", Bare, _owner("Job"), bare=True),
    Resource("services", "/api/v1/services", Service, _service),
    Resource("endpointslices", "/apis/discovery.k8s.io/v1/endpointslices", EndpointSlice, _slice),
    Resource("pods", "/api/v1/pods", Pod, _pod),
)
