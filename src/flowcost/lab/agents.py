"""One real agent per lab node: kernel programs on the node's cgroups, its own conntrack."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import Struct

from flowcost import clock
from flowcost.agent.capture import Capture, Settings
from flowcost.agent.conntrack import Conntrack
from flowcost.agent.daemon import Agent
from flowcost.agent.endpoint import Endpoint
from flowcost.agent.identities import Identities, Source
from flowcost.agent.lines import Line
from flowcost.agent.outbox import Outbox
from flowcost.agent.poster import Poster
from flowcost.agent.spool import Spool
from flowcost.lab import objects, plan
from flowcost.lab.cluster import Cluster
from flowcost.lab.plan import Node
from flowcost.lab.wire import Count
from flowcost.model import Direction
from flowcost.price import RateBook, list_book
from flowcost.resolve import declared

OUTBOX_BYTES = 64 << 20
FLUSH_S = 10.0  # for what is left to post at the end
SETTINGS = Settings(
    mtu=plan.MTU,
    service_ranges=(plan.SERVICE_V4, plan.SERVICE_V6),
    flows=16_384,
    cgroups=256,
    dns_bytes=1 << 18,
)


class Receiver(Struct, frozen=True):
    """A Flowcost server that agents post to."""

    url: str
    token_file: Path | None = None


class NodeAgent:
    """The agent of one node; `lines` are those of its last round.

    With a `receiver`, what it drains is posted there too, by a thread of its own.
    """

    def __init__(
        self,
        cluster: Cluster,
        node: Node,
        *,
        book: RateBook | None = None,
        settings: Settings = SETTINGS,
        pins: Path | None = None,
        receiver: Receiver | None = None,
    ) -> None:
        self.node = node
        self._poster: Poster | None = None
        self.lines: list[Line] = []
        self._directory = Path(tempfile.mkdtemp(prefix="flowcost-lab-"))
        objects.write(cluster.plan, self._directory)
        root = cluster.node_roots[node.name]
        self.spool = Spool(self._directory / "spool")
        self.identities = Identities(
            Source(
                node=node.name,
                cluster="lab",
                place=objects.place(node),
                directory=self._directory,
                layers=(declared.parse(objects.declaration(cluster.plan)),),
            ),
            interval_s=3600,
        )
        self.connections = cluster.namespaces[node.name].call(Conntrack)
        self.capture = Capture.attach(root, self.spool, pins=pins, settings=settings)
        self.agent = Agent(
            self.capture,
            self.identities,
            book or list_book(),
            cgroup_root=root,
            connections=self.connections,
            map_rows=settings.flows,
            lines=self.lines.extend,
        )

        if receiver:
            self._post_to(receiver)

    def _post_to(self, receiver: Receiver) -> None:
        endpoint = Endpoint(receiver.url, what="Flowcost server", token_file=receiver.token_file)
        outbox = Outbox(
            self._directory / "outbox",
            self.spool.directory,
            epoch=int(clock.now().timestamp() * 1_000_000) * 1000,
            limit_bytes=OUTBOX_BYTES,
        )
        self._poster = Poster(outbox, endpoint)
        self.agent.post_to(outbox, self._poster)
        self._poster.start()

    def round(self) -> list[Line]:
        """Do one round and return its lines."""
        self.lines.clear()
        self.agent.round()
        return list(self.lines)

    def close(self) -> None:
        """Detach from the kernel and remove what the agent wrote."""
        if self._poster:
            self._poster.close(FLUSH_S)
        self.capture.detach()
        self.identities.close()
        self.connections.close()
        self.spool.close()
        shutil.rmtree(self._directory, ignore_errors=True)


class Agents:
    """The agents of all nodes of a cluster, by node name; they post to `receiver`, if any."""

    def __init__(self, cluster: Cluster, *, receiver: Receiver | None = None) -> None:
        self._cluster, self._receiver = cluster, receiver
        self.by_node: dict[str, NodeAgent] = {}

    def __enter__(self) -> Self:
        try:
            for node in self._cluster.plan.nodes:
                self.by_node[node.name] = NodeAgent(self._cluster, node, receiver=self._receiver)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every agent."""
        for agent in self.by_node.values():
            agent.close()
        self.by_node.clear()

    def round(self) -> list[Line]:
        """Do one round on every node and return all lines."""
        return [line for agent in self.by_node.values() for line in agent.round()]


def counted(lines: list[Line], pod: str, direction: Direction) -> Count:
    """Return what the agents counted for a pod in one direction."""
    chosen = [
        line for line in lines if line.local.k8s_pod_name == pod and line.direction is direction
    ]
    return Count(sum(line.bytes for line in chosen), sum(line.packets for line in chosen))
