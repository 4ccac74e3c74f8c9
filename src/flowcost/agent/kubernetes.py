"""Kubernetes objects as the API and `kubectl get … -o json` spell them, and no more of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct, field

from flowcost.errors import InventoryError


class _Model(Struct, frozen=True, rename="camel"):
    pass


_M = TypeVar("_M", bound=_Model)


class OwnerReference(_Model, frozen=True):
    """Who runs an object."""

    kind: str = ""
    name: str = ""
    controller: bool = False


class Metadata(_Model, frozen=True):
    """What every object carries."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()


class _PodSpec(_Model, frozen=True):
    node_name: str = ""
    host_network: bool = False


class _PodIp(_Model, frozen=True):
    ip: str = ""


class _PodStatus(_Model, frozen=True):
    pod_ips: tuple[_PodIp, ...] = field(default=(), name="podIPs")


class Pod(_Model, frozen=True):
    """A pod, as far as identity goes."""

    metadata: Metadata = Metadata()
    spec: _PodSpec = _PodSpec()
    status: _PodStatus = _PodStatus()


class _NodeSpec(_Model, frozen=True):
    provider_id: str = field(default="", name="providerID")
    pod_cidrs: tuple[str, ...] = field(default=(), name="podCIDRs")


class _NodeAddress(_Model, frozen=True):
    type: str = ""
    address: str = ""


class _NodeStatus(_Model, frozen=True):
    addresses: tuple[_NodeAddress, ...] = ()


class Node(_Model, frozen=True):
    """A node: its place and its addresses."""

    metadata: Metadata = Metadata()
    spec: _NodeSpec = _NodeSpec()
    status: _NodeStatus = _NodeStatus()


class _ServiceSpec(_Model, frozen=True):
    cluster_ips: tuple[str, ...] = field(default=(), name="clusterIPs")


class Service(_Model, frozen=True):
    """A Service and its virtual addresses."""

    metadata: Metadata = Metadata()
    spec: _ServiceSpec = _ServiceSpec()


class TargetRef(_Model, frozen=True):
    """The object behind an endpoint."""

    kind: str = ""
    name: str = ""
    namespace: str = ""
    uid: str = ""


class Endpoint(_Model, frozen=True):
    """One backend of a Service."""

    addresses: tuple[str, ...] = ()
    node_name: str | None = None
    target_ref: TargetRef | None = None


class EndpointSlice(_Model, frozen=True):
    """Backends of one Service, by address family."""

    metadata: Metadata = Metadata()
    address_type: str = ""
    endpoints: tuple[Endpoint, ...] | None = ()


class _List(Struct, frozen=True):
    items: tuple[msgspec.Raw, ...] = ()


class Objects(Struct, frozen=True):
    """All objects of one moment."""

    pods: tuple[Pod, ...] = ()
    nodes: tuple[Node, ...] = ()
    services: tuple[Service, ...] = ()
    endpointslices: tuple[EndpointSlice, ...] = ()


def decode(documents: Mapping[str, bytes]) -> Objects:
    """Return the objects of list documents by resource; missing resources are empty.

    Raises:
        InventoryError: a document is not what `kubectl get <resource> -A -o json` prints.
    """
    return Objects(
        pods=_items(documents, "pods", Pod),
        nodes=_items(documents, "nodes", Node),
        services=_items(documents, "services", Service),
        endpointslices=_items(documents, "endpointslices", EndpointSlice),
    )


def _items(documents: Mapping[str, bytes], resource: str, kind: type[_M]) -> tuple[_M, ...]:
    try:
        found = msgspec.json.decode(documents.get(resource, b"{}"), type=_List)
        return tuple(msgspec.json.decode(item, type=kind) for item in found.items)
    except msgspec.MsgspecError as error:
        raise InventoryError(
            f"{resource}: {error}", hint=f"Expected: kubectl get {resource} -A -o json"
        ) from None
