"""What the HTTP views may ask of a server: the seam between views and what runs behind them.

Views know these protocols and the ledger; `server.application` gives them the real things. Every
method takes the tenant of the principal, and none answers for another tenant.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

from msgspec import Struct

from flowcost.access.gate import Gate
from flowcost.insights.budgets import BudgetState
from flowcost.insights.cost_summary import Settings as CostSettings
from flowcost.insights.incidents import DestinationState, Incident
from flowcost.ledger import Ledger
from flowcost.ledger.query import Selection, Table
from flowcost.views.instruments import Instruments


class Receipt(Struct, frozen=True):
    """What became of a posted segment: `fresh` is false for one that was there before."""

    epoch: int
    sequence: int
    fresh: bool


class Inbox(Protocol):
    """Keeps posted segments; what it has accepted survives a crash of the machine."""

    def put(self, tenant: str, cluster: str, body: bytes) -> Receipt:
        """Return once the encoded `segment.Segment` is durable.

        Raises:
            SourceError: the body is no segment, or names another cluster than its token's.
                With an empty `cluster` (a server without access) the segment's own is taken.
            BusyError: too much waits, or the disk is full; try again after `retry_after_s`.
        """
        ...


class ClusterState(Struct, frozen=True, kw_only=True):
    """One cluster as the server sees it. Instants are UTC; None is never."""

    cluster: str
    nodes: int
    last_segment: datetime | None
    watch: str = "none"  # none, syncing, watching, broken
    watch_error: str = ""
    pods: int = 0
    watched_until: datetime | None = None  # up to when the watch is known to be complete


class LiveState(Struct, frozen=True, kw_only=True):
    """Where the live pipeline stands for one tenant.

    `posted_until` is the end of the newest window in the ledger; `waiting` counts acknowledged
    segments that no ledger hour has yet. `troubles` are reasons, for the operator.
    """

    posted_until: datetime | None
    closed_until: datetime | None
    waiting: int
    waiting_bytes: int
    troubles: tuple[str, ...] = ()


class Live(Protocol):
    """The pipeline that turns the inbox into ledger hours."""

    def state(self, tenant: str) -> LiveState:
        """Return where it stands."""
        ...

    def minutes(self, selection: Selection, by: Sequence[str]) -> Table:
        """Return what agents observed by minute, then by `by`: column `minute`, keys, measures.

        `selection` names its tenant, `start` and `end`, six hours apart at most.

        Raises:
            UsageError: it does not, or `by` is no use for minutes.
        """
        ...


class NodeIdentities(Struct, frozen=True):
    """An answer to an agent: its entity tag, and the JSON of `AgentIdentities` as gzip."""

    tag: str
    packed: bytes


class Clusters(Protocol):
    """Clusters that are watched or have posted."""

    def states(self, tenant: str) -> Sequence[ClusterState]:
        """Return them in order of name."""
        ...

    def for_node(
        self, tenant: str, cluster: str, node: str, *, known: str = "", changes: bool = False
    ) -> NodeIdentities:
        """Return what the agent of `node` must know, which has the answer tagged `known`.

        Nothing is packed if it has all of it. Where it can lay `changes` over what it has, it is
        told only those (`flowcost.identities`).

        Raises:
            NotFoundError: the cluster is not watched.
            BusyError: it has not been read yet.
        """
        ...


class Budgets(Protocol):
    """Monthly budgets and what is spent of them.

    `insights.budgets.visible` says which of them a principal may see.
    """

    def states(self, tenant: str, month: date) -> Sequence[BudgetState]:
        """Return every budget in the UTC month that begins on `month`, by kind and name."""
        ...


class Incidents(Protocol):
    """The incident list; `insights.budgets.visible` by `target` says who may see which."""

    def incidents(self, tenant: str, *, states: Collection[str] = ()) -> Sequence[Incident]:
        """Return the incidents in these states (none given: all), latest first."""
        ...

    def move(
        self, tenant: str, incident: str, state: str, *, who: str, reason: str = ""
    ) -> Incident | None:
        """Move an incident to another state and return it; None if the tenant has no such one.

        Raises:
            UsageError: an unknown state, or a dismissal without a reason.
        """
        ...

    def destinations(self, tenant: str) -> Sequence[DestinationState]:
        """Return how the deliveries of a tenant's signals fare, by destination."""
        ...


@dataclass(frozen=True, kw_only=True)
class Service:
    """Everything the views of one server stand on.

    `ledger` becomes a shared one: no view can read it without naming a tenant. Without `cost`
    there is no cost summary.
    """

    ledger: Ledger
    inbox: Inbox
    live: Live
    clusters: Clusters
    budgets: Budgets
    incidents: Incidents
    now: Callable[[], datetime]
    access: Gate
    cost: CostSettings | None = None
    instruments: Instruments = field(default_factory=Instruments)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ledger", Ledger(self.ledger.root, shared=True))
