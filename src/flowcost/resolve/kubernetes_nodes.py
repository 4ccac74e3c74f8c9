"""Nodes: their addresses, and where they stand."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from flowcost.model import EndKind, Finding, Identity
from flowcost.usage_types import region_of_az

_REGION = "topology.kubernetes.io/region"
_ZONE = "topology.kubernetes.io/zone"
_AWS_ZONE_ID = "topology.k8s.aws/zone-id"
_OLD = {
    _REGION: "failure-domain.beta.kubernetes.io/region",
    _ZONE: "failure-domain.beta.kubernetes.io/zone",
}

# Scheme of `spec.providerID` -> provider, as each cloud's controller writes it.
_PROVIDERS = {"aws": "aws", "gce": "gcp", "azure": "azure", "oci": "oci"}
_INSTANCE = re.compile(r"^aws://.*/(i-[0-9a-f]+)$")


class Owner(Struct, omit_defaults=True, gc=False):
    """One entry of `metadata.ownerReferences`."""

    kind: str = ""
    name: str = ""
    controller: bool = False


class Meta(Struct, rename="camel", gc=False):
    """The metadata of an object, as far as it is read."""

    name: str
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    owner_references: list[Owner] = field(default_factory=list)


class NodeAddress(Struct, omit_defaults=True):
    """One address of a node, or one of its names."""

    type: str = ""
    address: str = ""


class NodeStatus(Struct, omit_defaults=True):
    """The status of a node, as far as it is read."""

    addresses: list[NodeAddress] = field(default_factory=list)


class _NodeSpec(Struct, omit_defaults=True):
    provider_id: str = field(name="providerID", default="")
    pod_cidrs: list[str] = field(name="podCIDRs", default_factory=list)


class Node(Struct):
    """One node, as far as it is read."""

    metadata: Meta
    spec: _NodeSpec = field(default_factory=_NodeSpec)
    status: NodeStatus = field(default_factory=NodeStatus)

    @property
    def zone_name(self) -> str:
        """Return the name of the node's zone, which says nothing outside its account."""
        return _label(self, _ZONE)

    def addresses(self) -> Iterator[str]:
        """Yield the node's own addresses; names are left out."""
        for one in self.status.addresses:
            if one.type in {"InternalIP", "ExternalIP"} and one.address:
                yield one.address


def node_identity(node: Node, cluster: str, instances: Mapping[str, Identity]) -> Identity:
    """Return where a node stands; its instance's interface knows best.

    On AWS the zone label holds a name, which says nothing outside its account: only the zone-id
    label or the interface gives the id.
    """
    scheme = node.spec.provider_id.partition(":")[0]
    provider = _PROVIDERS.get(scheme, "")
    found = _INSTANCE.match(node.spec.provider_id)
    instance = found[1] if found else ""
    place = instances.get(instance, Identity())
    zone = _label(node, _AWS_ZONE_ID) or ("" if provider == "aws" else _label(node, _ZONE))
    return replace(
        place,
        kind=EndKind.COMPUTE,
        cloud_provider=place.cloud_provider or provider,
        cloud_region=place.cloud_region or _label(node, _REGION) or region_of_az(zone),
        cloud_availability_zone=place.cloud_availability_zone or zone,
        cloud_resource_id=instance,
        k8s_cluster_name=cluster,
        k8s_node_name=node.metadata.name,
    )


def one_spelling(nodes: Mapping[str, tuple[Identity, str]]) -> dict[str, Identity]:
    """Return nodes, given with their zones' names, with all zones as ids or all as names.

    Within one cluster, names mean the same everywhere; an id is never compared with a name. Where
    some zone has no id although one of its nodes does, that node's id is taken.
    """
    learnt = {
        name: place.cloud_availability_zone
        for place, name in nodes.values()
        if name and place.cloud_availability_zone
    }
    ids = {
        node: place.cloud_availability_zone or learnt.get(name, "")
        for node, (place, name) in nodes.items()
    }
    names = {node: name for node, (_, name) in nodes.items()}
    zones = names if all(names.values()) and not all(ids.values()) else ids
    return {
        node: replace(place, cloud_availability_zone=zones[node])
        for node, (place, _) in nodes.items()
    }


def node_without_zone(cluster: str, names: Collection[str]) -> Finding:
    """Return the finding for nodes whose zone nothing tells."""
    return Finding(
        code="node-without-zone",
        severity="warning",
        subject=cluster,
        count=len(names),
        sample=min(names),
        hint="traffic of its pods has no known zone; dump describe-network-interfaces and "
        "describe-subnets of its account, or label the node",
    )


def _label(node: Node, name: str) -> str:
    labels = node.metadata.labels
    return labels.get(name, "") or labels.get(_OLD.get(name, ""), "")
