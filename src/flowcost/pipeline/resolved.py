"""What a run needs of a resolution: columns for the engine, and what the readers are told."""

from __future__ import annotations

from msgspec import Struct

from flowcost.model import Finding
from flowcost.pipeline.columns import Columns, columns_of
from flowcost.pipeline.knowledge import knowledge_of
from flowcost.resolve import PEERING_ATTACHMENT, Resolution
from flowcost.sources.knowledge import Knowledge


class Resolved(Struct, frozen=True, kw_only=True):
    """A resolution without an object per identity.

    `interfaces` are (id, account) of every network interface that a flow log can cover.
    """

    columns: Columns
    knowledge: Knowledge
    interfaces: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]


def resolved(resolution: Resolution) -> Resolved:
    """Return what a run needs of a resolution."""
    return Resolved(
        columns=columns_of(resolution),
        knowledge=knowledge_of(resolution),
        interfaces=tuple(
            (one.id, one.account) for one in resolution.interfaces if one.type != PEERING_ATTACHMENT
        ),
        findings=resolution.findings,
    )
