"""What may be posted: a body is read and judged before anything is written."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from msgspec.structs import astuple

from flowcost import clock, segment
from flowcost.errors import SegmentError, SourceError
from flowcost.segment import Segment

MOST_BYTES = 1 << 50  # of one segment's flows: a sum of eight thousand such still fits in 63 bits

MOST_TEXT = 1024  # characters of a name: a name is repeated in every row that it is of

Key = tuple[str, str, str, str, int]  # tenant, cluster, node, boot, epoch


class Posted(Struct, frozen=True):
    """A segment that may be accepted, and whose it is."""

    key: Key
    segment: Segment
    body: bytes


def read(tenant: str, cluster: str, body: bytes, *, oldest: datetime) -> Posted:
    """Return the segment of a body posted with a token of `tenant` and `cluster`.

    A token without cluster (an open server on loopback) lets the segment name its own.

    Raises:
        SegmentError: no segment, no tenant, another cluster than the token's, or a window before
            `oldest`.
    """
    if not tenant:
        raise SegmentError("a segment without tenant", hint="post it with a cluster's token")
    try:
        found = segment.decode(body, "segment")
    except SourceError as error:
        raise SegmentError(error.message, hint=error.hint) from None
    if cluster and found.cluster not in {"", cluster}:
        raise SegmentError(
            f"the segment is of cluster {found.cluster!r}, its token of {cluster!r}",
            hint="give the agents of each cluster a token of their own",
        )
    for name in ("epoch", "sequence"):
        if not 0 <= getattr(found, name) < 1 << 63:
            raise SegmentError(f"{name} is not a number below 2**63")
    _check_window(found, oldest)
    _check_sums(found)
    _check_texts(found)
    key = (tenant, cluster or found.cluster, found.node, found.boot, found.epoch)
    return Posted(key, found, body)


def _check_window(found: Segment, oldest: datetime) -> None:
    first, latest = (int(edge.timestamp()) * 1_000_000 for edge in (oldest, clock.LATEST))
    if not first <= found.window_start < latest:
        raise SegmentError(
            f"node {found.node}: a window that starts {found.window_start} µs after 1970; "
            f"windows are booked from {clock.iso(oldest)}",
            hint="look at the node's clock; `retention.late` says how late is too late",
        )


def _check_texts(found: Segment) -> None:
    ends: list[object] = [*astuple(found.node_identity)]
    for pod in found.pods:
        ends += astuple(pod)
    texts = (found.node, found.boot, found.cluster, *found.flows.texts, *ends)
    longest = max(len(text) for text in texts if isinstance(text, str))
    if longest > MOST_TEXT:
        raise SegmentError(f"a name of {longest} characters; at most {MOST_TEXT}")


def _check_sums(found: Segment) -> None:
    for name in ("bytes", "packets"):
        column = getattr(found.flows, name)
        total = sum(memoryview(column).cast("Q")) if column else 0
        if total > MOST_BYTES:
            raise SegmentError(f"{total} {name} in one window; at most {MOST_BYTES}")
