"""What one drain of the kernel's counters holds: the record of the spool.

A drained segment is one MessagePack array, in the order of the fields of `Drained`:

`version boot epoch sequence window_start window_end flows4 flows6 overflow lost lost_before`

- `boot` is the kernel's boot id, `epoch` the moment the counting maps were made (Unix
  nanoseconds; a new set of maps is a new epoch), `sequence` counts drains within the epoch. The
  triple names a segment for ever: a segment received twice is the same segment.
- `window_start`, `window_end` are Unix microseconds UTC, half-open, by the node's clock.
- `flows4`, `flows6`, `overflow` are tables: an array of two binaries, all keys and all values,
  packed little-endian without gaps, the way the kernel's hash maps hold them (`bpf/flow.h`):

  | table | key | value |
  |---|---|---|
  | `flows4` | u64 cgroup, 4 B local, 4 B remote, u16 local port, u16 remote port, u8 transport, u8 flags, u16 0 | counters |
  | `flows6` | u64 cgroup, 16 B local, 16 B remote, u16 local port, u16 remote port, u8 transport, u8 flags, u16 0 | counters |
  | `overflow` | u64 cgroup | counters |

  counters: u64 transmitted bytes, u64 transmitted packets, u64 received bytes, u64 received
  packets, u32 handshakes begun here, u32 handshakes begun by the far end. Addresses are in
  network order, ports and counters are numbers. Flag 1: the remote address is a Service address.
- `lost` are totals since the epoch began (see `Lost`), `lost_before` those of the drain before.

Bytes are IP bytes on the wire (layer 3: header included, link header not), packets are wire
packets: a super-packet of segmentation offload counts as the packets it becomes.
"""  # noqa: E501 - a table row does not wrap

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from flowcost.address import V4_MAPPED
from flowcost.agent.initiators import Initiators
from flowcost.errors import SourceError
from flowcost.model import Direction, Initiator

VERSION = 1
KEY4 = struct.Struct("<Q4s4sHHBBH")
KEY6 = struct.Struct("<Q16s16sHHBBH")
CGROUP_KEY = struct.Struct("<Q")
COUNTERS = struct.Struct("<QQQQII")
FLAG_SERVICE = 1


class Table(Struct, array_like=True, frozen=True):
    """The keys and the values of one kernel map, packed; row i of one belongs to row i of the other."""  # noqa: E501

    keys: bytes = b""
    values: bytes = b""

    def __len__(self) -> int:
        return len(self.values) // COUNTERS.size


class Lost(Struct, array_like=True, frozen=True):
    """What the kernel could not put anywhere, totals since the epoch began.

    `bytes` and `packets` are of flows for which neither the flow map nor the overflow map had
    room: they are known in sum, not by cgroup. `dns` counts answers that found the ring full.
    """

    transmitted_bytes: int = 0
    transmitted_packets: int = 0
    received_bytes: int = 0
    received_packets: int = 0
    dns: int = 0


class Entry(Struct, frozen=True, gc=False):
    """One row of the flow maps: both directions of one conversation since the last drain.

    Addresses are 16 bytes, v4-mapped. A port is 0 if it is the ephemeral one of the pair, or if
    the transport has none. `service` is set if the remote address lies in a Service range; the
    local port is kept then, so that the node's conntrack can tell the backend.
    `local_handshakes` and `remote_handshakes` count TCP SYNs sent and received.
    """

    cgroup: int
    local_address: bytes
    remote_address: bytes
    local_port: int
    remote_port: int
    transport: int
    service: bool
    transmitted_bytes: int
    transmitted_packets: int
    received_bytes: int
    received_packets: int
    local_handshakes: int
    remote_handshakes: int


class Flow(Struct, frozen=True, gc=False):
    """One direction of an entry; `initiator` is known from the handshake or not at all."""

    cgroup: int
    direction: Direction
    local_address: bytes
    local_port: int
    remote_address: bytes
    remote_port: int
    transport: int
    initiator: Initiator
    service: bool
    bytes: int
    packets: int


class Overflow(Struct, frozen=True, gc=False):
    """Bytes of one cgroup that found the flow map full: counted, but without their addresses."""

    cgroup: int
    transmitted_bytes: int
    transmitted_packets: int
    received_bytes: int
    received_packets: int


