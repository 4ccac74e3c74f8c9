"""Agents' segments become flows, and what agents say of their own ends.

A segment's rows are flows as they stand: the window lies within one hour already, the remote end
is the backend behind a dialed Service already. What many segments of one hour say is summed by
`SUM`, without ports, transport and windows: that is all attribution looks at, unless an address
changed hands inside the hour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from struct import iter_unpack, pack
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct
from msgspec.structs import replace

from flowcost.address import UNSPECIFIED
from flowcost.flow_columns import DIRECTIONS, INITIATORS, Flows
from flowcost.model import EndKind, Identity, ObserverType
from flowcost.schema import FLOWS
from flowcost.segment import HOUR_US, SeenPod, Segment

SOURCE = "agent"

_ADDRESS = pa.binary(16)
_INSTANT = pa.timestamp("us")
_NOBODY = pa.scalar(UNSPECIFIED, _ADDRESS)
_ARROW = {
    "instant": _INSTANT,
    "text": pa.string(),
    "address": _ADDRESS,
    "small": pa.int32(),
    "int": pa.int64(),
}
SCHEMA = pa.schema([(column.name, _ARROW[column.type]) for column in FLOWS])

SEEN = pa.schema(
    [
        ("cluster", pa.string()),
        ("address", _ADDRESS),
        ("uid", pa.string()),
        ("first", _INSTANT),
        ("last", _INSTANT),
        ("identity", pa.string()),
    ]
)

_SUMMED = ("bytes", "packets", "retransmitted_bytes")
_LEFT_OUT = ("window_start", "window_end", "local_port", "remote_port", "transport", "dialed_port")
_KEYS = [column.name for column in FLOWS if column.name not in (*_SUMMED, *_LEFT_OUT)]
_HOUR = "date_trunc('hour', window_start)"

# Sums of a relation {0} with the columns of FLOWS, itself with the columns of FLOWS.
SUM = (
    "SELECT "
    + ", ".join(
        {
            "window_start": f"{_HOUR} AS window_start",
            "window_end": f"{_HOUR} + INTERVAL 1 HOUR AS window_end",
            **{name: f"0::INTEGER AS {name}" for name in _LEFT_OUT[2:]},
            **{name: f"sum({name})::BIGINT AS {name}" for name in _SUMMED},
        }.get(column.name, column.name)
        for column in FLOWS
    )
    + f" FROM {{0}} GROUP BY {_HOUR}, {', '.join(_KEYS)}"
)
# One row per end and description, with the time from its first window to its last.
SUM_SEEN = (
    "SELECT cluster, address, uid, min(first) AS first, max(last) AS last, identity FROM {0}"
    " GROUP BY cluster, address, uid, identity"
)


class Received(Struct, frozen=True):
    """A segment with what the server knows of it: whose it is, and its bytes as they came."""

    tenant: str
    cluster: str
    segment: Segment
    body: bytes

    @property
    def hour(self) -> datetime:
        """Return the UTC hour that holds its window."""
        return datetime.fromtimestamp(self.segment.window_start // HOUR_US * 3600, UTC)

    @property
    def fingerprint(self) -> int:
        """Return a number of 256 bits that stands for the segment; sums of them stand for sets.

        The sum modulo 2**256 is the same in any order and after any merging, and nobody can find
        two sets of segments with one sum by accident.
        """
        one = self.segment
        name = msgspec.json.encode(
            (self.tenant, self.cluster, one.node, one.boot, one.epoch, one.sequence)
        )
        return int.from_bytes(hashlib.blake2b(name + b"\0" + self.body, digest_size=32).digest())


def flows(received: Sequence[Received]) -> pa.Table:
    """Return the flows of segments, one row per row, with the columns of `schema.FLOWS`."""
    if not received:
        return SCHEMA.empty_table()
    columns = _Columns(received)
    dialed = columns.addresses("dialed_address")
    given = {
        **_of_segments(received, columns),
        "direction": columns.words("direction", DIRECTIONS),
        "local_address": columns.addresses("local_address"),
        "local_port": columns.small("local_port", pa.uint16()),
        "remote_address": columns.addresses("remote_address"),
        "remote_port": columns.small("remote_port", pa.uint16()),
        "transport": columns.small("transport", pa.uint8()),
        "dialed_address": pc.if_else(pc.equal(dialed, _NOBODY), pa.scalar(None, _ADDRESS), dialed),
        "dialed_port": columns.small("dialed_port", pa.uint16()),
        "initiator": columns.words("initiator", INITIATORS),
        "bytes": columns.of("bytes", pa.int64()),
        "packets": columns.of("packets", pa.int64()),
        "local_uid": columns.texts("local_uid"),
        "dns_name": columns.texts("dns_name"),
    }
    nothing = {"text": "", "small": pa.scalar(0, pa.int32()), "int": 0}
    made = [
        given[column.name]
        if column.name in given
        else pa.repeat(nothing.get(column.type), columns.rows)
        for column in FLOWS
    ]
    return pa.Table.from_arrays(made, schema=SCHEMA)


def seen(received: Sequence[Received]) -> pa.Table:
    """Return who agents say the local ends of their flows were, with the columns of `SEEN`.

    An address of all zeros stands for an end whose address is not known.
    """
    columns: list[list[Any]] = [[] for _ in SEEN]
    for one in received:
        segment = one.segment
        named = {pod.uid: pod for pod in segment.pods}
        known: dict[str, str] = {}
        for uid, address in _ends(segment.flows):
            text = known.get(uid)
            if text is None:
                identity = _identity(segment, uid, named.get(uid))
                text = known[uid] = msgspec.json.encode(identity, order="sorted").decode()
            row = one.cluster, address, uid, segment.window_start, segment.window_end, text
            for column, value in zip(columns, row, strict=True):
                column.append(value)
    # Column by column: one long call would keep every other thread from running.
    arrays = [pa.array(column, kind.type) for column, kind in zip(columns, SEEN, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SEEN)


def _ends(columns: Flows) -> list[tuple[str, bytes]]:
    """Return the distinct (uid, local address) of a segment's rows, in order."""
    rows = columns.rows
    places = memoryview(columns.local_uid).cast("I") if columns.local_uid else [0] * rows
    addresses = iter_unpack("16s", columns.local_address or bytes(16 * rows))
    pairs = sorted(set(zip(places, addresses, strict=True)))
    return [(columns.texts[place], end) for place, (end,) in pairs]


