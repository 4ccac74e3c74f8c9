"""Kubernetes objects as the agent reads them: lists of the API, or what `kubectl get` printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct, field

from flowcost.errors import InventoryError
from flowcost.resolve import kubernetes
from flowcost.resolve.kubernetes_nodes import Meta, Node

_S = TypeVar("_S", bound=Struct)


class PodMeta(Meta):
    """A pod's metadata: annotations tell a static pod's hash, which its cgroup is called by."""

    annotations: dict[str, str] = field(default_factory=dict)


class Pod(kubernetes.Pod):
    """A pod of this node."""

    metadata: PodMeta


class _ServiceSpec(Struct, rename="camel"):
    cluster_ips: list[str] = field(name="clusterIPs", default_factory=list)


class Service(Struct):
    """A Service and its virtual addresses."""

    metadata: Meta
    spec: _ServiceSpec = field(default_factory=_ServiceSpec)


class Target(Struct):
    """The object behind an endpoint."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class Endpoint(Struct, rename="camel"):
    """One backend of a Service."""

    addresses: list[str] = field(default_factory=list)
    node_name: str | None = None
    target_ref: Target | None = None


class EndpointSlice(Struct, rename="camel"):
    """Backends of one Service, of one address family."""

    metadata: Meta
    address_type: str = ""
    endpoints: list[Endpoint] | None = None


class Objects(Struct, frozen=True):
    """All objects of one moment."""

    pods: list[Pod]
    nodes: list[Node]
    services: list[Service]
    endpointslices: list[EndpointSlice]


class _Pods(Struct):
    items: list[Pod]


class _Nodes(Struct):
    items: list[Node]


class _Services(Struct):
    items: list[Service]


class _EndpointSlices(Struct):
    items: list[EndpointSlice]


def decode(documents: Mapping[str, bytes]) -> Objects:
    """Return the objects of list documents by resource; missing resources are empty.

    Raises:
        InventoryError: a document is not what `kubectl get <resource> -A -o json` prints.
    """
    pods = _list(documents, "pods", _Pods)
    nodes = _list(documents, "nodes", _Nodes)
    services = _list(documents, "services", _Services)
    slices = _list(documents, "endpointslices", _EndpointSlices)
    return Objects(
        pods=pods.items if pods else [],
        nodes=nodes.items if nodes else [],
        services=services.items if services else [],
        endpointslices=slices.items if slices else [],
    )


def _list(documents: Mapping[str, bytes], resource: str, kind: type[_S]) -> _S | None:
    body = documents.get(resource)
    try:
        return None if body is None else msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise InventoryError(
            f"{resource}: {error}", hint=f"Expected: kubectl get {resource} -A -o json"
        ) from None
