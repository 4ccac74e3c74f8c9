"""The open facts of a cluster as identities, now: of every peer, and of every node's own pods.

Fifty thousand pods are gone over at every refresh, so what has not changed is not decoded or
composed again.
"""

from __future__ import annotations

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


class Node(Struct):
    """A node, its pods by uid (and config hash), and which of them has which address."""

    identity: Identity
    pods: dict[str, Identity] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)


class _Composed(Struct, gc=False):
    """A pod as composed last, with the Service that it served."""

    service: str
    pod: facts.Pod
    identity: Identity
    peer: Identity


class Pods:
    """Who is in a cluster; every `read` replaces what the attributes say.

    Equal values of `hosts` and `blocks` are one object that lives as long as this does.
    """

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self.hosts: dict[str, Identity] = {}
        self.blocks: dict[str, Identity] = {}
        self.services: dict[str, str] = {}
        self.nodes: dict[str, Node] = {}
        self._peers: dict[Identity, Identity] = {}
        self._composed: dict[bytes, _Composed] = {}
        self._members: dict[str, set[str]] = {}
        self._places: dict[str, Identity] = {}
        self._labels: dict[str, dict[str, str]] = {}
        self._controllers: dict[str, bytes] = {}
        self._owners = Owners()

    def read(self, chronicle: Chronicle, inventory: Inventory) -> None:
        """Take over the open facts of a chronicle, on the thread that writes it."""
        self.hosts, self.blocks, self.services, self.nodes = {}, {}, {}, {}
        self._slices(chronicle)
        same = self._surroundings(chronicle, inventory)
        composed: dict[bytes, _Composed] = {}
        for fact in chronicle.facts("pods"):
            one = self._composed.get(fact.body) if same else None
            if one is None or one.service != self._service(one.pod):
                one = self._compose(fact.body)
            composed[fact.body] = one
            self._place(one, fact.key)
        self._composed = composed
        for fact in chronicle.facts("services"):
            self.services[fact.key] = name = fact.body.decode()
            namespace, _, service = name.partition("/")
            self.hosts[fact.key] = self._peer(
                Identity(
                    kind=EndKind.COMPUTE,
                    k8s_cluster_name=self._cluster,
                    k8s_namespace_name=namespace,
                    service_name=service,
                )
            )

    def _peer(self, identity: Identity) -> Identity:
        """Return the one object for an identity."""
        return self._peers.setdefault(identity, identity)

    def _service(self, pod: facts.Pod) -> str:
        return only(self._members.get(pod.metadata.uid, set()))

    def _surroundings(self, chronicle: Chronicle, inventory: Inventory) -> bool:
        """Read what pods refer to; return whether it is as it was before."""
        labels = {
            fact.key: tags.attributes(_meta(fact.body).labels)
            for fact in chronicle.facts("namespaces")
        }
        controllers = {
            fact.key: fact.body
            for resource in ("replicasets", "jobs")
            for fact in chronicle.facts(resource)
        }
        if controllers != self._controllers:
            self._owners = Owners()
            for key, body in controllers.items():
                self._owners.add(key.partition("/")[0], _meta(body))
        places = self._nodes(chronicle, inventory)
        before = self._places, self._labels, self._controllers
        self._places, self._labels, self._controllers = places, labels, controllers
        return before == (places, labels, controllers)

    def _slices(self, chronicle: Chronicle) -> None:
        self._members = {}
        outside: dict[str, set[str]] = {}
        for fact in chronicle.facts("endpointslices"):
            found = self._members if fact.kind == "member" else outside
            found.setdefault(fact.key, set()).add(fact.body.decode())
        for text, names in outside.items():
            if name := only(names):
                self.hosts[text] = self._peer(Identity(service_name=name))

    def _nodes(self, chronicle: Chronicle, inventory: Inventory) -> dict[str, Identity]:
        """Enter the nodes, their zones in one spelling, and return where they stand."""
        nodes = [
            (fact.key, msgspec.json.decode(fact.body, type=facts.Node))
            for fact in chronicle.facts("nodes")
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
            place = self._peer(places[node.metadata.name])
            self.nodes[node.metadata.name] = Node(place)
            self.hosts.update(dict.fromkeys(_texts(key), place))
            self.blocks.update(dict.fromkeys(node.spec.pod_cidrs, place))
        return places

    def _compose(self, body: bytes) -> _Composed:
        pod = msgspec.json.decode(body, type=facts.Pod)
        meta = pod.metadata
        node = self.nodes.get(pod.spec.node_name)
        service = self._service(pod)
        identity = pod_identity(
            pod,
            node.identity if node else Identity(k8s_cluster_name=self._cluster),
            self._owners.workload(meta),
            self._labels.get(meta.namespace, {}),
            service,
        )
        peer = replace(
            identity,
            cloud_resource_id="",
            cloud_subnet_id="",
            k8s_pod_name="",
            k8s_pod_uid="",
            k8s_node_name="",
        )
        return _Composed(service, pod, identity, self._peer(peer))

    def _place(self, one: _Composed, key: str) -> None:
        """Enter a pod under its addresses, and on its node."""
        pod = one.pod
        node = self.nodes.get(pod.spec.node_name)
        if node is None:
            node = self.nodes[pod.spec.node_name] = Node(
                Identity(k8s_cluster_name=self._cluster, k8s_node_name=pod.spec.node_name)
            )
        node.pods[pod.metadata.uid] = one.identity
        if mirror := pod.metadata.annotations.config_hash:
            node.pods[mirror] = one.identity
        if key != facts.HOST:
            for text in _texts(key):
                self.hosts[text] = one.peer
                node.own[text] = pod.metadata.uid


def _meta(body: bytes) -> facts.Meta:
    return msgspec.json.decode(body, type=facts.Bare).metadata


def _texts(key: str) -> list[str]:
    """Return the addresses that a fact is keyed by."""
    return [text for text in key.split(",") if text]
