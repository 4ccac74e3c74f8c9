"""The kernel's ring buffer of DNS answers, read in user space without a wakeup.

Layout (kernel, kernel/bpf/ringbuf.c): one page whose first word is the consumer's position, one
page with the producer's, then the data, mapped twice in a row so that a record never wraps. A
record is a word of length, a word, and the payload, aligned to 8; bit 31 of the length says that
it is still being written, bit 30 that it was thrown away.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator

from msgspec import Struct

_HEAD = struct.Struct("<Q16s16sHBxHH")  # struct dns_head of bpf/flow.h
_BUSY, _DISCARDED = 1 << 31, 1 << 30


class DnsAnswer(Struct, frozen=True, gc=False):
    """One DNS message received from port 53 by a socket of `cgroup`: an answer, without error.

    `message` is the message itself (over TCP without the length prefix), cut at 1408 bytes;
    `size` is its full size within its datagram or segment. Addresses are 16 bytes.
    """

    cgroup: int
    server: bytes
    client: bytes
    client_port: int
    transport: int
    size: int
    message: bytes


class Ring:
    """The consumer's end of one ring; its position lives in the kernel and outlives us."""

    def __init__(self, descriptor: int, size: int) -> None:
        page = mmap.PAGESIZE
        self._size = size
        self._consumer = mmap.mmap(descriptor, page)
        self._data = mmap.mmap(descriptor, page + 2 * size, prot=mmap.PROT_READ, offset=page)

    def records(self) -> Iterator[bytes]:
        """Yield, and forget, every finished record."""
        (consumed,) = struct.unpack_from("<Q", self._consumer)
        while True:
            (produced,) = struct.unpack_from("<Q", self._data)
            if consumed >= produced:
                return
            at = mmap.PAGESIZE + (consumed & (self._size - 1))
            (length,) = struct.unpack_from("<I", self._data, at)
            if length & _BUSY:
                return
            size = length & ~_DISCARDED
            payload = b"" if length & _DISCARDED else self._data[at + 8 : at + 8 + size]
            consumed += (size + 15) & ~7
            struct.pack_into("<Q", self._consumer, 0, consumed)
            if payload:
                yield payload

    def answers(self) -> Iterator[DnsAnswer]:
        """Yield, and forget, every record as a DNS answer."""
        for record in self.records():
            cgroup, server, client, port, transport, size, present = _HEAD.unpack_from(record)
            yield DnsAnswer(
                cgroup,
                server,
                client,
                port,
                transport,
                size,
                record[_HEAD.size : _HEAD.size + present],
            )

    def close(self) -> None:
        """Unmap the ring."""
        self._consumer.close()
        self._data.close()
