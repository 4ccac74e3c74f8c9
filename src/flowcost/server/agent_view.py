"""What agents are told of their cluster: one part for all nodes, one small part for each.

Peers are told as their workload in its zone, not as pods: that is what decides a billing path and
names a conversation, and it makes thousands of pods a few hundred identities. A node's own pods are
told whole. An agent that says what it has is told only what changed since.
"""

from __future__ import annotations

import gzip
import secrets
import threading
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from typing import TypeVar

import msgspec
from msgspec import Struct, field

from flowcost.errors import BusyError
from flowcost.identities import AgentIdentities
from flowcost.model import Identity
from flowcost.resolve.chronicle import Chronicle
from flowcost.resolve.inventory import Inventory
from flowcost.server.agent_pods import Node, Pods
from flowcost.views.service import NodeIdentities

REMEMBERED = 360  # refreshes that an agent may be behind and still be told changes only
_KEPT_BODIES = 64
_SPARE = 4096  # identities of workloads that are gone, before all are numbered anew
_NOBODY = Node(Identity())

V = TypeVar("V", int, str)


class _Step(Struct, frozen=True):
    """What one refresh changed in the part for all nodes; `first` identities were known before."""

    number: int
    first: int
    hosts: dict[str, int]
    services: dict[str, str]
    blocks: dict[str, int]
    gone: frozenset[str]


class _Shared(Struct, frozen=True):
    """The part for all nodes at one moment, and each node's."""

    epoch: str = ""
    number: int = 0
    identities: tuple[Identity, ...] = ()
    hosts: dict[str, int] = field(default_factory=dict)
    services: dict[str, str] = field(default_factory=dict)
    blocks: dict[str, int] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    steps: tuple[_Step, ...] = ()


