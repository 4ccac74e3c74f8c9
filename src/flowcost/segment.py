"""What an agent posts: one node's flows of one window, which lies within one UTC hour.

A segment is known by (tenant, cluster, node, boot, epoch, sequence). The tenant never travels in
it: the server takes it from the token. Sequences ascend within an epoch, may have gaps, and may
arrive again or out of order; the same identity always carries the same content.

**Wire form.** msgpack of `Segment`, maps keyed by field name; `Content-Encoding: deflate` is zlib
(RFC 1950). A reader ignores fields it does not know and defaults those that are missing, so
agents of two releases can post to one server. A change that old readers would get wrong raises
`version`.

Flows are packed columns: `flowcost.flow_columns`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from flowcost.errors import SourceError
from flowcost.flow_columns import (
    MAX_FLOWS,
    Flow,
    Flows,
    Packer,
    pack,
    troubles,
)
from flowcost.model import EndKind, Identity

__all__ = [
    "MAX_BYTES",
    "MAX_FLOWS",
    "Acknowledgement",
    "Flow",
    "Flows",
    "Packer",
    "SeenPod",
    "Segment",
    "decode",
    "deflate",
    "encode",
    "inflate",
    "pack",
]

VERSION = 1
CONTENT_TYPE = "application/vnd.flowcost.segment+msgpack"
MAX_BYTES = 8 << 20  # msgpack, before compression
HOUR_US = 3_600_000_000


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
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
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
    if segment.version != VERSION:
        yield f"segment version {segment.version}, this release reads {VERSION}"
    if not segment.node or not segment.boot:
        yield "node and boot must be named"
    if not 0 <= segment.window_start < segment.window_end:
        yield "the window is empty or reversed"
    if segment.window_start // HOUR_US != (segment.window_end - 1) // HOUR_US:
        yield "the window straddles an hour"
    yield from troubles(segment.flows)
