"""Incidents: what somebody should look at, and who has.

An incident collects the signals about one target in one period. It changes state only by a
person's hand, or by a new signal, which opens it again.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class IncidentState(StrEnum):
    """Where an incident stands; `dismissed` carries a reason."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    DISMISSED = "dismissed"


class Change(Struct, frozen=True, kw_only=True):
    """Who moved an incident to which state, when and why; a signal is `flowcost`."""

    at: datetime
    who: str
    state: str
    reason: str = ""


class Incident(Struct, frozen=True, kw_only=True):
    """One incident. Texts and attributes are those of its latest signal; instants are UTC.

    `until` is when it stops being news: it stays in the list, and alerts about it end.
    """

    id: str
    tenant: str
    kind: str
    severity: str
    title: str
    summary: str
    target: str
    attributes: dict[str, str]
    occurred_at: datetime
    opened_at: datetime
    until: datetime
    state: str
    signals: int
    changes: tuple[Change, ...]

    @property
    def is_closed(self) -> bool:
        """Return whether somebody has dealt with it."""
        return self.state in (IncidentState.RESOLVED, IncidentState.DISMISSED)


class DestinationState(Struct, frozen=True, kw_only=True):
    """How deliveries to one destination fare; counts are since the server began.

    `trouble` is what the last attempt met, empty if it went well.
    """

    name: str
    waiting: int
    delivered: int
    failed: int
    trouble: str
