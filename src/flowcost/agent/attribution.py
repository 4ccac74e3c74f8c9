"""A drain becomes lines: who sent how much to whom, by which path, at which price.

Conversations are summed by (cgroup, peer, dialed Service, name) first; identities, verdicts and
prices are looked up once per distinct combination. Only this node's own ends are booked (each end
pays for its own end), and nothing is dropped: what cannot be attributed or classified becomes a
line that says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

from flowcost.address import UNSPECIFIED, family, unpack
from flowcost.agent.cgroups import Cgroups
from flowcost.agent.conversations import Conversation
from flowcost.agent.decisions import Decisions
from flowcost.agent.directory import Directory
from flowcost.agent.dns import Names
from flowcost.agent.drained import Drained
from flowcost.agent.ends import Local, Locals
from flowcost.agent.lines import LOST, OVERFLOW, Line, bare
from flowcost.model import Direction, Rate
from flowcost.price import RateBook

_Key = tuple[int, bytes, int, str, str]  # cgroup, local address, peer, dialed, name


class Attribution:
    """Attributes drains with one directory and one rate book.

    `join_misses` counts dialed Services whose backend conntrack did not know.
    """

    def __init__(
        self, directory: Directory, cgroups: Cgroups, names: Names, book: RateBook
    ) -> None:
        self.cgroups = cgroups
        self.names = names
        self.book = book
        self.join_misses = 0
        self._directory = directory
        self._locals = Locals(directory, cgroups)
        self._decisions = Decisions(book)

    @property
    def directory(self) -> Directory:
        """Return the directory in use; a new one starts every memory afresh."""
        return self._directory

    @directory.setter
    def directory(self, new: Directory) -> None:
        self._locals.restart(new)
        if new is not self._directory:
            self._directory = new
            self._decisions.clear()

    @property
    def rates(self) -> set[Rate]:
        """Return every rate in use."""
        return self._decisions.rates

    def unknown_pods(self, drained: Drained, now: float) -> bool:
        """Return whether the drain holds pods that the world does not know yet."""
        pods = self.directory.world.pods
        owners = (self.cgroups.owner(one, now) for one in drained.cgroups())
        return any(owner and owner.pod_uid and owner.pod_uid not in pods for owner in owners)

    def local(self, cgroup: int, address: bytes, now: float) -> Local:
        """Return the local end of a cgroup; `address` is empty where it is not known."""
        return self._locals.of(cgroup, address, now)

    def owner(self, cgroup: int, local_address: bytes, now: float) -> str:
        """Return the key under which DNS names of a local end are kept.

        Where the cgroup says nothing of a pod (a resolver of the node answered in its place), the
        address that asked does.
        """
        return self.local(cgroup, local_address, now).owner

    def name(self, one: Conversation, now: float) -> str:
        """Return the DNS name of a far end outside the cluster, as the local end asked for it."""
        directory = self._directory
        peer = directory.peers[directory.peer(one.remote_address)]
        if peer.identity.k8s_cluster_name:
            return ""
        return self.names.name(
            self.owner(one.cgroup, one.local_address, now), one.remote_address, now
        )

    def lines(
        self, drained: Drained, found: Iterable[Conversation], *, now: float, on: date
    ) -> list[Line]:
        """Return the lines of one drain; their bytes are all the bytes of the drain.

        Args:
            drained: what the kernel counted.
            found: the conversations of its rows.
            now: monotonic seconds.
            on: UTC day whose rules and rates hold.
        """
        self._decisions.restart(on)
        lines: list[Line] = []
        for key, counts in self._sums(found, now).items():
            lines += self._pair(key, counts, now)
        for spill in drained.overflows():
            local = self.local(spill.cgroup, b"", now).identity
            lines += bare(
                local,
                OVERFLOW,
                (spill.transmitted_bytes, spill.transmitted_packets),
                (spill.received_bytes, spill.received_packets),
            )
        lost = drained.lost_since()
        lines += bare(
            self.directory.world.node,
            LOST,
            (lost.transmitted_bytes, lost.transmitted_packets),
            (lost.received_bytes, lost.received_packets),
        )
        return lines

    def _sums(self, found: Iterable[Conversation], now: float) -> dict[_Key, list[int]]:
        sums: dict[_Key, list[int]] = {}
        services = self._directory.world.services
        for one in found:
            dialed = ""
            if one.dialed_address != UNSPECIFIED:
                dialed = services.get(one.dialed_address, "") or unpack(one.dialed_address)
            elif one.missed:
                dialed = services.get(one.remote_address, "")
                self.join_misses += one.missed if dialed else 0
            peer = self._directory.peer(one.remote_address)
            key = one.cgroup, one.local_address, peer, dialed, self.name(one, now)
            counts = sums.get(key)
            if counts is None:
                counts = sums[key] = [0, 0, 0, 0]
            counts[0] += one.transmitted_bytes
            counts[1] += one.transmitted_packets
            counts[2] += one.received_bytes
            counts[3] += one.received_packets
        return sums

    def _pair(self, key: _Key, counts: list[int], now: float) -> Iterator[Line]:
        cgroup, local_address, index, dialed, name = key
        local = self.local(cgroup, local_address, now)
        peer = self.directory.peers[index]
        for direction, size, packets in (
            (Direction.TRANSMIT, counts[0], counts[1]),
            (Direction.RECEIVE, counts[2], counts[3]),
        ):
            if not packets:
                continue
            decision = self._decisions.of(local, index, peer, direction, family(local_address))
            yield Line(
                local.identity,
                peer.identity,
                dialed,
                name,
                direction,
                decision.verdict,
                size,
                packets,
                size * decision.numerator,
                0 if decision.complete else size,
            )
