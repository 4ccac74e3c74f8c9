"""Who is on this node, and who its peers are: Kubernetes, the node's place, declarations.

Own pods are known by uid (the cgroup says which), peers by address: endpoints and nodes carry a
zone, and a node's pod block says where its other pods are. A Service address has a name and no
zone: what it costs to reach is the backend's to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from msgspec import Struct, field
from msgspec.structs import replace

from flowcost.address import network, pack
from flowcost.agent.imds import Place
from flowcost.agent.kubernetes import Endpoint, EndpointSlice, Objects, Pod, Service, Target
from flowcost.model import EndKind, Identity
from flowcost.resolve import Claim, Layer, Resolution, ServiceClaim
from flowcost.resolve.kubernetes_nodes import node_identity
from flowcost.resolve.kubernetes_owners import Owners
from flowcost.resolve.timeline import build

ZONE = "topology.kubernetes.io/zone"
SERVICE_NAME = "kubernetes.io/service-name"
CONFIG_HASH = "kubernetes.io/config.hash"

_OWNERS = Owners()  # by the names that controllers give: the agent lists no ReplicaSets


class World(Struct, frozen=True, kw_only=True):
    """Everything the agent knows about who is who, at one moment.

    `pods` are the node's own, by uid, as are their `labels`; `node` is the node itself,
    `node_address` one of its addresses, `zone_id` its zone's id if that is known (the identities'
    zones are names where some node has no id). `services` maps a virtual address to
    `namespace/name`.
    """

    node: Identity = Identity()
    node_address: bytes = b""
    zone_id: str = ""
    pods: dict[str, Identity] = field(default_factory=dict)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    services: dict[bytes, str] = field(default_factory=dict)
    resolution: Resolution = Resolution(identities={0: Identity()})


def world(
    objects: Objects,
    *,
    node_name: str,
    cluster: str,
    place: Place,
    at: datetime,
    zone_ids: Mapping[str, str] | None = None,
    layers: Sequence[Layer] = (),
) -> World:
    """Return the world as `objects` and the other `layers` describe it at `at`.

    `place` is of this node and wins over its labels; `zone_ids` maps zone names to zone ids where
    nodes carry no zone-id label.
    """
    seen = {node.metadata.name: node_identity(node, cluster, {}) for node in objects.nodes}
    names = {node.metadata.name: node.metadata.labels.get(ZONE, "") for node in objects.nodes}
    given = zone_ids or {}
    nodes = _zoned(seen, names, own=node_name, place=place, given=given)
    own = placed(
        nodes.get(node_name)
        or Identity(kind=EndKind.COMPUTE, k8s_cluster_name=cluster, k8s_node_name=node_name),
        place,
    )
    if node_name:
        nodes[node_name] = own
    pods: dict[str, Identity] = {}
    labels: dict[str, dict[str, str]] = {}
    for pod in objects.pods:
        if node_name and pod.spec.node_name != node_name:
            continue
        identity = _pod(pod, nodes)
        pods[pod.metadata.uid] = identity
        labels[pod.metadata.uid] = pod.metadata.labels
        if mirror := pod.metadata.annotations.get(CONFIG_HASH):
            pods[mirror] = identity
    layer = Layer(
        source="kubernetes",
        claims=tuple(_claims(objects, nodes, cluster, at)),
        services=tuple(_services(objects.services, cluster)),
    )
    resolution = build((layer, *layers))
    addresses = (
        text for one in objects.nodes if one.metadata.name == node_name for text in one.addresses()
    )
    zone_id = seen.get(node_name, Identity()).cloud_availability_zone
    return World(
        node=own,
        node_address=next(map(pack, addresses), b""),
        zone_id=place.zone_id or zone_id or given.get(names.get(node_name, ""), ""),
        pods=pods,
        labels=labels,
        services=services_at(resolution, at, cluster),
        resolution=resolution,
    )


def services_at(resolution: Resolution, at: datetime, cluster: str) -> dict[bytes, str]:
    """Return the names of the virtual addresses that are dialed in `cluster` at `at`."""
    return {
        claim.address: claim.name
        for claim in resolution.services  # those of no cluster come first
        if claim.cluster in ("", cluster) and claim.valid_from <= at < claim.valid_to
    }


def _zoned(
    nodes: Mapping[str, Identity],
    names: Mapping[str, str],
    *,
    own: str,
    place: Place,
    given: Mapping[str, str],
) -> dict[str, Identity]:
    """Return the nodes with zones in one spelling: ids if all are known, else names, else gaps.

    Names differ between accounts but mean the same within one cluster, whose nodes are in one
    account; an id is never compared with a name.
    """
    ids = {
        name: node.cloud_availability_zone or given.get(names[name], "")
        for name, node in nodes.items()
    }
    if own in ids and place.zone_id:
        ids[own] = place.zone_id
    learnt = {names[name]: zone for name, zone in ids.items() if zone and names[name]}
    ids = {name: zone or learnt.get(names[name], "") for name, zone in ids.items()}
    zones = names if all(names.values()) and not all(ids.values()) else ids
    return {
        name: replace(node, cloud_availability_zone=zones[name]) for name, node in nodes.items()
    }


def placed(node: Identity, place: Place) -> Identity:
    """Return this node's identity with what its own metadata says.

    The zone stays in the spelling the cluster's nodes are compared in.
    """
    return replace(
        node,
        cloud_provider=place.provider or node.cloud_provider,
        cloud_account_id=place.account or node.cloud_account_id,
        cloud_region=place.region or node.cloud_region,
        cloud_availability_zone=node.cloud_availability_zone or place.zone_id,
        cloud_vpc_id=place.vpc or node.cloud_vpc_id,
        cloud_subnet_id=place.subnet or node.cloud_subnet_id,
    )


def _pod(pod: Pod, nodes: Mapping[str, Identity]) -> Identity:
    kind, name = _OWNERS.workload(pod.metadata)
    return replace(
        nodes.get(pod.spec.node_name) or Identity(kind=EndKind.COMPUTE),
        k8s_namespace_name=pod.metadata.namespace,
        k8s_workload_kind=kind,
        k8s_workload_name=name,
        k8s_pod_name=pod.metadata.name,
        k8s_pod_uid=pod.metadata.uid,
    )


def _claims(
    objects: Objects, nodes: Mapping[str, Identity], cluster: str, at: datetime
) -> Iterator[Claim]:
    """Yield who has which address; where pods and endpoints name one address, the pod speaks."""
    for node in objects.nodes:
        for block in node.spec.pod_cidrs:
            first, last = network(block)
            yield Claim(first=first, last=last, identity=nodes[node.metadata.name])
    hosts = _endpoints(objects.endpointslices, nodes, cluster)
    for pod in objects.pods:
        if _holds_its_addresses(pod, at):
            hosts.update(dict.fromkeys(pod.addresses(), _pod(pod, nodes)))
    for node in objects.nodes:
        hosts.update(dict.fromkeys(map(pack, node.addresses()), nodes[node.metadata.name]))
    for service in objects.services:
        hosts.update(dict.fromkeys(map(pack, _ips(service)), _virtual(service, cluster)))
    for address, identity in hosts.items():
        yield Claim(first=address, last=address, identity=identity)


def _holds_its_addresses(pod: Pod, at: datetime) -> bool:
    """Return whether the pod's addresses are its own: a finished pod's may be another's by now."""
    validity = pod.validity()
    return not pod.spec.host_network and validity is not None and at < validity[1]


