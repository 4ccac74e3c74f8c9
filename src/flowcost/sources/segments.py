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
from itertools import groupby
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
from flowcost.segment import HOUR_US, Segment

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


def flows(received: Iterable[Received]) -> pa.Table:
    """Return the flows of segments, one row per row, with the columns of `schema.FLOWS`."""
    tables = [_flows(one) for one in received]
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


def seen(received: Sequence[Received]) -> pa.Table:
    """Return who agents say the local ends of their flows were, with the columns of `SEEN`.

    An address of all zeros stands for an end whose address is not known.
    """
    rows: list[dict[str, Any]] = []
    for one in received:
        segment = one.segment
        named = {pod.uid: pod.identity(segment.node_identity) for pod in segment.pods}
        known: dict[str, str] = {}
        for uid, address in _ends(segment.flows):
            text = known.get(uid)
            if text is None:
                identity = named.get(uid) or _unnamed(segment, uid)
                text = known[uid] = msgspec.json.encode(identity, order="sorted").decode()
            rows.append(
                {
                    "cluster": one.cluster,
                    "address": address,
                    "uid": uid,
                    "first": segment.window_start,
                    "last": segment.window_end,
                    "identity": text,
                }
            )
    return pa.Table.from_pylist(rows, schema=SEEN)


def _ends(columns: Flows) -> Iterable[tuple[str, bytes]]:
    """Return the distinct (uid, local address) of a segment's rows, in order."""
    rows = columns.rows
    places = memoryview(columns.local_uid).cast("I") if columns.local_uid else [0] * rows
    address = columns.local_address or bytes(16 * rows)
    pairs = sorted({(places[n], address[16 * n : 16 * n + 16]) for n in range(rows)})
    return [(columns.texts[place], end) for (place, end), _ in groupby(pairs)]


def _unnamed(segment: Segment, uid: str) -> Identity:
    """Return an end that the agent had no name for: the node, or a pod of it by uid only."""
    node = segment.node_identity
    if not node.k8s_node_name:
        node = replace(node, k8s_node_name=segment.node)
    if node.kind is EndKind.UNKNOWN:
        node = replace(node, kind=EndKind.COMPUTE)
    return replace(node, k8s_pod_uid=uid)


def _flows(one: Received) -> pa.Table:
    segment, columns = one.segment, one.segment.flows
    rows, node = columns.rows, one.segment.node_identity
    numbers = _Numbers(columns)
    dialed = numbers.addresses("dialed_address")
    constant = {
        "window_start": pa.scalar(segment.window_start, _INSTANT),
        "window_end": pa.scalar(segment.window_end, _INSTANT),
        "tenant": one.tenant,
        "cluster": one.cluster,
        "observer": segment.node,
        "observer_type": str(ObserverType.NODE_AGENT),
        "account": node.cloud_account_id,
        "region": node.cloud_region,
        "az_id": node.cloud_availability_zone,
        "vpc_id": node.cloud_vpc_id,
        "subnet_id": node.cloud_subnet_id,
        "sampled": pa.scalar(1, pa.int32()),
        "source": SOURCE,
    }
    varying = {
        "direction": numbers.words("direction", DIRECTIONS),
        "local_address": numbers.addresses("local_address"),
        "local_port": numbers.small("local_port", pa.uint16()),
        "remote_address": numbers.addresses("remote_address"),
        "remote_port": numbers.small("remote_port", pa.uint16()),
        "transport": numbers.small("transport", pa.uint8()),
        "dialed_address": pc.if_else(pc.equal(dialed, _NOBODY), pa.scalar(None, _ADDRESS), dialed),
        "dialed_port": numbers.small("dialed_port", pa.uint16()),
        "initiator": numbers.words("initiator", INITIATORS),
        "bytes": numbers.of("bytes", pa.int64()),
        "packets": numbers.of("packets", pa.int64()),
        "local_uid": numbers.words("local_uid", columns.texts),
        "dns_name": numbers.words("dns_name", columns.texts),
    }
    nothing = {"text": "", "small": pa.scalar(0, pa.int32()), "int": 0}
    made = [
        varying[column.name]
        if column.name in varying
        else pa.repeat(constant.get(column.name, nothing.get(column.type)), rows)
        for column in FLOWS
    ]
    return pa.Table.from_arrays(made, schema=SCHEMA)


class _Numbers:
    """The packed columns of a segment as arrays; a column that was left out is zeros."""

    def __init__(self, columns: Flows) -> None:
        self._columns, self._rows = columns, columns.rows

    def of(self, name: str, kind: pa.DataType) -> pa.Array:
        packed = getattr(self._columns, name) or bytes(kind.byte_width * self._rows)
        return pa.Array.from_buffers(kind, self._rows, [None, pa.py_buffer(packed)])

    def small(self, name: str, kind: pa.DataType) -> pa.Array:
        return self.of(name, kind).cast(pa.int32())

    def addresses(self, name: str) -> pa.Array:
        return self.of(name, _ADDRESS)

    def words(self, name: str, meanings: Sequence[str]) -> pa.Array:
        kind = pa.uint8() if name in {"direction", "initiator"} else pa.uint32()
        return pa.array([str(word) for word in meanings], pa.string()).take(self.of(name, kind))