class AgentView:
    """One cluster as its agents need it.

    `refresh` runs on the recorder's thread, `told` on any. Tags hold for one process: after a
    restart every agent is told everything once.
    """

    def __init__(self, cluster: str, inventory: Callable[[], Inventory]) -> None:
        self._cluster = cluster
        self._inventory = inventory
        self._shared = _Shared()
        self._lock = threading.Lock()
        self._bodies: dict[int, bytes] = {}
        self._begin()

    def _begin(self) -> None:
        """Number identities from 0, under a new epoch: what agents have is of no use then."""
        self._epoch = secrets.token_hex(4)
        self._pods = Pods(self._cluster)
        self._identities: list[Identity] = []
        self._indexes: dict[int, int] = {}  # by object: `Pods` has one for equal ones
        self._steps: deque[_Step] = deque(maxlen=REMEMBERED)

    def refresh(self, chronicle: Chronicle) -> None:
        """Take over what the cluster says now."""
        before = self._shared
        if len(self._identities) > 2 * len(set(before.hosts.values())) + _SPARE:
            self._begin()
            before = _Shared()
        self._pods.read(chronicle, self._inventory())
        hosts = {text: self._index(one) for text, one in self._pods.hosts.items()}
        blocks = {text: self._index(one) for text, one in self._pods.blocks.items()}
        services = self._pods.services
        step = _Step(
            number=before.number + 1,
            first=len(before.identities),
            hosts=_news(before.hosts, hosts),
            services=_news(before.services, services),
            blocks=_news(before.blocks, blocks),
            gone=frozenset(
                [
                    *(before.hosts.keys() - hosts.keys()),
                    *(before.services.keys() - services.keys()),
                    *(before.blocks.keys() - blocks.keys()),
                ]
            ),
        )
        number = before.number
        if step.hosts or step.services or step.blocks or step.gone:
            self._steps.append(step)
            number = step.number
        shared = _Shared(
            epoch=self._epoch,
            number=number,
            identities=tuple(self._identities),
            hosts=hosts,
            services=services,
            blocks=blocks,
            nodes=self._pods.nodes,
            steps=tuple(self._steps),
        )
        with self._lock:
            self._shared = shared
            if number != before.number or shared.epoch != before.epoch:
                self._bodies.clear()

    def told(self, node: str, known: str = "", *, changes: bool = False) -> NodeIdentities:
        """Return the answer to the agent of `node`, which has the answer tagged `known`.

        Where nothing changed, the tag is `known` again and the body empty. An agent that can lay
        `changes` over what it has is told only those, if what it has is remembered.

        Raises:
            BusyError: the cluster has not been read yet.
        """
        with self._lock:
            shared = self._shared
        if not shared.epoch:
            raise BusyError(f"cluster {self._cluster} has not been read yet", retry_after_s=10)
        own = shared.nodes.get(node, _NOBODY)
        part = msgspec.json.encode(
            AgentIdentities(cluster=self._cluster, node=own.identity, pods=own.pods, own=own.own),
            order="deterministic",
        )
        mark = blake2b(part, digest_size=6).hexdigest()
        tag = f'"{shared.epoch}.{shared.number}.{mark}"'
        if known == tag:
            return NodeIdentities(tag, b"")
        since = self._since(known, shared) if changes else None
        head = part[:-1]
        if since is not None:
            head += b',"since":%s' % msgspec.json.encode(known)
        # Two gzip members are one file: the long one is packed once for all nodes.
        return NodeIdentities(tag, gzip.compress(head, 1, mtime=0) + self._tail(shared, since))

    def _since(self, known: str, shared: _Shared) -> int | None:
        """Return the refresh whose answer the agent has, None if it is not remembered."""
        epoch, _, rest = known.strip('"').partition(".")
        number = rest.partition(".")[0]
        if epoch != shared.epoch or not number.isdecimal():
            return None
        oldest = shared.steps[0].number - 1 if shared.steps else shared.number
        return int(number) if oldest <= int(number) <= shared.number else None

    def _tail(self, shared: _Shared, since: int | None) -> bytes:
        """Return the packed part for all nodes, which goes on where a node's own part ends."""
        key = -1 if since is None else since
        with self._lock:
            body = self._bodies.get(key)
        if body is None:
            whole = self._whole(shared) if since is None else self._changes(shared, since)
            encoded = msgspec.json.encode(whole)
            body = gzip.compress(b"," + encoded[1:] if len(encoded) > 2 else b"}", 1, mtime=0)
            with self._lock:
                if shared is self._shared and len(self._bodies) < _KEPT_BODIES:
                    self._bodies[key] = body
        return body

    def _whole(self, shared: _Shared) -> AgentIdentities:
        return AgentIdentities(
            identities=shared.identities,
            hosts=shared.hosts,
            services=shared.services,
            blocks=shared.blocks,
        )

    def _changes(self, shared: _Shared, since: int) -> AgentIdentities:
        hosts: dict[str, int] = {}
        services: dict[str, str] = {}
        blocks: dict[str, int] = {}
        gone: set[str] = set()
        steps = [step for step in shared.steps if step.number > since]
        for step in steps:
            gone |= step.gone
            _lay(hosts, step.hosts, step.gone)
            _lay(services, step.services, step.gone)
            _lay(blocks, step.blocks, step.gone)
        first = steps[0].first if steps else len(shared.identities)
        return AgentIdentities(
            first=first,
            identities=shared.identities[first:],
            hosts=hosts,
            services=services,
            blocks=blocks,
            gone=tuple(sorted(gone)),
        )

    def _index(self, identity: Identity) -> int:
        index = self._indexes.setdefault(id(identity), len(self._identities))
        if index == len(self._identities):
            self._identities.append(identity)
        return index


def _news(before: dict[str, V], now: dict[str, V]) -> dict[str, V]:
    return {text: value for text, value in now.items() if before.get(text) != value}


def _lay(over: dict[str, V], news: dict[str, V], gone: frozenset[str]) -> None:
    for text in gone:
        over.pop(text, None)
    over.update(news)
