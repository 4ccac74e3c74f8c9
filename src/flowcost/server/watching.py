"""Every cluster of the configuration watched, recorded, and told to its agents."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from flowcost import clock
from flowcost.errors import ConfigError, NotFoundError
from flowcost.resolve import Layer, kubeconfig, recorded
from flowcost.resolve.chronicle import Chronicle
from flowcost.resolve.inventory import Inventory
from flowcost.resolve.kubernetes_api import ApiServer
from flowcost.resolve.kubernetes_credentials import FileCredentials, in_cluster
from flowcost.resolve.kubernetes_facts import RESOURCES
from flowcost.resolve.kubernetes_recorder import Recorder
from flowcost.resolve.kubernetes_watch import Patience
from flowcost.server.agent_view import AgentView
from flowcost.server.settings import Cluster
from flowcost.views.service import ClusterState, NodeIdentities

_REST = 20  # a refresh of a huge cluster is followed by so many times its length without one
_AGAIN_SECONDS = 300.0
REFRESH_SECONDS = 5.0  # agents poll every half minute; so old may their answer be


def api(cluster: Cluster) -> ApiServer:
    """Return the API server of a cluster of the configuration.

    Raises:
        ConfigError: the server does not run in a cluster, or the kubeconfig is no use.
    """
    if cluster.url:
        return ApiServer(cluster.url, FileCredentials(cluster.token_file, cluster.ca_file))
    if cluster.kubeconfig:
        return kubeconfig.read(cluster.kubeconfig, cluster.context)
    found = in_cluster(os.environ)
    if found is None:
        raise ConfigError(
            f"cluster {cluster.name}: in_cluster, but the server does not run in a cluster",
            hint="name a kubeconfig or a url",
        )
    return found


class _Watched(Struct):
    """One cluster that is watched."""

    recorder: Recorder
    view: AgentView


class Watching:
    """The clusters of the configuration, from `start` until `close`; what `Clusters` asks of it.

    `folder` holds the recordings, `<tenant>/<cluster>`. `posted` says which clusters have posted,
    `inventory` what is known beside Kubernetes, both by tenant.

    Raises:
        ConfigError: two clusters of one tenant have one name, or one cannot be reached as told.
    """

    def __init__(
        self,
        folder: Path,
        clusters: Sequence[Cluster],
        *,
        keep: timedelta,
        inventory: Callable[[str], Inventory] = lambda _tenant: Inventory(),
        posted: Callable[[str], Sequence[ClusterState]] = lambda _tenant: (),
        patience: Patience | None = None,
        refresh_s: float = REFRESH_SECONDS,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self._folder = folder
        self._inventory = inventory
        self._posted = posted
        self._watched: dict[tuple[str, str], _Watched] = {}
        for cluster in clusters:
            key = cluster.tenant, cluster.name
            if key in self._watched:
                raise ConfigError(f"clusters: {cluster.name} is there twice for {cluster.tenant}")
            view = AgentView(cluster.name, partial(inventory, cluster.tenant))
            recorder = Recorder(
                api(cluster),
                recorded.place(self.folder(cluster.tenant), cluster.name),
                keep=keep,
                patience=patience,
                now=now,
                after=_Refresher(view, refresh_s),
            )
            self._watched[key] = _Watched(recorder, view)

    def start(self) -> None:
        """Begin to watch."""
        for one in self._watched.values():
            one.recorder.start()

    def close(self) -> None:
        """End; what was read is durable afterwards."""
        for one in self._watched.values():
            one.recorder.ask_to_end()
        for one in self._watched.values():
            one.recorder.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def folder(self, tenant: str) -> Path:
        """Return where a tenant's recordings are."""
        return self._folder / quote(tenant, safe="")

    def layers(self, tenant: str, start: datetime, end: datetime) -> list[Layer]:
        """Return a tenant's layers for `[start, end)`, its inventory's among them.

        Raises:
            InventoryError: a recording cannot be read.
        """
        return recorded.layers(self.folder(tenant), start, end, self._inventory(tenant))

    def states(self, tenant: str) -> Sequence[ClusterState]:
        """Return the clusters that are watched or have posted, in order of name."""
        found = {state.cluster: state for state in self._posted(tenant)}
        for (owner, name), one in self._watched.items():
            if owner != tenant:
                continue
            state = one.recorder.state
            known = found.get(name) or ClusterState(cluster=name, nodes=0, last_segment=None)
            found[name] = replace(
                known,
                watch=state.watch,
                watch_error=state.error,
                pods=state.pods,
                watched_until=state.heard,
            )
        return [found[name] for name in sorted(found)]

    def for_node(
        self, tenant: str, cluster: str, node: str, *, known: str = "", changes: bool = False
    ) -> NodeIdentities:
        """Return what the agent of `node` must know; see `views.service.Clusters`.

        Raises:
            NotFoundError: the cluster is not watched.
            BusyError: it has not been read yet.
        """
        found = self._watched.get((tenant, cluster))
        if found is None:
            raise NotFoundError(
                f"cluster {cluster!r} is not watched",
                hint="name it in [[clusters]] of flowcost.toml, or let agents ask its API server",
            )
        return found.view.told(node, known, changes=changes)


class _Refresher:
    """Refreshes a view when facts have changed: `every` seconds at most, and for a part of time."""

    def __init__(self, view: AgentView, every: float) -> None:
        self._view = view
        self._every = every
        self._revision = -1
        self._due = 0.0
        self._again = 0.0  # an inventory changes without the cluster

    def __call__(self, chronicle: Chronicle) -> None:
        now = time.monotonic()
        if len(chronicle.places) < len(RESOURCES):
            return  # half a cluster would take from agents what they know
        news = chronicle.revision != self._revision or now >= self._again
        if news and now >= self._due:
            self._view.refresh(chronicle)
            self._revision = chronicle.revision
            spent = time.monotonic() - now
            self._due = now + max(self._every, _REST * spent)
            self._again = now + _AGAIN_SECONDS
