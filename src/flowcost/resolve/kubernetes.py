"""Kubernetes: pods by address, with their workloads, nodes and zones; Services that are dialed.

`kubernetes/<cluster>/<resource>.json`, each the output of `kubectl get <resource> -A -o json`.
A pod on the host's network never claims the node's address, which it shares with every other one
and with the kubelet: the node does. A pod's addresses are its own from the start of the pod to its
end, where its status tells them. Zones are zone ids: on AWS a node's zone label holds a name, so
the id comes from the label `topology.k8s.aws/zone-id` or from the interface of its instance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from flowcost.address import pack
from flowcost.clock import parse
from flowcost.errors import InventoryError
from flowcost.model import Finding, Identity
from flowcost.resolve import ALWAYS, FOREVER, Claim, Layer, ServiceClaim, tags
from flowcost.resolve.files import read_json
from flowcost.resolve.kubernetes_nodes import Meta, Node, node_identity, node_without_zone
from flowcost.resolve.kubernetes_owners import Owners
from flowcost.resolve.kubernetes_slices import Slices

# Whether a VPC has a known subnet that holds an address.
InNetwork = Callable[[str, bytes], bool]

_ENDED = {"Succeeded", "Failed"}
_HEADLESS = {"", "None"}


class Address(Struct, omit_defaults=True, gc=False):
    """One address of a pod."""

    ip: str = ""


class _Terminated(Struct, rename="camel", gc=False):
    finished_at: str | None = None


class _State(Struct, gc=False):
    terminated: _Terminated | None = None


class _Container(Struct, gc=False):
    state: _State = field(default_factory=_State)


class PodStatus(Struct, rename="camel", omit_defaults=True, gc=False):
    """The status of a pod, as far as it is read."""

    phase: str = ""
    pod_ip: str = field(name="podIP", default="")
    pod_ips: list[Address] = field(name="podIPs", default_factory=list)
    start_time: str | None = None
    container_statuses: list[_Container] = field(default_factory=list)


class _PodSpec(Struct, rename="camel", omit_defaults=True, gc=False):
    node_name: str = ""
    host_network: bool = False


class Pod(Struct, gc=False):
    """One pod, as far as it is read."""

    metadata: Meta
    spec: _PodSpec = field(default_factory=_PodSpec)
    status: PodStatus = field(default_factory=PodStatus)

    @property
    def ended(self) -> bool:
        """Return whether the pod is over for good, although it is still listed."""
        return self.status.phase in _ENDED

    def addresses(self) -> list[bytes]:
        """Return the pod's addresses, of both families."""
        texts = dict.fromkeys((self.status.pod_ip, *[one.ip for one in self.status.pod_ips]))
        return list(dict.fromkeys([pack(text) for text in texts if text]))

    def validity(self) -> tuple[datetime, datetime] | None:
        """Return when the pod held its addresses; None if it has ended and does not say when."""
        start = parse(self.status.start_time) if self.status.start_time else ALWAYS
        if not self.ended:
            return start, FOREVER
        ends = [
            container.state.terminated.finished_at
            for container in self.status.container_statuses
            if container.state.terminated and container.state.terminated.finished_at
        ]
        if start == ALWAYS or not ends:
            return None
        end = max(map(parse, ends))
        return (start, end) if start < end else None


class _ServiceSpec(Struct, rename="camel"):
    cluster_ip: str = field(name="clusterIP", default="")
    cluster_ips: list[str] = field(name="clusterIPs", default_factory=list)
    external_ips: list[str] = field(name="externalIPs", default_factory=list)


class _Ingress(Struct):
    ip: str = ""


class _Balanced(Struct):
    ingress: list[_Ingress] = field(default_factory=list)


class _ServiceStatus(Struct, rename="camel"):
    load_balancer: _Balanced = field(default_factory=_Balanced)


class Service(Struct):
    """One Service, as far as it is read."""

    metadata: Meta
    spec: _ServiceSpec = field(default_factory=_ServiceSpec)
    status: _ServiceStatus = field(default_factory=_ServiceStatus)

    def addresses(self) -> list[bytes]:
        """Return the addresses that clients dial; a headless Service has none."""
        texts = [
            self.spec.cluster_ip,
            *self.spec.cluster_ips,
            *self.spec.external_ips,
            *(one.ip for one in self.status.load_balancer.ingress),
        ]
        return list(dict.fromkeys(pack(text) for text in texts if text not in _HEADLESS))


class Namespace(Struct):
    """One namespace: its labels hold for all in it."""

    metadata: Meta


class _Pods(Struct):
    items: list[Pod]


class _Nodes(Struct):
    items: list[Node]


class _Services(Struct):
    items: list[Service]


class _Namespaces(Struct):
    items: list[Namespace]


