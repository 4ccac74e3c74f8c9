"""What a dialed Service address really reached: the node's own connection tracking knows.

kube-proxy (iptables, nftables) rewrites a Service address in the node's namespace, so the pod's
socket shows the virtual address and only conntrack has both tuples. One netlink dump
(linux/netfilter/nfnetlink_conntrack.h), filtered in the kernel to translated connections, is
joined on the dialed 5-tuple. What conntrack does not know stays unknown.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from flowcost.address import V4_MAPPED
from flowcost.errors import NotPermittedError, NotSupportedError

NETLINK_NETFILTER = 12
NLM_F_REQUEST, NLM_F_DUMP, NLM_F_DUMP_INTR = 0x1, 0x300, 0x10
NLMSG_ERROR, NLMSG_DONE = 2, 3
IPCTNL_MSG_CT_GET = 0x101  # NFNL_SUBSYS_CTNETLINK << 8 | 1
CTA_STATUS, CTA_STATUS_MASK = 3, 26
IPS_DST_NAT = 1 << 5

_MESSAGE = struct.Struct("=IHHII")
_REQUEST = _MESSAGE.size + 4
_ATTRIBUTE = struct.Struct("=HH")
# A tuple is a nest of IP addresses and a nest of protocol number and ports, always in this order
# and padding (ctnetlink_dump_tuples). Offsets are from the first address; the tuple's own length
# tells the shape: anything else (ICMP, zones) is no Service connection of ours.
_TUPLE4 = struct.Struct("!4s4x4s8xB7xH6xH")
_TUPLE6 = struct.Struct("!16s4x16s8xB7xH6xH")
_SHAPES = {52: _TUPLE4, 76: _TUPLE6}
_FIRST_ADDRESS = 12  # three attribute headers: the tuple's, the address nest's, the address's

_Raw = tuple[bytes, bytes, int, int, int]


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
    """The translated connections of the network namespace this object was made in.

    The socket stays in that namespace: make it in the node's (a DaemonSet with `hostNetwork`).
    `entries` is the number of translated connections the last dump held, `interrupted` counts
    dumps that the kernel says changed under way (entries may be missing from them).

    Raises:
        NotSupportedError: the kernel has no connection tracking over netlink.
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
        self._buffer = bytearray(1 << 18)
        self._sequence = 0
        self.entries = 0
        self.interrupted = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def join(self, dialed: Iterable[Dialed]) -> dict[Dialed, Backend]:
        """Return the backend of every dialed connection that conntrack knows.

        Connections that have ended stay known for a while: 120 s after FINs, 10 s after a RST,
        30 s for UDP (kernel defaults), which is why this runs in every drain.

        Raises:
            NotPermittedError: CAP_NET_ADMIN is missing in the namespace.
        """
        wanted = {_raw(connection): connection for connection in dialed}
        found: dict[Dialed, Backend] = {}
        self.entries = 0
        if not wanted:
            return found
        for origin, reply in self.translated():
            self.entries += 1
            connection = wanted.get(origin)
            if connection:
                found[connection] = Backend(
                    _packed(reply[0]), reply[3], masqueraded=reply[1] != origin[0]
                )
        return found

    def translated(self) -> Iterator[tuple[_Raw, _Raw]]:
        """Yield (original tuple, reply tuple) of connections with a translated destination.

        A tuple is (source, destination, transport, source port, destination port); addresses are
        as long as their family. Kernels too old for the filter send every connection.
        """
        self._request()
        buffer, done = self._buffer, False
        try:
            while not done:
                size = self._receive()
                at = 0
                while at < size:
                    length, kind, flags, _, _ = _MESSAGE.unpack_from(buffer, at)
                    if kind in {NLMSG_DONE, NLMSG_ERROR}:
                        done = True
                        self._ended(kind, flags, at)
                        break
                    origin_at = at + _REQUEST
                    origin_length = buffer[origin_at] | buffer[origin_at + 1] << 8
                    shape = _SHAPES.get(origin_length)
                    reply_at = origin_at + origin_length
                    if shape and buffer[reply_at] == origin_length:
                        yield (
                            shape.unpack_from(buffer, origin_at + _FIRST_ADDRESS),
                            shape.unpack_from(buffer, reply_at + _FIRST_ADDRESS),
                        )
                    at += (length + 3) & ~3
        finally:
            # The kernel refuses a new dump while one is unread.
            while not done:
                self._receive()
                done = _MESSAGE.unpack_from(buffer)[1] in {NLMSG_DONE, NLMSG_ERROR}

    def _ended(self, kind: int, flags: int, at: int) -> None:
        if kind == NLMSG_ERROR:
            raise _refused(-struct.unpack_from("=i", self._buffer, at + _MESSAGE.size)[0])
        if flags & NLM_F_DUMP_INTR:
            self.interrupted += 1

    def _request(self) -> None:
        self._sequence += 1
        body = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
        for kind in (CTA_STATUS, CTA_STATUS_MASK):
            body += _ATTRIBUTE.pack(8, kind) + struct.pack("!I", IPS_DST_NAT)
        flags = NLM_F_REQUEST | NLM_F_DUMP
        head = _MESSAGE.pack(_MESSAGE.size + len(body), IPCTNL_MSG_CT_GET, flags, self._sequence, 0)
        self._socket.send(head + body)

    def _receive(self) -> int:
        """Receive one datagram of the dump: messages, or its end."""
        try:
            return self._socket.recv_into(self._buffer)
        except OSError as error:
            raise _refused(error.errno or 0) from None


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


def _raw(connection: Dialed) -> _Raw:
    source, destination = connection.local_address, connection.remote_address
    if destination.startswith(V4_MAPPED):
        source, destination = source[12:], destination[12:]
    ports = connection.local_port, connection.remote_port
    return source, destination, connection.transport, *ports


def _packed(raw: bytes) -> bytes:
    return V4_MAPPED + raw if len(raw) == 4 else raw


def _refused(code: int) -> NotPermittedError:
    return NotPermittedError(
        f"dump of the connection table: {os.strerror(code)}",
        hint="The agent needs CAP_NET_ADMIN and the node's network namespace (hostNetwork).",
    )
