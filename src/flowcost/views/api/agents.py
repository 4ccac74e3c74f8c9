"""What agents ask: to take a segment, and who is on their node.

The tenant and the cluster are the token's. A segment is acknowledged when it is durable, and not
before; posted again it is acknowledged again.
"""

from __future__ import annotations

import gzip
import zlib
from functools import partial
from http import HTTPStatus
from typing import Annotated

from msgspec import Meta, Struct
from starlette.responses import Response

from flowcost import segment
from flowcost.errors import SegmentError, TooLargeError
from flowcost.segment import Acknowledgement
from flowcost.views.api.endpoint import Asked, Nothing
from flowcost.views.service import Service

_ENCODINGS = ("", "identity", "deflate")


class NodeAsked(Struct, frozen=True, kw_only=True):
    """What `/v1/agents/identities` takes."""

    node: Annotated[
        str, Meta(description="Kubernetes name of the node", min_length=1, max_length=253)
    ]
    cluster: Annotated[
        str, Meta(description="only where no token names it: on an open server", max_length=253)
    ] = ""
    changes: Annotated[
        str,
        Meta(
            description="1: changes since the answer of If-None-Match are enough",
            extra_json_schema={"enum": ["", "0", "1"]},
        ),
    ] = ""


async def post_segment(asked: Asked, takes: Nothing) -> Acknowledgement:  # noqa: ARG001
    """Take one segment (msgpack, `Content-Encoding: deflate` or none), and say it is durable."""
    encoding = asked.request.headers.get("content-encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise SegmentError(f"content encoding {encoding[:40]!r}", hint="deflate (zlib), or none")
    keep = partial(_keep, asked.service, asked.principal.tenant, asked.principal.cluster, encoding)
    return await asked.desk.intake.take(_who(asked), asked.request, segment.MAX_BYTES, keep)


def _who(asked: Asked) -> tuple[str, str]:
    """Return whose share of the intake is taken: a cluster's."""
    return asked.principal.tenant, asked.principal.cluster


def _keep(
    service: Service, tenant: str, cluster: str, encoding: str, body: bytes
) -> Acknowledgement:
    plain = _inflated(body) if encoding == "deflate" else body
    receipt = service.inbox.put(tenant, cluster, plain)
    return Acknowledgement(acknowledged=(receipt.epoch, receipt.sequence))


def _inflated(body: bytes) -> bytes:
    """Return a body unpacked: never more than a segment's size, however small it came."""
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(body, segment.MAX_BYTES + 1)
    except zlib.error:
        raise SegmentError("the body is not zlib data") from None
    if len(plain) > segment.MAX_BYTES:
        raise TooLargeError(f"more than {segment.MAX_BYTES} bytes when inflated")
    if not stream.eof or stream.unused_data:
        raise SegmentError("the body's zlib data is cut short, or goes on after its end")
    return plain


async def identities(asked: Asked, takes: NodeAsked) -> Response:
    """Say who is on a node and who its peers are; with an ETag, 304 if nothing has changed.

    With `changes=1` and `If-None-Match`, only what changed since is said, where that is known.
    """
    principal, headers = asked.principal, asked.request.headers
    ask = partial(
        asked.service.clusters.for_node,
        known=headers.get("if-none-match", "").strip(),
        changes=takes.changes == "1",
    )
    queue, who = asked.desk.intake.queue, _who(asked)
    found = await queue.run(
        who, ask, principal.tenant, principal.cluster or takes.cluster, takes.node
    )
    said = {
        "etag": found.tag,
        "cache-control": "private, no-cache",
        "vary": "Authorization, Accept-Encoding",
    }
    if not found.packed:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=said)
    if "gzip" in headers.get("accept-encoding", ""):
        said["content-encoding"] = "gzip"
        return Response(found.packed, media_type="application/json", headers=said)
    plain = await queue.run(who, gzip.decompress, found.packed)
    return Response(plain, media_type="application/json", headers=said)
