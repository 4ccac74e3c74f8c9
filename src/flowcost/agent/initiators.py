"""Who opened a conversation: remembered from the handshakes seen.

A TCP SYN sent by a pod says it dialed; a SYN received on a port says it listens there. Counters
of a long-lived connection in a later window carry no SYN, so both facts are kept. Ports alone
decide nothing: a conversation without a handshake in memory has an unknown initiator.
"""

from __future__ import annotations

from typing import TypeVar

from flowcost.agent.bounded import forget_oldest
from flowcost.model import Initiator

Far = tuple[bytes, int]
_K = TypeVar("_K")


class Initiators:
    """A bounded memory of listening ports and dialed peers, by cgroup.

    `limit` bounds each of the two memories; the oldest facts are forgotten first.
    """

    def __init__(self, limit: int = 65_536) -> None:
        self._limit = limit
        self._listening: dict[tuple[int, int], None] = {}
        self._dialed: dict[tuple[int, int, Far], None] = {}

    def of(
        self,
        *,
        cgroup: int,
        local_port: int,
        remote: Far,
        local_handshakes: int,
        remote_handshakes: int,
    ) -> Initiator:
        """Return who initiated this conversation, and learn from its handshakes.

        A port of 0 is an ephemeral one that was not kept: it never counts as listening.
        """
        listens = (cgroup, local_port)
        dials = (cgroup, local_port, remote)
        if remote_handshakes and local_port:
            self._keep(self._listening, listens)
        if local_handshakes:
            self._keep(self._dialed, dials)
        if local_handshakes or remote_handshakes:
            remote_opened, local_opened = bool(remote_handshakes), bool(local_handshakes)
        else:
            remote_opened, local_opened = listens in self._listening, dials in self._dialed
        if remote_opened == local_opened:
            return Initiator.UNKNOWN
        return Initiator.REMOTE if remote_opened else Initiator.LOCAL

    def _keep(self, memory: dict[_K, None], fact: _K) -> None:
        memory.pop(fact, None)
        memory[fact] = None
        if len(memory) > self._limit:
            forget_oldest(memory)