def read(
    inventory: Path,
    instances: Mapping[str, Identity],
    in_network: InNetwork = lambda _vpc, _address: False,
) -> Iterator[Layer]:
    """Yield one layer per cluster under `inventory/kubernetes`.

    `instances` says where an instance stands (zone, account, region, network); `in_network`
    whether an address lies in a known subnet of a VPC. A pod in one of its node's VPC has an
    interface address, whose subnet may differ from its node's; any other pod leaves through its
    node's subnet.

    Raises:
        InventoryError: a file is not the output it is named after (file and field are named).
    """
    root = inventory / "kubernetes"
    if not root.is_dir():
        return
    for directory in sorted(child for child in root.iterdir() if child.is_dir()):
        try:
            yield _Cluster(directory, instances, in_network).layer()
        except ValueError as error:  # a text that is no address or time
            raise InventoryError(f"{directory}: {error}") from None


def pod_identity(
    pod: Pod,
    place: Identity,
    workload: tuple[str, str],
    namespace: Mapping[str, str],
    service: str,
) -> Identity:
    """Return who a pod is.

    Args:
        pod: the pod; its labels win over its namespace's.
        place: where its node stands.
        workload: kind and name of what owns it.
        namespace: identity fields that its namespace's labels spell out.
        service: the Service it serves, "" if none or several.
    """
    meta = pod.metadata
    named = {**namespace, **tags.attributes(meta.labels)}
    if service:
        named.setdefault("service_name", service)
    return replace(
        place,
        k8s_namespace_name=meta.namespace,
        k8s_workload_kind=workload[0],
        k8s_workload_name=workload[1],
        k8s_pod_name=meta.name,
        k8s_pod_uid=meta.uid,
        k8s_node_name=pod.spec.node_name,
        **named,
    )


def pod_claims(
    pod: Pod,
    identity: Identity,
    validity: tuple[datetime, datetime],
    in_network: InNetwork,
) -> Iterator[Claim]:
    """Yield the addresses that are the pod's own during `validity`; see `read`."""
    if pod.spec.host_network:
        return
    vpc, subnet = identity.cloud_vpc_id, identity.cloud_subnet_id
    for address in pod.addresses():
        routed = subnet and in_network(vpc, address)
        yield Claim(
            first=address,
            last=address,
            identity=replace(identity, cloud_subnet_id="") if routed else identity,
            valid_from=validity[0],
            valid_to=validity[1],
        )


class _Cluster:
    """One cluster's files."""

    def __init__(
        self,
        directory: Path,
        instances: Mapping[str, Identity],
        in_network: InNetwork,
    ) -> None:
        self._name = directory.name
        self._in_network = in_network
        self._slices = Slices(directory)
        self._owners = Owners(directory)
        pods = read_json(directory / "pods.json", _Pods)
        nodes = read_json(directory / "nodes.json", _Nodes)
        services = read_json(directory / "services.json", _Services)
        namespaces = read_json(directory / "namespaces.json", _Namespaces)
        self._pods = pods.items if pods else []
        self._services = services.items if services else []
        self._nodes = nodes.items if nodes else []
        self._places = {
            node.metadata.name: node_identity(node, self._name, instances) for node in self._nodes
        }
        self._labels = {
            one.metadata.name: tags.attributes(one.metadata.labels)
            for one in (namespaces.items if namespaces else [])
        }

    def layer(self) -> Layer:
        """Return what the cluster says."""
        return Layer(
            source="kubernetes",
            claims=(*self._pod_claims(), *self._node_claims(), *self._slices.claims()),
            services=tuple(self._service_claims()),
            findings=tuple(self._findings()),
        )

    def _pod_claims(self) -> Iterator[Claim]:
        for pod in self._pods:
            validity = pod.validity()
            if validity is not None:
                yield from pod_claims(pod, self._pod_identity(pod), validity, self._in_network)

    def _pod_identity(self, pod: Pod) -> Identity:
        meta = pod.metadata
        return pod_identity(
            pod,
            self._places.get(pod.spec.node_name, Identity(k8s_cluster_name=self._name)),
            self._owners.workload(meta),
            self._labels.get(meta.namespace, {}),
            self._slices.service_of(meta.uid),
        )

    def _node_claims(self) -> Iterator[Claim]:
        for node in self._nodes:
            for text in node.addresses():
                address = pack(text)
                yield Claim(first=address, last=address, identity=self._places[node.metadata.name])

    def _service_claims(self) -> Iterator[ServiceClaim]:
        for service in self._services:
            name = f"{service.metadata.namespace}/{service.metadata.name}"
            for address in service.addresses():
                yield ServiceClaim(address=address, name=name, cluster=self._name)

    def _findings(self) -> Iterator[Finding]:
        placeless = [
            name for name, place in self._places.items() if not place.cloud_availability_zone
        ]
        if placeless:
            yield node_without_zone(self._name, placeless)