def _identity(segment: Segment, uid: str, pod: SeenPod | None) -> Identity:
    """Return an end; if the agent had no name for it, the node, or a pod of it by uid only."""
    if pod is not None:
        return pod.identity(segment.node_identity)
    node = segment.node_identity
    if not node.k8s_node_name:
        node = replace(node, k8s_node_name=segment.node)
    if node.kind is EndKind.UNKNOWN:
        node = replace(node, kind=EndKind.COMPUTE)
    return replace(node, k8s_pod_uid=uid)


def _of_segments(received: Sequence[Received], columns: _Columns) -> dict[str, pa.Array]:
    """Return the columns that are the same for all rows of a segment."""
    nodes = [one.segment.node_identity for one in received]
    starts = pa.array([one.segment.window_start for one in received], _INSTANT)
    ends = pa.array([one.segment.window_end for one in received], _INSTANT)
    texts = {
        "tenant": [one.tenant for one in received],
        "cluster": [one.cluster for one in received],
        "observer": [one.segment.node for one in received],
        "account": [node.cloud_account_id for node in nodes],
        "region": [node.cloud_region for node in nodes],
        "az_id": [node.cloud_availability_zone for node in nodes],
        "vpc_id": [node.cloud_vpc_id for node in nodes],
        "subnet_id": [node.cloud_subnet_id for node in nodes],
    }
    return {
        "window_start": starts.take(columns.segment),
        "window_end": ends.take(columns.segment),
        **{name: pa.array(one, pa.string()).take(columns.segment) for name, one in texts.items()},
        "observer_type": pa.repeat(str(ObserverType.NODE_AGENT), columns.rows),
        "sampled": pa.repeat(pa.scalar(1, pa.int32()), columns.rows),
        "source": pa.repeat(SOURCE, columns.rows),
    }


class _Columns:
    """The packed columns of segments, end to end; a column that was left out is zeros.

    `segment` holds the place of each row's segment.
    """

    def __init__(self, received: Sequence[Received]) -> None:
        self._parts = [one.segment.flows for one in received]
        self.rows = sum(part.rows for part in self._parts)
        self.segment = self._array(
            pa.uint32(), (pack("<I", n) * part.rows for n, part in enumerate(self._parts))
        )

    def of(self, name: str, kind: pa.DataType) -> pa.Array:
        width = kind.byte_width
        return self._array(
            kind, (getattr(part, name) or bytes(width * part.rows) for part in self._parts)
        )

    def small(self, name: str, kind: pa.DataType) -> pa.Array:
        return self.of(name, kind).cast(pa.int32())

    def addresses(self, name: str) -> pa.Array:
        return self.of(name, _ADDRESS)

    def words(self, name: str, meanings: Sequence[str]) -> pa.Array:
        words = pa.array([str(word) for word in meanings], pa.string())
        return words.take(self.of(name, pa.uint8()))

    def texts(self, name: str) -> pa.Array:
        """Return texts; each segment has its own dictionary of them."""
        firsts = accumulate((len(part.texts) for part in self._parts[:-1]), initial=0)
        first = pa.array(firsts, pa.uint32()).take(self.segment)
        every = pa.array([text for part in self._parts for text in part.texts], pa.string())
        return every.take(pc.add(first, self.of(name, pa.uint32())))

    def _array(self, kind: pa.DataType, packed: Iterable[bytes]) -> pa.Array:
        return pa.Array.from_buffers(kind, self.rows, [None, pa.py_buffer(b"".join(packed))])
