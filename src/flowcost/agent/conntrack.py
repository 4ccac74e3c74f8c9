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
from collections.abc import Sequence
from pathlib import Path

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
REMEMBERED = 65_536  # backends

_MESSAGE = struct.Struct("=IHHII")
_ERROR = struct.Struct("=i")
_REQUEST = _MESSAGE.size + 4
_WORD = 0xFFFFFFFF
_NEST = 4  # bytes of an attribute's header
_TIMEOUT = struct.pack("@ll", 5, 0)  # struct timeval
# A request is a template with holes: sequence, two addresses, transport, two ports.
_FILL4, _FILL6 = (struct.Struct(f"=8sI20s{width}s4s{width}s8sB3x4s2s2x4s2s2x") for width in (4, 16))
# A tuple is a nest of IP addresses and a nest of protocol number and ports, always in this order
# and padding (ctnetlink_dump_tuples). Offsets are from the first address; the tuple's own length
# tells the family: anything else (a zone) is no Service connection of ours.
_TUPLE4 = struct.Struct("!4s4x4s8xB7xH6xH")
_TUPLE6 = struct.Struct("!16s4x16s8xB7xH6xH")
_SHAPES = {52: _TUPLE4, 76: _TUPLE6}
_FIRST_ADDRESS = 12  # three attribute headers: the tuple's, the address nest's, the address's
_REFUSALS = {1, 13}  # EPERM, EACCES


# A connection as its client sees it: local address and port, remote address and port, transport.
# Addresses are 16 bytes. A plain tuple: there are tens of thousands in a drain.
Dialed = tuple[bytes, int, bytes, int, int]


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
        # Not `settimeout`: it would poll before every one of the many small answers.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
        self._buffer = bytearray(1 << 16)
        self._sequence = 0
        self._known: dict[tuple[bytes, int, bool], Backend] = {}

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def join(self, dialed: Sequence[Dialed]) -> list[Backend | None]:
        """Return the backend of each dialed connection, None where conntrack knows of none.

        Connections that have ended stay known for a while: 120 s after FINs, 10 s after a RST,
        30 s for UDP (kernel defaults), which is why this runs in every drain.

        Raises:
            NotPermittedError: CAP_NET_ADMIN is missing in the namespace.
        """
        found: list[Backend | None] = []
        if len(self._known) > REMEMBERED:
            self._known.clear()
        for start in range(0, len(dialed), BATCH):
            found += self._ask(dialed[start : start + BATCH])
        return found

    def _ask(self, batch: Sequence[Dialed]) -> list[Backend | None]:
        first, count = self._sequence, len(batch)
        self._sequence = (first + count) & _WORD
        found: list[Backend | None] = [None] * count
        buffer, receive, header = self._buffer, self._socket.recv_into, _MESSAGE.unpack_from
        try:
            self._socket.send(b"".join(map(_request, batch, range(first, first + count))))
            unanswered = count
            while unanswered:
                receive(buffer)
                _, kind, _, sequence, _ = header(buffer)
                place = (sequence - first) & _WORD
                if place >= count:
                    continue  # left over from a batch that ended in an error
                unanswered -= 1
                if kind == NLMSG_ERROR:
                    self._check(-_ERROR.unpack_from(buffer, _MESSAGE.size)[0])
                else:
                    found[place] = self._backend(batch[place])
        except OSError as error:
            raise _refused(error.errno or 0) from None
        return found

    def _backend(self, asked: Dialed) -> Backend | None:
        """Return where the entry in the buffer leads, None if it is no translation."""
        length = self._buffer[_REQUEST]
        shape = _SHAPES.get(length)
        if shape is None:
            return None
        local, _, remote, remote_port, _ = asked
        at = _REQUEST + _FIRST_ADDRESS + length  # the reply's tuple: what the far end sees
        source, destination, _, port, _ = shape.unpack_from(self._buffer, at)
        if port == remote_port and remote.endswith(source):
            return None
        key = source, port, local.endswith(destination)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Backend(_packed(source), port, masqueraded=not key[2])
        return known

    def _check(self, code: int) -> None:
        if code in _REFUSALS:
            raise _refused(code)


def _request(connection: Dialed, sequence: int) -> bytes:
    """Return a CT_GET message for the original tuple of a connection."""
    source, port, destination, far_port, transport = connection
    fill, parts = _FILL6, _TEMPLATE6
    if destination.startswith(V4_MAPPED):
        source, destination = source[12:], destination[12:]
        fill, parts = _FILL4, _TEMPLATE4
    a, b, c, d, e, f = parts
    return fill.pack(
        *(a, sequence & _WORD, b, source, c, destination, d, transport),
        *(e, port.to_bytes(2), f, far_port.to_bytes(2)),
    )


def _template(width: int) -> tuple[bytes, ...]:
    """Return the parts of a request around its sequence, addresses, transport and ports."""
    family, source, destination = (
        (socket.AF_INET, CTA_IP_V4_SRC, CTA_IP_V4_DST)
        if width == 4
        else (socket.AF_INET6, CTA_IP_V6_SRC, CTA_IP_V6_DST)
    )
    address = _NEST + width
    addresses, ports = _NEST + 2 * address, _NEST + 3 * 8
    attribute = struct.Struct("=2H").pack
    size = _REQUEST + _NEST + addresses + ports
    return (
        struct.pack("=IHH", size, IPCTNL_MSG_CT_GET, NLM_F_REQUEST),
        struct.pack("=IBBH", 0, family, 0, 0)
        + attribute(_NEST + addresses + ports, CTA_TUPLE_ORIG | NLA_F_NESTED)
        + attribute(addresses, CTA_TUPLE_IP | NLA_F_NESTED)
        + attribute(address, source),
        attribute(address, destination),
        attribute(ports, CTA_TUPLE_PROTO | NLA_F_NESTED) + attribute(5, CTA_PROTO_NUM),
        attribute(6, CTA_PROTO_SRC_PORT),
        attribute(6, CTA_PROTO_DST_PORT),
    )


_TEMPLATE4, _TEMPLATE6 = _template(4), _template(16)


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
