"""How far figures can be trusted: what is attributed, proven, priced, and seen by which sensor."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from flowcost import clock
from flowcost.ledger import query
from flowcost.views.api import costs
from flowcost.views.api.endpoint import Asked
from flowcost.views.api.parameters import Window
from flowcost.views.tables import share

MOST_GAPS = 1000
_BY = ("observer_type", "cluster", "confidence")


Gaps = Annotated[int, Meta(description="hours without data to name, at most", ge=0, le=MOST_GAPS)]


class CoverageAsked(Window, frozen=True, kw_only=True):
    """What `/v1/coverage` takes."""

    gaps: Gaps = 24


class Seen(Struct, frozen=True, kw_only=True):
    """Bytes by kind of sensor, cluster and how their verdicts were reached."""

    observer_type: str
    cluster: str
    confidence: str
    bytes: int
    unpriced_bytes: int


class Coverage(Struct, frozen=True, kw_only=True):
    """What is known of the selection. Shares are percent, as text.

    `hours_without_data` counts hours between the first and the last charge in which there is
    none; `gaps` names the first of them.
    """

    totals: costs.Totals
    attributed_share: str
    proven_share: str
    sensors: list[Seen]
    hours_without_data: int
    gaps: list[str]


def coverage(asked: Asked, takes: CoverageAsked) -> Coverage:
    """Return totals, shares, sensors, and hours in which nothing was seen."""
    ledger, selection = asked.service.ledger, asked.selection(takes)
    whole = costs.totals(asked, takes)
    rows = query.costs(ledger, selection, by=_BY, sort="-bytes").rows
    everything = replace(selection, where="")
    found = query.trend(ledger, everything, step="hour").rows
    hours = [row[0].replace(tzinfo=UTC) for row in found]
    seen = set(hours)
    missing: list[str] = []
    at = hours[0] if hours else clock.EARLIEST
    count = 0
    while hours and at < hours[-1]:
        if at not in seen:
            count += 1
            if len(missing) < takes.gaps:
                missing.append(clock.iso(at))
        at += clock.HOUR
    return Coverage(
        totals=whole,
        attributed_share=share(whole.attributed_bytes, whole.bytes),
        proven_share=share(whole.bytes - whole.unknown_bytes, whole.bytes),
        sensors=[
            Seen(
                observer_type=kind,
                cluster=cluster,
                confidence=confidence,
                bytes=size,
                unpriced_bytes=unpriced,
            )
            for kind, cluster, confidence, size, _, unpriced in rows
        ],
        hours_without_data=count,
        gaps=missing,
    )
