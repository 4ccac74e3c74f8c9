"""Rows of a drain become conversations: the real backend stands where a Service was dialed.

Each connection to a Service is a row of its own, because only its local port tells conntrack which
one it is. Once the backend is known the port has done its work, and connections of one cgroup to
one backend through one Service are summed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from flowcost.address import UNSPECIFIED, V4_MAPPED
from flowcost.agent.conntrack import Backend, Dialed
from flowcost.agent.drained import COUNTERS, FLAG_SERVICE, KEY4, KEY6, Drained

JOINED = 4096  # dialed connections asked for at a time: bounds memory, not work

Join = Callable[[Sequence[Dialed]], Sequence[Backend | None]]


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


def no_join(dialed: Sequence[Dialed]) -> Sequence[Backend | None]:
    """Know no backend: what is dialed stays unknown."""
    return [None] * len(dialed)


def conversations(drained: Drained, join: Join) -> Iterator[Conversation]:
    """Yield the conversations of one drain; their bytes are all of its flow rows' bytes.

    Args:
        drained: what the kernel counted.
        join: tells the backends of dialed connections, some thousands at a time.
    """
    for table, layout, prefix in ((drained.flows4, KEY4, V4_MAPPED), (drained.flows6, KEY6, b"")):
        rows = zip(layout.iter_unpack(table.keys), COUNTERS.iter_unpack(table.values), strict=True)
        asked: list[Dialed] = []
        whose: list[tuple[int, tuple[int, ...]]] = []
        sums: _Sums = {}
        for (cgroup, local, remote, lport, rport, transport, flags, _), counters in rows:
            if flags & FLAG_SERVICE:
                asked.append((prefix + local, lport, prefix + remote, rport, transport))
                whose.append((cgroup, counters))
                if len(asked) >= JOINED:
                    _settle(asked, whose, join, sums)
                    asked.clear()
                    whose.clear()
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
        _settle(asked, whose, join, sums)
        for key, totals in sums.items():
            yield Conversation(*key, *totals)


_Sums = dict[tuple[int, bytes, int, bytes, int, int, bytes, int], list[int]]


def _settle(
    asked: Sequence[Dialed],
    whose: Sequence[tuple[int, tuple[int, ...]]],
    join: Join,
    sums: _Sums,
) -> None:
    """Add dialed connections to the sums of their backends."""
    backends = join(asked) if asked else ()
    for connection, (cgroup, counters), backend in zip(asked, whose, backends, strict=True):
        local, _, dialed, port, transport = connection
        if backend:
            key = (cgroup, local, 0, backend.address, backend.port, transport, dialed, port)
        else:
            key = (cgroup, local, 0, dialed, port, transport, UNSPECIFIED, 0)
        totals = sums.get(key)
        if totals is None:
            totals = sums[key] = [0] * (len(counters) + 1)
        a, b, c, d, e, f = counters
        totals[0] += a
        totals[1] += b
        totals[2] += c
        totals[3] += d
        totals[4] += e
        totals[5] += f
        totals[6] += backend is None
