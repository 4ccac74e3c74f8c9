"""How fine a question is, and the fewest partitions that answer it exactly.

The ledger's own hours tell everything apart. Roll-ups beside them hold the same sums with less
detail: by day, the pods of a workload as one end, the workloads of an owner as one end. A question
is answered from the coarsest roll-up that still tells its keys apart; what no roll-up covers comes
from the hours.
The law it keeps: whichever partitions answer, the sums are the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from flowcost import clock
from flowcost.ledger.catalogue import Catalogue, Held

ROLLED = "rollup"  # folder of the roll-ups, each a ledger of its own, a partition per day
TRAFFIC = "traffic"  # beside the levels: what was sent, of all clusters (`traffic`)
RETIRED = "retired.json"

_ENDS = ("local", "remote", "source", "destination", "other")
# What pods and instances of one workload have each for itself.
_OWN = ("cloud_resource_id", "k8s_pod_name", "k8s_pod_uid", "k8s_node_name")
# What the workloads of one owner have each for itself.
_OF_WORKLOADS = (
    "k8s_workload_kind", "k8s_workload_name", "service_name", "cloud_vpc_id", "cloud_subnet_id"
)  # fmt: skip
_KINDS = ("deployment", "statefulset", "daemonset", "replicaset", "job", "cronjob")


class Detail(Struct, frozen=True):
    """What a question must tell apart: the attributes it names, or (None) everything."""

    names: frozenset[str] | None = None

    def with_hours(self) -> Detail:
        """Return this detail, by the hour."""
        return self if self.names is None else Detail(self.names | {"hour"})


FINEST = Detail()


# ISO instant of an hour (of what was pruned: of its day) -> clusters and digests of what holds it.
Contents = dict[str, frozenset[tuple[str, str]]]


class Level(Struct, frozen=True, kw_only=True):
    """A roll-up.

    `of` is the level it is made from, empty for the ledger's own hours. `blanks` are identity
    fields and the SQL condition under which an end loses them: never where a name or an owner
    that a question may ask for stands on them. `without` are columns of charges that are
    emptied. `loses` are the attributes that cannot be told any more.
    """

    name: str
    of: str = ""
    by_day: bool = False
    blanks: tuple[tuple[str, str], ...] = ()
    without: tuple[str, ...] = ("source",)
    loses: frozenset[str] = frozenset({"source"})

    def answers(self, asked: Detail) -> bool:
        """Return whether this roll-up tells apart all that is asked for."""
        return asked.names is not None and not asked.names & self.loses


_POD_KEYS = frozenset({"source", "resource_id", *(name.replace("_", ".") for name in _OWN),
                       "cloud.resource_id"})  # fmt: skip
_WORKLOAD_KEYS = _POD_KEYS | {
    "name", "conversation", "address", "dialed_service", "dns.name", "service.name",
    "cloud.vpc_id", "cloud.subnet_id", "k8s.workload.kind", "k8s.workload.name",
    *(f"k8s.{kind}.name" for kind in _KINDS),
}  # fmt: skip
_NAMED = "(k8s_workload_name <> '' OR service_name <> '')"
_OWNED = "(owner_team <> '' OR k8s_namespace_name <> '')"

DAYS = Level(name="days", by_day=True, loses=frozenset({"source", "hour"}))
WORKLOAD_HOURS = Level(
    name="workload-hours",
    blanks=tuple((field, _NAMED) for field in _OWN),
    without=("source", "resource_id"),
    loses=_POD_KEYS,
)
WORKLOAD_DAYS = Level(
    name="workload-days", of="workload-hours", by_day=True, loses=_POD_KEYS | {"hour"}
)
OWNER_HOURS = Level(
    name="owner-hours",
    of="workload-hours",
    blanks=(*((field, _OWNED) for field in (*_OWN, *_OF_WORKLOADS)), ("dns_name", "TRUE")),
    without=("source", "resource_id", "local_address", "remote_address", "dialed_service"),
    loses=_WORKLOAD_KEYS,
)
OWNER_DAYS = Level(
    name="owner-days", of="owner-hours", by_day=True, loses=_WORKLOAD_KEYS | {"hour"}
)
LEVELS = (OWNER_DAYS, OWNER_HOURS, WORKLOAD_DAYS, WORKLOAD_HOURS, DAYS)  # the coarsest first
MADE = (DAYS, WORKLOAD_HOURS, WORKLOAD_DAYS, OWNER_HOURS, OWNER_DAYS)  # each after what it is of


class Retired(Struct, frozen=True):
    """What was pruned: hours before `hours` live on as days; days before `days` are gone.

    Instants are starts of UTC days, as ISO 8601 text; empty is never.
    """

    hours: str = ""
    days: str = ""

    @property
    def kept_from(self) -> datetime:
        """Return the first hour that can still change."""
        return clock.parse(self.hours) if self.hours else clock.EARLIEST

    def has(self, hour: datetime) -> bool:
        """Return whether the partition of `hour` was pruned."""
        return bool(self.hours) and hour < self.kept_from


def detail_of(names: Iterable[str], attribute_by: str = "local") -> Detail:
    """Return what a question with these group keys must tell apart."""
    bare = []
    for name in names:
        end, dot, attribute = name.partition(".")
        bare.append(attribute if dot and end in _ENDS else name)
    payer = ["dialed_service"] if attribute_by == "dialed_service" else []
    return Detail(frozenset([*bare, *payer]))


class Shelves:
    """The hours of a ledger and the roll-ups beside them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hours = Catalogue(root)
        self.rolled = {level: Catalogue(root / ROLLED / level.name) for level in LEVELS}
        self.traffic = Catalogue(root / ROLLED / TRAFFIC)

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

    def contents(self, held: Iterable[Held]) -> Contents:
        """Return what the hours are that partitions chosen for a question by the hour hold.

        An hour that was rolled up since is the same; one that was rewritten or pruned is another.
        """
        rolled, days = (f"{self.root / ROLLED / name}/" for name in ("", DAYS.name))
        found: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for unit in held:
            folder = str(unit.folder)
            whole = not folder.startswith(rolled) or folder.startswith(days)
            hours = {unit.manifest.hour: unit.digest} if whole else covered(unit)
            for hour, digest in hours.items():
                found[hour].add((unit.partition.cluster, digest))
        return {hour: frozenset(parts) for hour, parts in found.items()}

    def _days(
        self, retired: Retired, start: datetime | None, end: datetime | None, tenant: str
    ) -> Sequence[Held]:
        limit = clock.parse(retired.hours)
        until = min(end, limit) if end else limit
        return self.rolled[DAYS].held(start, until, tenant=tenant)


def covered(unit: Held) -> dict[str, str]:
    """Return the hours a roll-up was made from: ISO instant -> digest."""
    return {given.name: given.digest for given in unit.manifest.inputs}


def sent_of(unit: Held) -> Contents:
    """Return the hours that a partition of `TRAFFIC` was made from."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for given in unit.manifest.inputs:
        hour, _, cluster = given.name.partition(" ")
        found[hour].add((cluster, given.digest))
    return {hour: frozenset(parts) for hour, parts in found.items()}


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
