"""Where a ledger begins and ends, from the names of its folders alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from flowcost import clock
from flowcost.ledger.levels import DAYS, ROLLED
from flowcost.ledger.partition import MANIFEST, Partition
from flowcost.ledger.store import Ledger


def span(ledger: Ledger, *, tenant: str = "") -> tuple[datetime, datetime] | None:
    """Return the first hour and the end of the last, UTC; None where there is no hour.

    No manifest is opened: a month of fifty clusters answers as fast as a day of one.
    """
    below = f"tenant={quote(tenant, safe='') or '*'}/cluster=*"
    clusters = list(ledger.root.glob(below))
    if ledger.shelves.retired().hours:  # the oldest hours live on as days
        clusters += (ledger.root / ROLLED / DAYS.name).glob(below)
    first = [hour for hour in (_outermost(cluster, last=False) for cluster in clusters) if hour]
    last = [hour for hour in (_outermost(cluster, last=True) for cluster in clusters) if hour]
    return (min(first), max(last) + clock.HOUR) if first else None


def _outermost(cluster: Path, *, last: bool) -> datetime | None:
    for day in _ordered(cluster.glob("day=*"), last=last):
        for hour in _ordered(day.glob("hour=*"), last=last):
            if hour.joinpath(MANIFEST).exists():
                return Partition.of(hour).hour
    return None


def _ordered(found: Iterable[Path], *, last: bool) -> list[Path]:
    return sorted(found, reverse=last)
