"""What the server tells an agent: who is on its node, and who its peers are, now.

The answer to `GET /v1/agents/identities?node=NAME`, JSON, with an ETag: an agent that has it
already is told 304. It is the agent's view of one moment, undated; the server keeps the history.
A reader ignores fields it does not know and defaults those that are missing.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from flowcost.address import network, pack
from flowcost.errors import InventoryError
from flowcost.model import Identity

VERSION = 1


class AgentIdentities(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything one node's agent needs to name its flows.

    `pods` are the node's own, by uid; a static pod is also under its config hash, by which its
    cgroup is called (annotation `kubernetes.io/config.hash`). `services` maps a virtual address
    to `namespace/name`. `hosts` (addresses) and `blocks` (CIDR) map peers to a place in
    `identities`; where both cover an address, the host is the answer. Addresses are texts.
    """

    version: int = VERSION
    cluster: str = ""
    node: Identity = Identity()
    pods: dict[str, Identity] = {}
    services: dict[str, str] = {}
    identities: tuple[Identity, ...] = ()
    hosts: dict[str, int] = {}
    blocks: dict[str, int] = {}


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


def _check(known: AgentIdentities) -> None:
    if known.version != VERSION:
        raise ValueError(f"version {known.version}, this release reads {VERSION}")
    for text in (*known.services, *known.hosts):
        pack(text)
    for text in known.blocks:
        network(text)
    for text, place in (*known.hosts.items(), *known.blocks.items()):
        if not 0 <= place < len(known.identities):
            raise ValueError(f"{text} refers to identity {place}, which is not there")
