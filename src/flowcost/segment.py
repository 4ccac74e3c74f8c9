"""What an agent posts: one node's flows of one window, which lies within one UTC hour.

A segment is known by (tenant, cluster, node, boot, epoch, sequence). The tenant never travels in
it: the server takes it from the token. Sequences ascend within an epoch, may have gaps, and may
arrive again or out of order; the same identity always carries the same content.

**Wire form.** msgpack of `Segment`, maps keyed by field name; `Content-Encoding: deflate` is zlib
(RFC 1950). A reader ignores fields it does not know and defaults those that are missing, so
agents of two releases can post to one server. A change that old readers would get wrong raises
`version`.

**Flows are columns**: each field of `Flows` is one packed column, little-endian, `rows` long. An
empty column is a column of zeros. Addresses are 16 bytes in network order, v4-mapped.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from flowcost.address import UNSPECIFIED
from flowcost.errors import SourceError
from flowcost.model import Direction, EndKind, Identity, Initiator

VERSION = 1
CONTENT_TYPE = "application/vnd.flowcost.segment+msgpack"
MAX_BYTES = 8 << 20  # msgpack, before compression
MAX_FLOWS = 50_000
HOUR_US = 3_600_000_000

Packed = bytes  # by another name: a column is called `bytes`

# What the numbers of the columns `direction` and `initiator` mean.
DIRECTIONS = (Direction.TRANSMIT, Direction.RECEIVE)
INITIATORS = (Initiator.UNKNOWN, Initiator.LOCAL, Initiator.REMOTE)


class SeenPod(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A local end of this segment as the agent knew it; what it does not say, its node says."""

    uid: str
    namespace: str = ""
    name: str = ""
    workload_kind: str = ""
    workload_name: str = ""
    node: str = ""
    service: str = ""
    owner_team: str = ""
    stage: str = ""
    labels: dict[str, str] = {}

    @classmethod
    def of(cls, identity: Identity, labels: dict[str, str] | None = None) -> SeenPod:
        """Return the pod that `identity` is of."""
        return cls(
            uid=identity.k8s_pod_uid,
            namespace=identity.k8s_namespace_name,
            name=identity.k8s_pod_name,
            workload_kind=identity.k8s_workload_kind,
            workload_name=identity.k8s_workload_name,
            node=identity.k8s_node_name,
            service=identity.service_name,
            owner_team=identity.owner_team,
            stage=identity.stage,
            labels=labels or {},
        )

    def identity(self, node: Identity) -> Identity:
        """Return the pod's identity on `node`."""
        return replace(
            node,
            kind=EndKind.COMPUTE,
            k8s_namespace_name=self.namespace,
            k8s_workload_kind=self.workload_kind,
            k8s_workload_name=self.workload_name,
            k8s_pod_name=self.name,
            k8s_pod_uid=self.uid,
            k8s_node_name=self.node or node.k8s_node_name,
            service_name=self.service,
            owner_team=self.owner_team,
            stage=self.stage,
        )


class Flow(Struct, frozen=True, gc=False, kw_only=True):
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
        columns = [
            _addresses(self, name) if width == 16 else _numbers(self, name)
            for name, width in _WIDTHS.items()
        ]
        for values in zip(*columns, strict=True):
            row: dict[str, Any] = dict(zip(_WIDTHS, values, strict=True))
            row["local_uid"] = self.texts[row["local_uid"]]
            row["dns_name"] = self.texts[row["dns_name"]]
            row["direction"] = DIRECTIONS[row["direction"]]
            row["initiator"] = INITIATORS[row["initiator"]]
            yield Flow(**row)


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


class Segment(Struct, frozen=True, kw_only=True):
    """One node's flows of one window.

    `boot` is the kernel's boot id, `epoch` when the agent opened its outbox (nanoseconds),
    `sequence` counts within it. Times are microseconds since 1970, UTC; the window is half-open
    and never straddles an hour. `counted_since` is when counting really began: before
    `window_start` if the agent was away over the edge of an hour (its bytes are booked to the
    hour that holds most of the time, the latest of equals).
    """

    version: int = VERSION
    cluster: str = ""
    node: str
    boot: str
    epoch: int
    sequence: int
    agent_version: str = ""
    window_start: int
    window_end: int
    counted_since: int = 0
    node_identity: Identity = Identity()
    pods: tuple[SeenPod, ...] = ()
    flows: Flows = field(default_factory=Flows)


class Acknowledgement(Struct, frozen=True, kw_only=True):
    """What the server answers when a segment is durable: its `(epoch, sequence)`."""

    acknowledged: tuple[int, int]


def pack(flows: Iterable[Flow]) -> Flows:
    """Return the flows as columns, in their order."""
    rows = list(flows)
    texts: dict[str, int] = {"": 0}
    columns: dict[str, list[int]] = {
        "local_uid": [texts.setdefault(row.local_uid, len(texts)) for row in rows],
        "dns_name": [texts.setdefault(row.dns_name, len(texts)) for row in rows],
        "direction": [DIRECTIONS.index(row.direction) for row in rows],
        "initiator": [INITIATORS.index(row.initiator) for row in rows],
    }
    packed: dict[str, bytes] = {}
    for name, width in _WIDTHS.items():
        if width == 16:
            column = b"".join(getattr(row, name) for row in rows)
        else:
            values = columns.get(name) or [getattr(row, name) for row in rows]
            column = struct.pack(f"<{len(rows)}{_CODES[width]}", *values)
        if column.strip(b"\0"):
            packed[name] = column
    return Flows(rows=len(rows), texts=tuple(texts), **packed)


def encode(segment: Segment) -> bytes:
    """Return the msgpack of a segment."""
    return msgspec.msgpack.encode(segment)


def decode(data: bytes, where: str) -> Segment:
    """Return the segment of its msgpack, checked; `where` names the file or the sender in errors.

    Raises:
        SourceError: not a segment, too large, of another version, its columns do not fit
            together, or its window straddles an hour.
    """
    if len(data) > MAX_BYTES:
        raise SourceError(f"{where}: a segment of {len(data)} bytes; at most {MAX_BYTES}")
    try:
        segment = msgspec.msgpack.decode(data, type=Segment)
    except msgspec.MsgspecError as error:
        raise SourceError(f"{where}: not a segment: {error}") from None
    for trouble in _troubles(segment):
        raise SourceError(f"{where}: {trouble}")
    return segment


def deflate(data: bytes) -> bytes:
    """Return `data` compressed as `Content-Encoding: deflate` (zlib)."""
    return zlib.compress(data, 1)


def inflate(data: bytes, where: str, *, limit: int = MAX_BYTES) -> bytes:
    """Return compressed data, `limit` bytes at most.

    Raises:
        SourceError: not zlib data, cut short, or longer than `limit`.
    """
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise SourceError(f"{where}: not zlib data: {error}") from None
    if len(plain) > limit:
        raise SourceError(f"{where}: more than {limit} bytes when inflated")
    if not stream.eof:
        raise SourceError(f"{where}: compressed data is cut short")
    return plain


def _troubles(segment: Segment) -> Iterator[str]:
    """Yield what is wrong with a segment; what comes later may rely on what came before."""
    flows = segment.flows
    if segment.version != VERSION:
        yield f"segment version {segment.version}, this release reads {VERSION}"
    if not segment.node or not segment.boot:
        yield "node and boot must be named"
    if not 0 <= segment.window_start < segment.window_end:
        yield "the window is empty or reversed"
    if segment.window_start // HOUR_US != (segment.window_end - 1) // HOUR_US:
        yield "the window straddles an hour"
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