class Drained(Struct, array_like=True, frozen=True, kw_only=True):
    """Everything counted between two drains; see the module's text for the layout."""

    version: int = VERSION
    boot: str
    epoch: int
    sequence: int
    window_start: int
    window_end: int
    flows4: Table = Table()
    flows6: Table = Table()
    overflow: Table = Table()
    lost: Lost = Lost()
    lost_before: Lost = Lost()

    def __len__(self) -> int:
        return len(self.flows4) + len(self.flows6)

    def lost_since(self) -> Lost:
        """Return what was lost since the drain before."""
        pairs = zip(astuple(self.lost), astuple(self.lost_before), strict=True)
        return Lost(*(now - before for now, before in pairs))

    def cgroups(self) -> set[int]:
        """Return the ids of all cgroups with a row in the flow tables."""
        return {
            row[0]
            for table, layout in ((self.flows4, KEY4), (self.flows6, KEY6))
            for row in layout.iter_unpack(table.keys)
        }

    def entries(self) -> Iterator[Entry]:
        """Yield one entry per row of the flow tables, IPv4 first, in the kernel's order."""
        for table, key, prefix in ((self.flows4, KEY4, V4_MAPPED), (self.flows6, KEY6, b"")):
            rows = zip(key.iter_unpack(table.keys), COUNTERS.iter_unpack(table.values), strict=True)
            for (cgroup, local, remote, lport, rport, transport, flags, _), counters in rows:
                yield Entry(
                    cgroup,
                    prefix + local,
                    prefix + remote,
                    lport,
                    rport,
                    transport,
                    bool(flags & FLAG_SERVICE),
                    *counters,
                )

    def flows(self, initiators: Initiators | None = None) -> Iterator[Flow]:
        """Yield each entry as up to two flows, transmit before receive.

        `initiators` remembers handshakes of earlier drains (it learns from this one too);
        without it only conversations that shook hands within this window have an initiator.
        """
        roles = Initiators() if initiators is None else initiators
        for entry in self.entries():
            initiator = roles.of(
                cgroup=entry.cgroup,
                local_port=entry.local_port,
                remote=(entry.remote_address, entry.remote_port),
                local_handshakes=entry.local_handshakes,
                remote_handshakes=entry.remote_handshakes,
            )
            for direction, size, packets in (
                (Direction.TRANSMIT, entry.transmitted_bytes, entry.transmitted_packets),
                (Direction.RECEIVE, entry.received_bytes, entry.received_packets),
            ):
                if packets:
                    yield Flow(
                        entry.cgroup,
                        direction,
                        entry.local_address,
                        entry.local_port,
                        entry.remote_address,
                        entry.remote_port,
                        entry.transport,
                        initiator,
                        entry.service,
                        size,
                        packets,
                    )

    def overflows(self) -> Iterator[Overflow]:
        """Yield the bytes by cgroup that found the flow map full."""
        rows = zip(
            CGROUP_KEY.iter_unpack(self.overflow.keys),
            COUNTERS.iter_unpack(self.overflow.values),
            strict=True,
        )
        for (cgroup,), counters in rows:
            yield Overflow(cgroup, *counters[:4])


def encode(drained: Drained) -> bytes:
    """Return the segment as it stands on disk."""
    return msgspec.msgpack.encode(drained)


def decode(data: bytes, where: str) -> Drained:
    """Return the segment read back; `where` names the file in errors.

    Raises:
        SourceError: not a segment, of another version, or with tables that do not fit together.
    """
    try:
        drained = msgspec.msgpack.decode(data, type=Drained)
    except msgspec.MsgspecError as error:
        raise SourceError(f"{where}: not a drained segment: {error}") from None
    if drained.version != VERSION:
        raise SourceError(
            f"{where}: segment version {drained.version}, this release reads {VERSION}",
            hint="Read it with the release that wrote it.",
        )
    for table, key in (
        (drained.flows4, KEY4),
        (drained.flows6, KEY6),
        (drained.overflow, CGROUP_KEY),
    ):
        rows, rest = divmod(len(table.values), COUNTERS.size)
        if rest or len(table.keys) != rows * key.size:
            raise SourceError(f"{where}: a table of the segment is cut short")
    return drained
