"""How long what is kept: hours give way to days, and days to nothing, each after its own time.

The law it keeps: a total over whole days is the same before and after hours were pruned. A day is
pruned only when its roll-up adds up to its hours, and what was pruned is written down first, so
that an interruption at any point leaves every hour counted once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from flowcost import clock, durable
from flowcost.errors import LedgerError
from flowcost.ledger.catalogue import Held
from flowcost.ledger.levels import DAYS, LEVELS, RETIRED, ROLLED, TRAFFIC, Retired
from flowcost.ledger.partition import Partition
from flowcost.ledger.rollup import roll_up
from flowcost.ledger.store import Ledger


def prune(
    ledger: Ledger, *, hours_before: datetime, days_before: datetime | None = None
) -> list[Partition]:
    """Drop hours of UTC days that ended by `hours_before`, and days before `days_before`.

    Returns the hours that are gone.

    Raises:
        LedgerError: a day's roll-up does not add up to its hours; nothing of it is dropped.
    """
    retired = ledger.shelves.retired()
    limit = clock.day_of(hours_before)
    if retired.hours:
        limit = max(limit, clock.parse(retired.hours))
    oldest = clock.parse(retired.days) if retired.days else None
    if days_before:
        asked = min(clock.day_of(days_before), limit)
        oldest = max(asked, oldest) if oldest else asked
    roll_up(ledger, closed_before=limit)
    hours = ledger.shelves.hours.held(None, limit)
    for day, parts in _by_day(hours, retired).items():
        _check(ledger, day, parts)
    if hours or oldest:
        _write(ledger, Retired(hours=clock.iso(limit), days=clock.iso(oldest) if oldest else ""))
    for held in hours:
        ledger.drop(held.partition)
    _drop_rolled(ledger, limit, oldest)
    return [held.partition for held in hours]


def _drop_rolled(ledger: Ledger, limit: datetime, oldest: datetime | None) -> None:
    until_of = {level.name: oldest if level.by_day else limit for level in LEVELS}
    for name, until in {**until_of, TRAFFIC: limit}.items():
        rolled = Ledger(ledger.root / ROLLED / name)
        if until is not None:
            for held in rolled.shelves.hours.held(None, until):
                rolled.drop(held.partition)


def _by_day(hours: Sequence[Held], retired: Retired) -> dict[Partition, list[Held]]:
    found: dict[Partition, list[Held]] = {}
    for held in hours:
        if not retired.has(held.partition.hour):  # else an interrupted pruning left it over
            tenant, cluster, hour = (
                held.partition.tenant,
                held.partition.cluster,
                clock.day_of(held.partition.hour),
            )
            found.setdefault(Partition(tenant, cluster, hour), []).append(held)
    return found


def _check(ledger: Ledger, day: Partition, hours: Sequence[Held]) -> None:
    """Hold a day's roll-up against its hours."""
    rolled = Ledger(ledger.root / ROLLED / DAYS.name).manifest(day)
    parts = [held.manifest.totals for held in hours]
    summed = (
        sum(part.bytes for part in parts),
        sum(part.unpriced_bytes for part in parts),
        sum(int(part.list_cost) for part in parts),
    )
    totals = rolled.totals if rolled else None
    if totals is None or summed != (totals.bytes, totals.unpriced_bytes, int(totals.list_cost)):
        raise LedgerError(
            f"{day.folder}: the day's roll-up does not add up to its hours; nothing was pruned",
            hint=f"delete {ROLLED}/{DAYS.name}/{day.folder} and prune again",
        )


def _write(ledger: Ledger, retired: Retired) -> None:
    durable.replace(ledger.root / RETIRED, msgspec.json.encode(retired))
