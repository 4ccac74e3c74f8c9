"""Who asks, and how the server fares: whoami, health with reasons, clusters."""

from __future__ import annotations

from msgspec import Struct

from flowcost.access.principal import PERMISSIONS
from flowcost.views.api.endpoint import Asked, Nothing


class Whoami(Struct, frozen=True, kw_only=True):
    """Who asks: tenant, role and scope. `cluster` is set for agents only."""

    tenant: str
    subject: str
    role: str
    permissions: tuple[str, ...]
    namespaces: tuple[str, ...]
    owners: tuple[str, ...]
    cluster: str


def whoami(asked: Asked, takes: Nothing) -> Whoami:  # noqa: ARG001 - takes nothing
    """Return who you are to this server."""
    asker = asked.principal
    has = (name for name, least in PERMISSIONS.items() if asker.role >= least)
    return Whoami(
        tenant=asker.tenant,
        subject=asker.subject,
        role="" if asker.is_agent else asker.role.name.lower(),
        permissions=() if asker.is_agent else tuple(has),
        namespaces=asker.namespaces,
        owners=asker.owners,
        cluster=asker.cluster,
    )
