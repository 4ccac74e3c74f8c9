"""What a dialed Service address really reached: the node's own connection tracking knows.

kube-proxy (iptables, nftables) rewrites a Service address in the node's namespace, so the pod's
socket shows the virtual address and only conntrack has both tuples. Each dialed connection is
asked for by its original tuple over netlink (linux/netfilter/nfnetlink_conntrack.h), many to a
message. That costs by the connections of the drain, not by the size of the table, whose entries
outlive their connections by minutes. What conntrack does not know stays unknown.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from flowcost.address import V4_MAPPED
from flowcost.errors import NotPermittedError, NotSupportedError

NETLINK_NETFILTER = 12
NLM_F_REQUEST = 0x1
NLMSG_ERROR = 2
IPCTNL_MSG_CT_GET = 0x101  # NFNL_SUBSYS_CTNETLINK << 8 | 1
NLA_F_NESTED = 0x8000
CTA_TUPLE_ORIG, CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 1, 2
CTA_IP_V4_SRC, CTA_IP_V4_DST, CTA_IP_V6_SRC, CTA_IP_V6_DST = 1, 2, 3, 4
CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT = 1, 2, 3
BATCH = 64  # requests in flight: their answers fit the smallest socket buffer

_MESSAGE = struct.Struct("=IHHII")
_ERROR = struct.Struct("=i")
_REQUEST = _MESSAGE.size + 4
_WORD = 0xFFFFFFFF
_NEST = 4  # bytes of an attribute's header
# Netlink and netfilter headers, the nests' headers, addresses, number and ports.
_GET4, _GET6 = (
    struct.Struct(f"=IHHII BBH 2H 2H 2H{width}s 2H{width}s 2H 2HB3x 2H2s2x 2H2s2x")
    for width in (4, 16)
)
# A tuple is a nest of IP addresses and a nest of protocol number and ports, always in this order
# and padding (ctnetlink_dump_tuples). Offsets are from the first address; the tuple's own length
# tells the family: anything else (a zone) is no Service connection of ours.
_TUPLE4 = struct.Struct("!4s4x4s8xB7xH6xH")
_TUPLE6 = struct.Struct("!16s4x16s8xB7xH6xH")
_SHAPES = {52: _TUPLE4, 76: _TUPLE6}
_FIRST_ADDRESS = 12  # three attribute headers: the tuple's, the address nest's, the address's
_REFUSALS = {1, 13}  # EPERM, EACCES


class Dialed(NamedTuple):
    """A connection as its client sees it; addresses are 16 bytes."""

    local_address: bytes
    local_port: int
    remote_address: bytes
    remote_port: int
    transport: int


class Backend(Struct, frozen=True):
    """Where a dialed connection went. `masqueraded`: the backend sees another source address."""

    address: bytes
    port: int
    masqueraded: bool


class Conntrack:
    """The connection table of the network namespace this object was made in.

    The socket stays in that namespace: make it in the node's (a DaemonSet with `hostNetwork`).

    Raises:
        NotSupportedError: the kernel has no netlink to netfilter.
    """

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        except OSError as error:
            raise NotSupportedError(
                f"netlink to netfilter: {error.strerror}",
                hint="Needs CONFIG_NF_CT_NETLINK; behind a Service the backend stays unknown.",
            ) from None
        self._socket.bind((0, 0))
        self._socket.settimeout(5.0)
        self._buffer = bytearray(1 << 16)
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def join(self, dialed: Iterable[Dialed]) -> dict[Dialed, Backend]:
        """Return the backend of every dialed connection that conntrack knows as translated.

        Connections that have ended stay known for a while: 120 s after FINs, 10 s after a RST,
        30 s for UDP (kernel defaults), which is why this runs in every drain.

        Raises:
            NotPermittedError: CAP_NET_ADMIN is missing in the namespace.
        """
        found: dict[Dialed, Backend] = {}
        asked = iter(dialed)
        while batch := list(islice(asked, BATCH)):
            self._ask(batch, found)
        return found

    def _ask(self, batch: Sequence[Dialed], found: dict[Dialed, Backend]) -> None:
        first = self._sequence
        self._sequence = (first + len(batch)) & _WORD
        buffer = self._buffer
        try:
            self._socket.send(b"".join(_request(one, first + at) for at, one in enumerate(batch)))
            unanswered = len(batch)
            while unanswered:
                self._socket.recv_into(buffer)
                _, kind, _, sequence, _ = _MESSAGE.unpack_from(buffer)
                place = (sequence - first) & _WORD
                if place >= len(batch):
                    continue  # left over from a batch that ended in an error
                unanswered -= 1
                if kind == NLMSG_ERROR:
                    self._check(-_ERROR.unpack_from(buffer, _MESSAGE.size)[0])
                elif backend := _backend(buffer):
                    found[batch[place]] = backend
        except OSError as error:
            raise _refused(error.errno or 0) from None

    def _check(self, code: int) -> None:
        if code in _REFUSALS:
            raise _refused(code)


def _request(connection: Dialed, sequence: int) -> bytes:
    """Return a CT_GET message for the original tuple of a connection."""
    source, destination = connection.local_address, connection.remote_address
    if destination.startswith(V4_MAPPED):
        source, destination = source[12:], destination[12:]
        layout, family, kinds = _GET4, socket.AF_INET, (CTA_IP_V4_SRC, CTA_IP_V4_DST)
    else:
        layout, family, kinds = _GET6, socket.AF_INET6, (CTA_IP_V6_SRC, CTA_IP_V6_DST)
    width = _NEST + len(source)
    addresses, ports = _NEST + 2 * width, _NEST + 3 * 8
    return layout.pack(
        *(layout.size, IPCTNL_MSG_CT_GET, NLM_F_REQUEST, sequence & _WORD, 0),
        *(family, 0, 0),
        *(_NEST + addresses + ports, CTA_TUPLE_ORIG | NLA_F_NESTED),
        *(addresses, CTA_TUPLE_IP | NLA_F_NESTED),
        *(width, kinds[0], source),
        *(width, kinds[1], destination),
        *(ports, CTA_TUPLE_PROTO | NLA_F_NESTED),
        *(5, CTA_PROTO_NUM, connection.transport),
        *(6, CTA_PROTO_SRC_PORT, connection.local_port.to_bytes(2)),
        *(6, CTA_PROTO_DST_PORT, connection.remote_port.to_bytes(2)),
    )


def _backend(buffer: bytearray) -> Backend | None:
    """Return where an entry leads, None if its destination was not translated."""
    origin_length = buffer[_REQUEST] | buffer[_REQUEST + 1] << 8
    shape = _SHAPES.get(origin_length)
    if shape is None:
        return None
    at = _REQUEST + _FIRST_ADDRESS
    origin = shape.unpack_from(buffer, at)
    source, destination, _, port, _ = shape.unpack_from(buffer, at + origin_length)
    if (source, port) == (origin[1], origin[4]):
        return None
    return Backend(_packed(source), port, masqueraded=destination != origin[0])


def fill(proc: Path = Path("/proc/sys/net/netfilter")) -> tuple[int, int]:
    """Return (entries, limit) of the connection table; (0, 0) if it cannot be read.

    A full table drops early entries, and with them the backend of a connection.
    """
    try:
        count, limit = (
            int((proc / f"nf_conntrack_{name}").read_text()) for name in ("count", "max")
        )
    except (OSError, ValueError):
        return 0, 0
    return count, limit


def _packed(raw: bytes) -> bytes:
    return V4_MAPPED + raw if len(raw) == 4 else raw


def _refused(code: int) -> NotPermittedError:
    return NotPermittedError(
        f"the connection table: {os.strerror(code)}",
        hint="The agent needs CAP_NET_ADMIN and the node's network namespace (hostNetwork).",
    )
