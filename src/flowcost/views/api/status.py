"""Who asks, and how the server fares: whoami, health with its reasons, clusters."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from flowcost import clock
from flowcost.access.principal import PERMISSIONS
from flowcost.views.api.endpoint import Asked, Nothing
from flowcost.views.service import ClusterState

SILENT = timedelta(minutes=15)  # after which a cluster that posted is missed
AHEAD = timedelta(minutes=5)  # that clocks may differ
BEHIND = timedelta(minutes=5)  # that acknowledged segments may wait for the ledger


class Whoami(Struct, frozen=True, kw_only=True):
    """Who asks: tenant, role and scope. `cluster` is set for agents only."""

    tenant: str
    subject: str
    role: str
    permissions: tuple[str, ...]
    namespaces: tuple[str, ...]
    owners: tuple[str, ...]
    cluster: str


class Health(Struct, frozen=True, kw_only=True):
    """How the server fares for a tenant: `ok`, or `degraded` for the `reasons`.

    Reasons of the machine itself (its disk, its files) are told in full to tenant `default`, whose
    server it is; others are told that there are some.

    `posted_until` is the end of the newest window in the ledger, `closed_until` that of the
    newest hour that will not change by itself; `waiting` counts acknowledged segments that no
    hour has yet. Instants are UTC, null is never.
    """

    status: str
    reasons: list[str]
    posted_until: datetime | None
    closed_until: datetime | None
    waiting: int
    waiting_bytes: int


class ClusterList(Struct, frozen=True, kw_only=True):
    """Clusters that have posted or are watched, by name.

    `watch` is none, syncing, watching or broken.
    """

    clusters: list[ClusterState]


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


def health(asked: Asked, takes: Nothing) -> Health:  # noqa: ARG001 - takes nothing
    """Return what is wrong, each with its reason; nothing where all is well."""
    tenant, now = asked.principal.tenant, asked.service.now()
    live = asked.service.live.state(tenant)
    reasons = list(live.troubles)
    late = live.posted_until is None or now - live.posted_until > BEHIND
    if live.waiting and late:
        until = clock.iso(live.posted_until) if live.posted_until else "never"
        reasons.append(f"{live.waiting} segments wait for the ledger, which reaches to {until}")
    if live.posted_until is not None and live.posted_until - now > AHEAD:
        until = clock.iso(live.posted_until)
        reasons.append(f"what agents post reaches to {until} and is ahead of this server's clock")
    reasons += [
        reason for one in asked.service.clusters.states(tenant) for reason in _troubles(one, now)
    ]
    return Health(
        status="degraded" if reasons else "ok",
        reasons=reasons,
        posted_until=live.posted_until,
        closed_until=live.closed_until,
        waiting=live.waiting,
        waiting_bytes=live.waiting_bytes,
    )


def clusters(asked: Asked, takes: Nothing) -> ClusterList:  # noqa: ARG001 - takes nothing
    """Return the tenant's clusters: nodes that post, when they last did, and the watch."""
    return ClusterList(clusters=list(asked.service.clusters.states(asked.principal.tenant)))


def _troubles(one: ClusterState, now: datetime) -> list[str]:
    found = []
    if one.last_segment is not None and now - one.last_segment > SILENT:
        found.append(f"cluster {one.cluster}: silent since {clock.iso(one.last_segment)}")
    if one.watch == "broken":
        found.append(f"cluster {one.cluster}: its API server is not watched: {one.watch_error}")
    return found
