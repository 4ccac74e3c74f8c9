"""Roll-ups are made here: the closed hours of a day, summed with less detail.

Each roll-up is a ledger of its own with a partition per day, made from exactly the hours its
manifest names by their content. An hour that is rewritten later makes its day's roll-ups stale;
questions then go to the hours until the day is rolled up again. Sums are of integers, so nothing
is lost but the detail.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from flowcost import clock
from flowcost.content import remember
from flowcost.ledger.catalogue import Held
from flowcost.ledger.levels import DAYS, LEVELS, ROLLED, Level, covered
from flowcost.ledger.partition import Input, Partition
from flowcost.ledger.store import Ledger, attach_held
from flowcost.model import EndKind, Identity
from flowcost.schema import CHARGES, IDENTITY_FIELDS, Column

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# What a pod or an instance of a workload has for itself. An end that has neither workload nor
# service is known by these alone, and keeps them.
_OWN = ("cloud_resource_id", "k8s_pod_name", "k8s_pod_uid", "k8s_node_name")
_NAMED = "(k8s_workload_name <> '' OR service_name <> '')"
_SUMMED = ("bytes", "packets", "quantity", "list_cost")
MEMORY = "512MB"


def roll_up(ledger: Ledger, *, closed_before: datetime, tenant: str = "") -> list[Partition]:
    """Roll up every day whose hours before `closed_before` changed since; return those days.

    Days whose hours were pruned stay as they are.

    Raises:
        LedgerError: a roll-up cannot be written; those written before it stand.
    """
    retired = ledger.shelves.retired()
    days: dict[Partition, list[Held]] = {}
    for held in ledger.shelves.hours.held(None, closed_before, tenant=tenant):
        hour = held.partition.hour
        if not retired.has(hour):
            day = Partition(held.partition.tenant, held.partition.cluster, clock.day_of(hour))
            days.setdefault(day, []).append(held)
    return [day for day, hours in days.items() if _roll_day(ledger, day, hours)]


def _roll_day(ledger: Ledger, day: Partition, hours: Sequence[Held]) -> bool:
    wanted = {held.manifest.hour: held.digest for held in hours}
    stale = [level for level in LEVELS if _made_from(ledger, level, day) != wanted]
    if not stale:
        return False
    inputs = [Input(name, digest) for name, digest in wanted.items()]
    with ledger.scratch(MEMORY) as con:
        attach_held(con, hours)
        if stale != [DAYS]:
            _join_pods(con)
        for level in stale:
            rolled = Ledger.open(ledger.root / ROLLED / level.name, create=True)
            _sum(con, level, day)
            rolled.put(con, day, _queries(level), inputs)
    return True


def _made_from(ledger: Ledger, level: Level, day: Partition) -> dict[str, str]:
    found = ledger.shelves.rolled[level].held(day.hour, day.hour + clock.HOUR, tenant=day.tenant)
    return {
        name: digest
        for unit in found
        if unit.partition == day
        for name, digest in covered(unit).items()
    }


def _join_pods(con: DuckDBPyConnection) -> None:
    """Create `joined` (an identity -> the one it is summed into) and `workloads`, those."""
    shown = ", ".join(
        f"CASE WHEN {_NAMED} THEN '' ELSE {name} END AS {name}" if name in _OWN else name
        for name in IDENTITY_FIELDS
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE seen AS SELECT identity_id, {shown} FROM identities")
    names = ", ".join(IDENTITY_FIELDS)
    known: dict[int, Identity] = {}
    rows = con.execute(f"SELECT DISTINCT {names} FROM seen ORDER BY ALL").fetchall()
    ids = [remember(known, _identity(row)) for row in rows]
    columns = {
        name: pa.array([row[index] for row in rows], pa.string())
        for index, name in enumerate(IDENTITY_FIELDS)
    }
    con.register("given", pa.table({"identity_id": pa.array(ids, pa.int64()), **columns}))
    con.execute("CREATE OR REPLACE TEMP TABLE workloads AS SELECT * FROM given")
    con.unregister("given")
    same = " AND ".join(f"seen.{name} = w.{name}" for name in IDENTITY_FIELDS)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE joined AS"
        f" SELECT seen.identity_id, w.identity_id AS into_id FROM seen JOIN workloads w ON {same}"
    )


def _identity(row: Iterable[str]) -> Identity:
    values = dict(zip(IDENTITY_FIELDS, row, strict=True))
    return msgspec.convert({**values, "kind": EndKind(values["kind"] or "unknown")}, Identity)


def _sum(con: DuckDBPyConnection, level: Level, day: Partition) -> None:
    """Create `rolled_charges`: the day's charges, summed by what the level tells apart."""
    joined = not level.detail.pods
    shown = [f"{_shown(column, level, day)} AS {column.name}" for column in CHARGES]
    kept = [str(number + 1) for number, c in enumerate(CHARGES) if c.name not in _SUMMED]
    ends = (
        " JOIN joined AS l ON l.identity_id = c.local_id"
        " JOIN joined AS r ON r.identity_id = c.remote_id"
    )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE rolled_charges AS SELECT {', '.join(shown)}"
        f" FROM charges AS c{ends if joined else ''}"
        f" GROUP BY {', '.join(kept)}, c.list_cost IS NULL"
    )


def _shown(column: Column, level: Level, day: Partition) -> str:
    name = column.name
    if name in _SUMMED:
        # DuckDB sums BIGINT to HUGEINT; a day of one pair stays far below 2**63 bytes.
        kind = "DECIMAL(38,0)" if column.type == "exact" else "BIGINT"
        return f"CAST(sum(c.{name}) AS {kind})"
    if name == "hour" and not level.detail.hours:
        return f"TIMESTAMP '{day.hour:%Y-%m-%d %H:%M:%S}'"
    if name == "source" or (name == "resource_id" and not level.detail.pods):
        return "''"
    if name in ("local_id", "remote_id") and not level.detail.pods:
        return f"{name[0]}.into_id"
    return f"c.{name}"


def _queries(level: Level) -> dict[str, str]:
    identities = "identities" if level.detail.pods else "workloads"
    names = ", ".join(column.name for column in CHARGES)
    used = "(SELECT local_id FROM rolled_charges UNION SELECT remote_id FROM rolled_charges)"
    return {
        "charges": f"SELECT {names} FROM rolled_charges",
        "identities": f"SELECT * FROM {identities} WHERE identity_id IN {used}",
        "verdicts": "SELECT * FROM verdicts",
        "rates": "SELECT * FROM rates",
    }
