"""A drain becomes segments: every flow of it, as the server needs it.

A segment lies within one UTC hour. The agent drains at the edge of each hour, so a window reaches
over it by some milliseconds; after a time without an agent it may hold hours. Its bytes cannot be
told apart by time, and are booked to the hour that holds most of the window, the latest of equals.
"""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from flowcost import __version__
from flowcost.address import UNSPECIFIED
from flowcost.agent.attribution import Attribution
from flowcost.agent.conversations import Conversation
from flowcost.agent.drained import Drained
from flowcost.agent.initiators import Initiators
from flowcost.agent.outbox import Outbox, Replacement
from flowcost.model import Direction, Identity
from flowcost.segment import HOUR_US, Flow, Packer, SeenPod, Segment


class Recorder:
    """Writes drains into the outbox, one at a time: `begin`, `add` each conversation, `commit`."""

    def __init__(self, outbox: Outbox, attribution: Attribution, cluster: str) -> None:
        self._outbox, self._attribution, self._cluster = outbox, attribution, cluster
        self._roles = Initiators()
        self._drained: Drained | None = None
        self._replacement: Replacement | None = None
        self._packer = Packer()
        self._pods: dict[str, Identity] = {}
        self._addresses: dict[int, bytes] = {}

    def begin(self, drained: Drained, source: Path) -> None:
        """Start with the drain that stands in the spool as `source`."""
        if self._replacement:
            self._replacement.abandon()  # of a round that failed half-way
        self._drained, self._replacement = drained, self._outbox.replacing(source)
        self._packer, self._pods = Packer(), {}
        self._addresses.clear()

    def add(self, one: Conversation, now: float) -> None:
        """Take in one conversation of the drain."""
        local = self._attribution.local(one.cgroup, one.local_address, now)
        self._addresses[one.cgroup] = one.local_address
        initiator = self._roles.of(
            cgroup=one.cgroup,
            local_port=one.local_port,
            remote=(one.remote_address, one.remote_port),
            local_handshakes=one.local_handshakes,
            remote_handshakes=one.remote_handshakes,
        )
        uid, name = local.identity.k8s_pod_uid, self._attribution.name(one, now)
        for direction, size, packets in (
            (Direction.TRANSMIT, one.transmitted_bytes, one.transmitted_packets),
            (Direction.RECEIVE, one.received_bytes, one.received_packets),
        ):
            if packets:
                flow = Flow(
                    uid,
                    one.local_address,
                    one.local_port,
                    one.remote_address,
                    one.remote_port,
                    one.dialed_address,
                    one.dialed_port,
                    one.transport,
                    direction,
                    initiator,
                    name,
                    size,
                    packets,
                )
                self._append(flow, local.identity)

    def commit(self, now: float) -> None:
        """Put the segments into the outbox, in place of the drain in the spool.

        Bytes whose far end the kernel could not keep travel too, to an address of zeros: by pod
        where the cgroup is known, else for the node.

        Raises:
            NotPermittedError: the disk refuses; the drain stays in the spool.
        """
        drained, replacement = self._begun()
        for spill in drained.overflows():
            address = self._addresses.get(spill.cgroup, b"")
            self._bare(
                self._attribution.local(spill.cgroup, address, now).identity,
                address,
                (spill.transmitted_bytes, spill.transmitted_packets),
                (spill.received_bytes, spill.received_packets),
            )
        lost = drained.lost_since()
        self._bare(
            self._attribution.directory.world.node,
            self._attribution.directory.world.node_address,
            (lost.transmitted_bytes, lost.transmitted_packets),
            (lost.received_bytes, lost.received_packets),
        )
        self._stage()
        replacement.commit()
        self._replacement = None

    def _bare(
        self,
        local: Identity,
        address: bytes,
        sent: tuple[int, int],
        received: tuple[int, int],
    ) -> None:
        for direction, (size, packets) in (
            (Direction.TRANSMIT, sent),
            (Direction.RECEIVE, received),
        ):
            if packets:
                flow = Flow(
                    local_uid=local.k8s_pod_uid,
                    local_address=address or UNSPECIFIED,
                    direction=direction,
                    bytes=size,
                    packets=packets,
                )
                self._append(flow, local)

    def _append(self, flow: Flow, local: Identity) -> None:
        if self._packer.full():
            self._stage()
        if flow.local_uid:
            self._pods[flow.local_uid] = local
        self._packer.add(flow)

    def _stage(self) -> None:
        """Write what is packed so far."""
        if not len(self._packer):
            return
        drained, replacement = self._begun()
        world = self._attribution.directory.world
        start, end = hour_window(drained.window_start, drained.window_end)
        posted = Segment(
            cluster=self._cluster,
            node=world.node.k8s_node_name,
            boot=drained.boot,
            epoch=self._outbox.epoch,
            sequence=self._outbox.next_sequence(),
            agent_version=__version__,
            window_start=start,
            window_end=end,
            counted_since=drained.window_start,
            node_identity=replace(world.node, cloud_availability_zone=world.zone_id),
            pods=tuple(
                SeenPod.of(identity, world.labels.get(uid))
                for uid, identity in sorted(self._pods.items())
            ),
            flows=self._packer.flows(),
        )
        replacement.stage(posted)
        self._packer, self._pods = Packer(), {}

    def _begun(self) -> tuple[Drained, Replacement]:
        if self._drained is None or self._replacement is None:
            raise RuntimeError("no drain has begun")
        return self._drained, self._replacement


def hour_window(start: int, end: int) -> tuple[int, int]:
    """Return the part of a window that its bytes are booked to, within one UTC hour.

    Times are microseconds; an empty window (the clock stood) becomes one microsecond long.
    """
    end = max(end, start + 1)
    first, last = start // HOUR_US, (end - 1) // HOUR_US
    parts = [
        (max(start, hour * HOUR_US), min(end, (hour + 1) * HOUR_US))
        for hour in {first, max(first, last - 1), last}
    ]
    return max(parts, key=lambda part: (part[1] - part[0], part[0]))
