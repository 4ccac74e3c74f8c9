"""Who asks: one tenant, one role, and the part of the ledger they may see.

The law it keeps: a tenant is only ever taken from a principal, never from a request.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct


class Role(IntEnum):
    """What a principal may do; each role may do all that a lower one may."""

    VIEWER = 1
    EDITOR = 2
    ADMIN = 3


# Permissions as other tools call them, and the least role that has each.
PERMISSIONS = {"metrics.read": Role.VIEWER}


class Principal(Struct, frozen=True, kw_only=True):
    """Who asks.

    `namespaces` and `owners` bound what is visible: a charge is visible if either of its ends
    lies in one of them. Both empty means all of the tenant. `cluster` names the cluster whose
    agents may post with this principal; it is empty for people and tools.

    Raises:
        ValueError: `tenant` or `subject` is empty.
    """

    tenant: str
    subject: str
    role: Role = Role.VIEWER
    namespaces: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    cluster: str = ""

    def __post_init__(self) -> None:
        if not self.tenant or not self.subject:
            raise ValueError("a principal has a tenant and a subject")

    @property
    def is_agent(self) -> bool:
        """Return whether this is a cluster's agents: they post, and read only identities."""
        return bool(self.cluster)

    @property
    def is_scoped(self) -> bool:
        """Return whether only a part of the tenant is visible."""
        return bool(self.namespaces or self.owners)


# Who asks a server that listens on loopback only and has no access configured. Its tenant is the
# server's own: troubles of the machine are told to it.
OPEN = Principal(tenant="default", subject="anyone on this machine", role=Role.ADMIN)
