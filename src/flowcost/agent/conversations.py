"""Rows of a drain become conversations: the real backend stands where a Service was dialed.

Each connection to a Service is a row of its own, because only its local port tells conntrack which
one it is. Once the backend is known the port has done its work, and connections of one cgroup to
one backend through one Service are summed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from flowcost.address import UNSPECIFIED, V4_MAPPED
from flowcost.agent.conntrack import Backend, Dialed
from flowcost.agent.drained import COUNTERS, FLAG_SERVICE, KEY4, KEY6, Drained

JOINED = 4096  # dialed connections asked for at a time: bounds memory, not work

Join = Callable[[Sequence[Dialed]], Mapping[Dialed, Backend]]


class Conversation(Struct, frozen=True, gc=False):
    """Both directions between a cgroup and a far end since the last drain.

    Addresses are 16 bytes. `remote_address` and `remote_port` are the backend's where a Service
    was dialed and conntrack knew it; `dialed_address` and `dialed_port` are the Service's, zero
    where none was dialed. `local_handshakes` and `remote_handshakes` count TCP SYNs sent and
    received. `missed` counts connections into a Service range without a known backend.
    """

    cgroup: int
    local_address: bytes
    local_port: int
    remote_address: bytes
    remote_port: int
    transport: int
    dialed_address: bytes
    dialed_port: int
    transmitted_bytes: int
    transmitted_packets: int
    received_bytes: int
    received_packets: int
    local_handshakes: int
    remote_handshakes: int
    missed: int = 0


def no_join(dialed: Sequence[Dialed]) -> Mapping[Dialed, Backend]:  # noqa: ARG001 - a `Join`
    """Know no backend: what is dialed stays unknown."""
    return {}


def conversations(drained: Drained, join: Join) -> Iterator[Conversation]:
    """Yield the conversations of one drain; their bytes are all of its flow rows' bytes.

    Args:
        drained: what the kernel counted.
        join: tells the backends of dialed connections, some thousands at a time.
    """
    for table, layout, prefix in ((drained.flows4, KEY4, V4_MAPPED), (drained.flows6, KEY6, b"")):
        rows = zip(layout.iter_unpack(table.keys), COUNTERS.iter_unpack(table.values), strict=True)
        dialed: list[tuple[Dialed, int, tuple[int, ...]]] = []
        sums: _Sums = {}
        for (cgroup, local, remote, lport, rport, transport, flags, _), counters in rows:
            if flags & FLAG_SERVICE:
                connection = Dialed(prefix + local, lport, prefix + remote, rport, transport)
                dialed.append((connection, cgroup, counters))
                if len(dialed) >= JOINED:
                    _settle(dialed, join, sums)
                    dialed.clear()
                continue
            yield Conversation(
                cgroup,
                prefix + local,
                lport,
                prefix + remote,
                rport,
                transport,
                UNSPECIFIED,
                0,
                *counters,
            )
        _settle(dialed, join, sums)
        for key, totals in sums.items():
            yield Conversation(*key, *totals)


_Sums = dict[tuple[int, bytes, int, bytes, int, int, bytes, int], list[int]]


def _settle(rows: Sequence[tuple[Dialed, int, tuple[int, ...]]], join: Join, sums: _Sums) -> None:
    """Add dialed connections to the sums of their backends."""
    asked = [connection for connection, _, _ in rows if connection.local_port]
    backends = join(asked) if asked else {}
    for connection, cgroup, counters in rows:
        local, _, dialed, port, transport = connection
        backend = backends.get(connection)
        if backend:
            far = backend.address, backend.port, transport, dialed, port
        else:
            far = dialed, port, transport, UNSPECIFIED, 0
        key = cgroup, local, 0, *far
        totals = sums.get(key)
        if totals is None:
            totals = sums[key] = [0] * (len(counters) + 1)
        for place, value in enumerate(counters):
            totals[place] += value
        totals[-1] += backend is None
