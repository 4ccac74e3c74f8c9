"""The open facts of a cluster as identities, now: of every peer, and of every node's own pods.

Fifty thousand pods are gone over at every refresh, so what has not changed is not decoded or
composed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from flowcost.model import EndKind, Identity
from flowcost.resolve import kubernetes_facts as facts
from flowcost.resolve import tags
from flowcost.resolve.chronicle import Chronicle
from flowcost.resolve.inventory import Inventory
from flowcost.resolve.kubernetes import pod_identity
from flowcost.resolve.kubernetes_nodes import node_identity, one_spelling
from flowcost.resolve.kubernetes_owners import Owners
from flowcost.resolve.kubernetes_slices import only

S = TypeVar("S", bound=Struct)


class Node(Struct):
    """A node, its pods by uid (and config hash), and which of them has which address."""

    identity: Identity
    pods: dict[str, Identity] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)


class _Composed(Struct, gc=False):
    """A pod as composed last, and from what."""

    body: bytes
    made_of: tuple[object, ...]
    pod: facts.Pod
    identity: Identity
    peer: Identity


class Pods:
    """Who is in a cluster; every `read` replaces what the attributes say."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self.hosts: dict[str, Identity] = {}
        self.blocks: dict[str, Identity] = {}
        self.services: dict[str, str] = {}
        self.nodes: dict[str, Node] = {}
        self.identities: set[Identity] = set()
        self._decoded: dict[bytes, Struct] = {}
        self._before: dict[bytes, Struct] = {}
        self._members: dict[str, set[str]] = {}
        self._composed: dict[str, _Composed] = {}

    def read(self, chronicle: Chronicle, inventory: Inventory) -> None:
        """Take over the open facts of a chronicle, on the thread that writes it."""
        self._before, self._decoded = self._decoded, {}
        self.hosts, self.blocks, self.services, self.nodes = {}, {}, {}, {}
        self._slices(chronicle)
        self._places(chronicle, inventory)
        labels = {
            fact.key: tags.attributes(self._meta(fact.body).labels)
            for fact in chronicle.facts("namespaces")
        }
        owners = Owners()
        for resource in ("replicasets", "jobs"):
            for fact in chronicle.facts(resource):
                owners.add(fact.key.partition("/")[0], self._meta(fact.body))
        composed: dict[str, _Composed] = {}
        for fact in chronicle.facts("pods"):
            one = self._compose(fact.body, owners, labels)
            composed[one.pod.metadata.uid] = one
            self._place(one, fact.key)
        self._composed = composed
        for fact in chronicle.facts("services"):
            self.services[fact.key] = name = fact.body.decode()
            namespace, _, service = name.partition("/")
            self.hosts[fact.key] = Identity(
                kind=EndKind.COMPUTE,
                k8s_cluster_name=self._cluster,
                k8s_namespace_name=namespace,
                service_name=service,
            )
        self.identities = {*self.hosts.values(), *self.blocks.values()}

    def _slices(self, chronicle: Chronicle) -> None:
        self._members = {}
        outside: dict[str, set[str]] = {}
        for fact in chronicle.facts("endpointslices"):
            found = self._members if fact.kind == "member" else outside
            found.setdefault(fact.key, set()).add(fact.body.decode())
        for text, names in outside.items():
            if name := only(names):
                self.hosts[text] = Identity(service_name=name)

    def _places(self, chronicle: Chronicle, inventory: Inventory) -> None:
        """Enter the nodes, their zones in one spelling."""
        nodes = [
            (fact.key, self._decode(fact.body, facts.Node)) for fact in chronicle.facts("nodes")
        ]
        places = one_spelling(
            {
                node.metadata.name: (
                    node_identity(node, self._cluster, inventory.instances),
                    node.zone_name,
                )
                for _, node in nodes
            }
        )
        for key, node in nodes:
            place = places[node.metadata.name]
            self.nodes[node.metadata.name] = Node(place)
            self.hosts.update(dict.fromkeys(_texts(key), place))
            self.blocks.update(dict.fromkeys(node.spec.pod_cidrs, place))

    def _compose(
        self, body: bytes, owners: Owners, labels: Mapping[str, Mapping[str, str]]
    ) -> _Composed:
        pod = self._decode(body, facts.Pod)
        meta = pod.metadata
        node = self.nodes.get(pod.spec.node_name)
        place = node.identity if node else Identity(k8s_cluster_name=self._cluster)
        made_of = (
            place,
            owners.workload(meta),
            labels.get(meta.namespace, {}),
            only(self._members.get(meta.uid, set())),
        )
        before = self._composed.get(meta.uid)
        if before and before.body == body and before.made_of == made_of:
            return before
        identity = pod_identity(pod, *made_of)
        peer = replace(
            identity,
            cloud_resource_id="",
            cloud_subnet_id="",
            k8s_pod_name="",
            k8s_pod_uid="",
            k8s_node_name="",
        )
        return _Composed(body, made_of, pod, identity, peer)

    def _place(self, one: _Composed, key: str) -> None:
        """Enter a pod under its addresses, and on its node."""
        pod = one.pod
        node = self.nodes.setdefault(
            pod.spec.node_name,
            Node(Identity(k8s_cluster_name=self._cluster, k8s_node_name=pod.spec.node_name)),
        )
        node.pods[pod.metadata.uid] = one.identity
        if mirror := pod.metadata.annotations.config_hash:
            node.pods[mirror] = one.identity
        if key != facts.HOST:
            for text in _texts(key):
                self.hosts[text] = one.peer
                node.own[text] = pod.metadata.uid

    def _meta(self, body: bytes) -> facts.Meta:
        return self._decode(body, facts.Bare).metadata

    def _decode(self, body: bytes, shape: type[S]) -> S:
        found = self._before.get(body)
        if not isinstance(found, shape):
            found = msgspec.json.decode(body, type=shape)
        self._decoded[body] = found
        return found


def _texts(key: str) -> list[str]:
    """Return the addresses that a fact is keyed by."""
    return [text for text in key.split(",") if text]