def _ips(service: Service) -> list[str]:
    """Return a Service's virtual addresses; a headless one has none."""
    return [ip for ip in service.spec.cluster_ips if ip != "None"]


def _endpoints(
    slices: Sequence[EndpointSlice], nodes: Mapping[str, Identity], cluster: str
) -> dict[bytes, Identity]:
    """Return backends by address; behind two Services, the first by name speaks for both."""
    found: dict[bytes, Identity] = {}
    ordered = sorted(slices, key=lambda one: one.metadata.labels.get(SERVICE_NAME, ""))
    for one in ordered:
        if one.address_type == "FQDN":
            continue
        for endpoint in one.endpoints or ():
            identity = _endpoint(one, endpoint, nodes, cluster)
            for text in endpoint.addresses:
                found.setdefault(pack(text), identity)
    return found


def _endpoint(
    slice_: EndpointSlice, endpoint: Endpoint, nodes: Mapping[str, Identity], cluster: str
) -> Identity:
    pod = endpoint.target_ref
    if pod is None or pod.kind != "Pod":
        pod = Target()
    place = nodes.get(endpoint.node_name or "")
    return replace(
        place or Identity(kind=EndKind.COMPUTE, k8s_cluster_name=cluster),
        k8s_namespace_name=slice_.metadata.namespace,
        k8s_pod_name=pod.name,
        k8s_pod_uid=pod.uid,
        service_name=slice_.metadata.labels.get(SERVICE_NAME, ""),
    )


def _virtual(service: Service, cluster: str) -> Identity:
    return Identity(
        kind=EndKind.COMPUTE,
        k8s_cluster_name=cluster,
        k8s_namespace_name=service.metadata.namespace,
        service_name=service.metadata.name,
    )


def _services(services: Sequence[Service], cluster: str) -> Iterator[ServiceClaim]:
    for service in services:
        name = f"{service.metadata.namespace}/{service.metadata.name}"
        for ip in _ips(service):
            yield ServiceClaim(address=pack(ip), name=name, cluster=cluster)
