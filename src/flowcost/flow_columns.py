"""Flows as packed columns: the form in which they travel in a segment.

Each field of `Flows` is one column, little-endian, `rows` long; an empty column is a column of
zeros. Addresses are 16 bytes in network order, v4-mapped.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from flowcost.address import UNSPECIFIED
from flowcost.model import Direction, Initiator

MAX_FLOWS = 50_000
MAX_BYTES = 7 << 20  # of one segment's columns

# What the numbers of the columns `direction` and `initiator` mean.
DIRECTIONS = (Direction.TRANSMIT, Direction.RECEIVE)
INITIATORS = (Initiator.UNKNOWN, Initiator.LOCAL, Initiator.REMOTE)

Packed = bytes  # by another name: a column is called `bytes`


class Flow(NamedTuple):
    """One row: bytes of one conversation in one direction, within the segment's window.

    `remote_address` is the real backend behind a dialed Service; all zero where it is not known
    (bytes that found the kernel's maps full are known by pod only). `dialed_address` is the
    Service that was dialed, all zero if none was. A port is 0 where it was not kept.
    `local_uid` is the pod's uid, empty where the node itself is the local end. `bytes` are IP
    bytes on the wire, `packets` are wire packets.
    """

    local_uid: str = ""
    local_address: bytes = UNSPECIFIED
    local_port: int = 0
    remote_address: bytes = UNSPECIFIED
    remote_port: int = 0
    dialed_address: bytes = UNSPECIFIED
    dialed_port: int = 0
    transport: int = 0
    direction: Direction = Direction.TRANSMIT
    initiator: Initiator = Initiator.UNKNOWN
    dns_name: str = ""
    bytes: int = 0
    packets: int = 0


class Flows(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Packed columns; see the module's text. `texts[0]` is empty, by convention.

    `local_uid` and `dns_name` are u32 places in `texts`; ports u16; `transport` u8 (IANA);
    `direction` and `initiator` u8 (`DIRECTIONS`, `INITIATORS`); `bytes` and `packets` u64, below
    2**63.
    """

    rows: int = 0
    texts: tuple[str, ...] = ("",)
    local_uid: Packed = b""
    local_address: Packed = b""
    local_port: Packed = b""
    remote_address: Packed = b""
    remote_port: Packed = b""
    dialed_address: Packed = b""
    dialed_port: Packed = b""
    transport: Packed = b""
    direction: Packed = b""
    initiator: Packed = b""
    dns_name: Packed = b""
    bytes: Packed = b""
    packets: Packed = b""

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[Flow]:
        columns: dict[str, Iterable[Any]] = {
            name: _addresses(self, name) if width == 16 else _numbers(self, name)
            for name, width in _WIDTHS.items()
        }
        for name, meanings in (
            ("local_uid", self.texts),
            ("dns_name", self.texts),
            ("direction", DIRECTIONS),
            ("initiator", INITIATORS),
        ):
            columns[name] = [meanings[place] for place in columns[name]]
        return map(Flow, *columns.values())


_WIDTHS = {
    "local_uid": 4,
    "local_address": 16,
    "local_port": 2,
    "remote_address": 16,
    "remote_port": 2,
    "dialed_address": 16,
    "dialed_port": 2,
    "transport": 1,
    "direction": 1,
    "initiator": 1,
    "dns_name": 4,
    "bytes": 8,
    "packets": 8,
}
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_ADDRESSES = tuple(name for name, width in _WIDTHS.items() if width == 16)
_ROW = sum(_WIDTHS.values())
_DIRECTION = {meaning: code for code, meaning in enumerate(DIRECTIONS)}
_INITIATOR = {meaning: code for code, meaning in enumerate(INITIATORS)}


class Packer:
    """Flows on their way to be packed, already as columns; `size` is about the bytes they take."""

    def __init__(self) -> None:
        self.size = 0
        self._rows = 0
        self._texts: dict[str, int] = {"": 0}
        self._addresses = bytearray(), bytearray(), bytearray()
        self._numbers = {
            name: array(_CODES[width]) for name, width in _WIDTHS.items() if width < 16
        }
        self._append = tuple(column.append for column in self._numbers.values())

    def __len__(self) -> int:
        return self._rows

    def full(self) -> bool:
        """Return whether a segment has no room for another flow."""
        return self._rows >= MAX_FLOWS or self.size >= MAX_BYTES

    def add(self, flow: Flow) -> None:
        """Append one flow."""
        self._rows += 1
        self.size += _ROW
        uid, lport, rport, dport, transport, direction, initiator, name, size, packets = (
            self._append
        )
        uid(self._text(flow.local_uid))
        lport(flow.local_port)
        rport(flow.remote_port)
        dport(flow.dialed_port)
        transport(flow.transport)
        direction(_DIRECTION[flow.direction])
        initiator(_INITIATOR[flow.initiator])
        name(self._text(flow.dns_name))
        size(flow.bytes)
        packets(flow.packets)
        local, remote, dialed = self._addresses
        local += flow.local_address
        remote += flow.remote_address
        dialed += flow.dialed_address

    def flows(self) -> Flows:
        """Return the columns; one that is all zero is left out."""
        columns = dict(zip(_ADDRESSES, map(bytes, self._addresses), strict=True))
        columns.update((name, _little(column)) for name, column in self._numbers.items())
        packed = {name: data for name, data in columns.items() if data.strip(b"\0")}
        return Flows(rows=self._rows, texts=tuple(self._texts), **packed)

    def _text(self, text: str) -> int:
        """Return the place of a text in the dictionary, entering it if it is new."""
        place = self._texts.get(text)
        if place is None:
            place = self._texts[text] = len(self._texts)
            self.size += len(text.encode()) + 5
        return place


def _little(column: array[int]) -> bytes:
    if sys.byteorder == "big":
        column = array(column.typecode, column)
        column.byteswap()
    return column.tobytes()


def pack(flows: Iterable[Flow]) -> Flows:
    """Return the flows as columns, in their order."""
    packer = Packer()
    for flow in flows:
        packer.add(flow)
    return packer.flows()


def troubles(flows: Flows) -> Iterator[str]:
    """Yield what is wrong with columns; what comes later may rely on what came before."""
    if not 0 <= flows.rows <= MAX_FLOWS:
        yield f"{flows.rows} flows; at most {MAX_FLOWS}"
    for name, width in _WIDTHS.items():
        if len(getattr(flows, name)) not in {0, flows.rows * width}:
            yield f"column {name} is not {flows.rows} values of {width} bytes"
    for name, bound in (
        ("local_uid", len(flows.texts)),
        ("dns_name", len(flows.texts)),
        ("direction", len(DIRECTIONS)),
        ("initiator", len(INITIATORS)),
        ("bytes", 1 << 63),
        ("packets", 1 << 63),
    ):
        if max(_numbers(flows, name), default=0) >= bound:
            yield f"column {name} holds a value of {bound} or more"


def _numbers(flows: Flows, name: str) -> Sequence[int]:
    column = getattr(flows, name)
    if not column:
        return [0] * flows.rows
    return struct.unpack(f"<{flows.rows}{_CODES[_WIDTHS[name]]}", column)


def _addresses(flows: Flows, name: str) -> Sequence[bytes]:
    column = getattr(flows, name)
    if not column:
        return [UNSPECIFIED] * flows.rows
    return [column[place : place + 16] for place in range(0, len(column), 16)]
