"""The world as the server tells it, so that the Kubernetes API is watched once and not per node."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from flowcost import identities
from flowcost.address import network, pack
from flowcost.agent.endpoint import Answer, Endpoint
from flowcost.agent.identity import World, placed, services_at
from flowcost.agent.imds import Place
from flowcost.errors import (
    InventoryError,
    NotPermittedError,
    NotSupportedError,
    UnreachableError,
)
from flowcost.identities import AgentIdentities
from flowcost.model import EndKind, Identity
from flowcost.resolve import Claim, Layer, ServiceClaim
from flowcost.resolve.timeline import build

PATH = "/v1/agents/identities"
WHERE = "Flowcost server"
HINT = "The last identities stay in use; traffic is counted all the same."


class IdentityServer:
    """A Flowcost server, asked for what one node needs; an unchanged answer travels once.

    The last answer is kept in the file `keep`: a start while the server is away has it.
    """

    def __init__(
        self,
        url: str,
        *,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        keep: Path | None = None,
    ) -> None:
        self._endpoint = Endpoint(
            url, what="Flowcost server", token_file=token_file, ca_file=ca_file
        )
        self._tag = ""
        self._body = b""
        self._keep = keep

    def last(self) -> bytes:
        """Return the answer kept by an earlier process, empty if there is none."""
        try:
            return self._keep.read_bytes() if self._keep else b""
        except OSError:
            return b""

    def fetch(self, node: str) -> bytes:
        """Return the JSON of `AgentIdentities`, the last one if nothing has changed since.

        Raises:
            InventoryError: it is not such an answer.
            NotPermittedError: the token is refused.
            NotSupportedError: the server does not watch this cluster.
            UnreachableError: the server cannot be reached or answers in error.
        """
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        if self._tag:
            headers["If-None-Match"] = self._tag
        query = urlencode({"node": node, "changes": "1"})
        try:
            answer = self._endpoint.ask("GET", f"{PATH}?{query}", headers=headers)
        finally:
            self._endpoint.close()
        if answer.status == http.client.NOT_MODIFIED and self._tag:
            return self._body
        if answer.status in {http.client.UNAUTHORIZED, http.client.FORBIDDEN}:
            raise NotPermittedError(
                f"Flowcost server {self._endpoint.url}: refuses this agent's token "
                f"({answer.status})",
                hint=HINT,
            )
        if answer.status == http.client.NOT_FOUND:
            raise NotSupportedError(
                f"Flowcost server {self._endpoint.url}: {_detail(answer.body)}",
                hint="Name the cluster in [[clusters]] of the server's flowcost.toml, or let this "
                "agent ask the Kubernetes API (--identities kubernetes).",
            )
        if answer.status != http.client.OK:
            raise UnreachableError(
                f"Flowcost server {self._endpoint.url}: identities answered {answer.status}",
                hint=HINT,
            )
        self._take(answer)
        return self._body

    def _take(self, answer: Answer) -> None:
        """Keep an answer, or what its changes make of the one before."""
        tag, self._tag = self._tag, ""  # whatever goes wrong: all of it is asked for next
        body = answer.body
        if answer.headers.get("Content-Encoding", "") == "gzip":
            body = identities.unpack(body, WHERE)
        known = read(body)
        if known.since:
            if known.since != tag:
                raise InventoryError(f"{WHERE}: identities: changes of what is not here")
            body = identities.encode(identities.lay(known, read(self._body)))
        self._tag, self._body = answer.headers.get("ETag", ""), body
        self._remember()

    def _remember(self) -> None:
        if self._keep is None:
            return
        temporary = self._keep.with_suffix(".new")
        with suppress(OSError):  # it is a convenience; the drain itself says when a disk is full
            temporary.write_bytes(self._body)
            temporary.replace(self._keep)


def told_world(
    known: AgentIdentities,
    *,
    node_name: str,
    place: Place,
    at: datetime,
    layers: Sequence[Layer] = (),
) -> World:
    """Return the world as the server and the other `layers` describe it at `at`.

    `place` is of this node and wins over what the server says of it.
    """
    own = known.node
    if not own.k8s_node_name:
        own = Identity(
            kind=EndKind.COMPUTE, k8s_cluster_name=known.cluster, k8s_node_name=node_name
        )
    own = placed(own, place)
    addresses = [text for text, at_ in known.hosts.items() if known.identities[at_] == known.node]
    resolution = build((_layer(known), *layers))
    return World(
        node=own,
        node_address=pack(addresses[0]) if addresses else b"",
        zone_id=place.zone_id or known.node.cloud_availability_zone,
        pods=dict(known.pods),
        services=services_at(resolution, at, known.cluster),
        resolution=resolution,
    )


def _detail(body: bytes) -> str:
    """Return what a problem document (RFC 9457) says, in a line."""
    with suppress(msgspec.MsgspecError):
        return msgspec.json.decode(body, type=_Problem).detail
    return "tells no identities"


class _Problem(Struct):
    detail: str = "tells no identities"


def _layer(known: AgentIdentities) -> Layer:
    claims = [
        Claim(first=first, last=last, identity=known.identities[place])
        for text, place in known.blocks.items()
        for first, last in (network(text),)
    ]
    for text, place in known.hosts.items():
        address = pack(text)
        claims.append(Claim(first=address, last=address, identity=known.identities[place]))
    return Layer(
        source="kubernetes",
        claims=tuple(claims),
        services=tuple(
            ServiceClaim(address=pack(text), name=name, cluster=known.cluster)
            for text, name in known.services.items()
        ),
    )


def read(body: bytes) -> AgentIdentities:
    """Return the server's answer.

    Raises:
        InventoryError: it is not one.
    """
    return identities.decode(body, WHERE)
