"""How fine a question is, and the fewest partitions that answer it exactly.

The ledger's own hours tell everything apart. Roll-ups beside them hold the same sums with less
detail: by day, or with the pods of a workload as one end. A question is answered from the
coarsest roll-up that still tells its keys apart; what no roll-up covers comes from the hours.
The law it keeps: whichever partitions answer, the sums are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from flowcost import clock
from flowcost.ledger.catalogue import Catalogue, Held

ROLLED = "rollup"  # folder of the roll-ups, each a ledger of its own, a partition per day
RETIRED = "retired.json"

# What only a pod's own identity, or only an hour's own partition, can tell.
_OF_PODS = ("k8s.pod.name", "k8s.pod.uid", "k8s.node.name", "cloud.resource_id", "resource_id")
_OF_HOURS = ("hour",)
_OF_SOURCES = ("source",)


class Detail(Struct, frozen=True):
    """What a question must tell apart."""

    pods: bool = True
    hours: bool = True
    sources: bool = True


FINEST = Detail()


class Level(Struct, frozen=True):
    """A roll-up: its folder, and what it still tells apart."""

    name: str
    detail: Detail

    def answers(self, asked: Detail) -> bool:
        """Return whether this roll-up tells apart all that is asked for."""
        return (
            not asked.sources
            and self.detail.pods >= asked.pods
            and (self.detail.hours >= asked.hours)
        )


DAYS = Level("days", Detail(pods=True, hours=False, sources=False))
WORKLOAD_HOURS = Level("workload-hours", Detail(pods=False, hours=True, sources=False))
WORKLOAD_DAYS = Level("workload-days", Detail(pods=False, hours=False, sources=False))
LEVELS = (WORKLOAD_DAYS, WORKLOAD_HOURS, DAYS)  # the coarsest first


class Retired(Struct, frozen=True):
    """What was pruned: hours before `hours` live on as days; days before `days` are gone.

    Instants are starts of UTC days, as ISO 8601 text; empty is never.
    """

    hours: str = ""
    days: str = ""

    def has(self, hour: datetime) -> bool:
        """Return whether the partition of `hour` was pruned."""
        return bool(self.hours) and hour < clock.parse(self.hours)


def detail_of(names: Iterable[str]) -> Detail:
    """Return what a question with the group keys `names` must tell apart."""
    keys = {name.removeprefix(f"{name.partition('.')[0]}.") if _is_end(name) else name
            for name in names}  # fmt: skip
    return Detail(
        pods=bool(keys & set(_OF_PODS)),
        hours=bool(keys & set(_OF_HOURS)),
        sources=bool(keys & set(_OF_SOURCES)),
    )


def _is_end(name: str) -> bool:
    return name.partition(".")[0] in ("local", "remote", "source", "destination", "other")


class Shelves:
    """The hours of a ledger and the roll-ups beside them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hours = Catalogue(root)
        self.rolled = {level: Catalogue(root / ROLLED / level.name) for level in LEVELS}

    def retired(self) -> Retired:
        """Return what was pruned."""
        try:
            return msgspec.json.decode((self.root / RETIRED).read_bytes(), type=Retired)
        except FileNotFoundError:
            return Retired()

    def chosen(
        self,
        start: datetime | None,
        end: datetime | None,
        *,
        tenant: str = "",
        detail: Detail = FINEST,
    ) -> list[Held]:
        """Return the partitions that together answer for `[start, end)`, each hour once.

        Of a day whose hours were pruned only the whole is left; it belongs to the interval that
        holds its first hour.
        """
        retired = self.retired()
        left = _by_day(
            held
            for held in self.hours.held(start, end, tenant=tenant)
            if not retired.has(held.partition.hour)
        )
        found: list[Held] = []
        for level in LEVELS:
            if not level.answers(detail):
                continue
            opening = clock.day_of(start) if start else None
            for unit in self.rolled[level].held(opening, end, tenant=tenant):
                hours = left.get(_day(unit))
                if hours and _covers(unit, hours):
                    found.append(unit)
                    for name in covered(unit):
                        del hours[name]
        found += [held for hours in left.values() for held in hours.values()]
        if retired.hours:
            found += self._days(retired, start, end, tenant)
        return found

    def _days(
        self, retired: Retired, start: datetime | None, end: datetime | None, tenant: str
    ) -> Sequence[Held]:
        limit = clock.parse(retired.hours)
        until = min(end, limit) if end else limit
        return self.rolled[DAYS].held(start, until, tenant=tenant)


def covered(unit: Held) -> dict[str, str]:
    """Return the hours a roll-up was made from: ISO instant -> digest."""
    return {given.name: given.digest for given in unit.manifest.inputs}


def _by_day(hours: Iterable[Held]) -> dict[tuple[str, str, datetime], dict[str, Held]]:
    found: dict[tuple[str, str, datetime], dict[str, Held]] = {}
    for held in hours:
        found.setdefault(_day(held), {})[held.manifest.hour] = held
    return found


def _day(held: Held) -> tuple[str, str, datetime]:
    partition = held.partition
    return partition.tenant, partition.cluster, clock.day_of(partition.hour)


def _covers(unit: Held, hours: dict[str, Held]) -> bool:
    """Return whether every hour in the roll-up is asked for, and unchanged since."""
    return all(
        name in hours and hours[name].digest == digest for name, digest in covered(unit).items()
    )
