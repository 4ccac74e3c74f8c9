"""Clusters as far as they have posted; nobody watches them."""

from __future__ import annotations

from collections.abc import Sequence

from flowcost.errors import NotSupportedError
from flowcost.server.inbox import Inbox
from flowcost.views.service import ClusterState


class Clusters:
    """What the inbox knows of clusters."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def states(self, tenant: str) -> Sequence[ClusterState]:
        """Return them in order of name."""
        return self._inbox.states(tenant)

    def for_node(self, tenant: str, cluster: str, node: str) -> tuple[bytes, str]:
        """Return nothing.

        Raises:
            NotSupportedError: always; no cluster is watched.
        """
        raise NotSupportedError(
            f"cluster {cluster} of {tenant} is not watched; node {node} asks for identities",
            hint="the agent goes on with what its own API server says",
        )
