"""What the server tells an agent: who is on its node, and who its peers are, now.

The answer to `GET /v1/agents/identities?node=NAME`, JSON, with an ETag: an agent that has it
already is told 304. It is the agent's view of one moment, undated; the server keeps the history.
A reader ignores fields it does not know and defaults those that are missing.

With `&changes=1`, an agent that sends `If-None-Match` may be told only what changed since: the
answer then names that tag in `since`, and `lay` makes the whole of both.
"""

from __future__ import annotations

import gzip
import io
import zlib
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from flowcost.address import network, pack
from flowcost.errors import InventoryError
from flowcost.model import Identity

VERSION = 1
MAX_BYTES = 256 << 20  # unpacked; fifty thousand pods are about four million

V = TypeVar("V", int, str)


class AgentIdentities(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything one node's agent needs to name its flows.

    `pods` are the node's own, by uid; a static pod is also under its config hash, by which its
    cgroup is called (annotation `kubernetes.io/config.hash`). `services` maps a virtual address
    to `namespace/name`. `hosts` (addresses) and `blocks` (CIDR) map peers to a place in
    `identities`; where both cover an address, the host is the answer. Addresses are texts.
    Peers are told as workloads; `own` maps the addresses of the node's own pods to their uids.

    In an answer of changes, `identities` begin at place `first`, and `gone` are the addresses and
    blocks that nobody has any more, unless they are told anew.
    """

    version: int = VERSION
    cluster: str = ""
    node: Identity = Identity()
    pods: dict[str, Identity] = {}
    services: dict[str, str] = {}
    identities: tuple[Identity, ...] = ()
    hosts: dict[str, int] = {}
    blocks: dict[str, int] = {}
    own: dict[str, str] = {}
    since: str = ""
    first: int = 0
    gone: tuple[str, ...] = ()


def encode(known: AgentIdentities) -> bytes:
    """Return the JSON of an answer, its keys sorted: the same world has the same bytes."""
    return msgspec.json.encode(known, order="sorted")


def decode(data: bytes, where: str) -> AgentIdentities:
    """Return the answer read back, checked; `where` names the server in errors.

    Raises:
        InventoryError: not an answer of this version, or an address or a place in it is wrong.
    """
    try:
        known = msgspec.json.decode(data, type=AgentIdentities)
        _check(known)
    except ValueError as error:  # msgspec's own errors are ValueErrors too
        raise InventoryError(f"{where}: identities: {error}") from None
    return known


def unpack(data: bytes, where: str, *, limit: int = MAX_BYTES) -> bytes:
    """Return an answer that came as gzip, `limit` bytes at most.

    Raises:
        InventoryError: not gzip, cut short, or longer.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            plain = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InventoryError(f"{where}: identities: {error}") from None
    if len(plain) > limit:
        raise InventoryError(f"{where}: identities: more than {limit} bytes when unpacked")
    return plain


def lay(changes: AgentIdentities, before: AgentIdentities) -> AgentIdentities:
    """Return the whole answer that `changes` make of the one they are since.

    Raises:
        InventoryError: they do not fit together.
    """
    if changes.first > len(before.identities):
        raise InventoryError("identities: changes that do not fit what they are laid over")
    gone = frozenset(changes.gone)
    whole = replace(
        changes,
        identities=(*before.identities[: changes.first], *changes.identities),
        hosts=_laid(before.hosts, changes.hosts, gone),
        services=_laid(before.services, changes.services, gone),
        blocks=_laid(before.blocks, changes.blocks, gone),
        since="",
        first=0,
        gone=(),
    )
    try:
        _check(whole)
    except ValueError as error:
        raise InventoryError(f"identities: {error}") from None
    return whole


def _laid(before: dict[str, V], news: dict[str, V], gone: frozenset[str]) -> dict[str, V]:
    return {**{text: value for text, value in before.items() if text not in gone}, **news}


def _check(known: AgentIdentities) -> None:
    if known.version != VERSION:
        raise ValueError(f"version {known.version}, this release reads {VERSION}")
    for text in (*known.services, *known.hosts):
        pack(text)
    for text in known.blocks:
        network(text)
    if known.since:
        return  # places refer to what the changes are laid over
    for text, place in (*known.hosts.items(), *known.blocks.items()):
        if not 0 <= place < len(known.identities):
            raise ValueError(f"{text} refers to identity {place}, which is not there")
