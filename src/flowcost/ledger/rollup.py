"""Roll-ups are made here: the closed hours of a day, summed with less detail.

Each roll-up is a ledger of its own with a partition per day, made from exactly the hours its
manifest names by their content. An hour that is rewritten later makes its day's roll-ups stale;
questions then go to the hours until the day is rolled up again. Sums are of integers, so nothing
is lost but the detail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from flowcost import clock
from flowcost.content import remember
from flowcost.errors import LedgerError
from flowcost.ledger import traffic
from flowcost.ledger.attach import attach_held
from flowcost.ledger.catalogue import Held
from flowcost.ledger.levels import LEVELS, MADE, ROLLED, Level, covered
from flowcost.ledger.partition import Input, Partition
from flowcost.ledger.store import Ledger
from flowcost.model import EndKind, Identity
from flowcost.schema import CHARGES, IDENTITY_FIELDS, Column

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SUMMED = ("bytes", "packets", "quantity", "list_cost")
_ROW = ("hour", "local_id", "remote_id", "local_address", "remote_address")
_CONTEXT = tuple(c.name for c in CHARGES if c.name not in (*_SUMMED, *_ROW))


def roll_up(
    ledger: Ledger, *, closed_before: datetime, stopped: Callable[[], bool] = lambda: False
) -> list[Partition]:
    """Roll up every day whose hours before `closed_before` changed since; return those days.

    Days whose hours were pruned stay as they are. `stopped` is asked between two days.

    Raises:
        LedgerError: a roll-up cannot be written; those written before it stand.
    """
    retired = ledger.shelves.retired()
    days: dict[Partition, list[Held]] = {}
    for held in ledger.shelves.hours.held(None, closed_before):
        hour = held.partition.hour
        if not retired.has(hour):
            day = Partition(held.partition.tenant, held.partition.cluster, clock.day_of(hour))
            days.setdefault(day, []).append(held)
    rolled = [day for day, hours in days.items() if not stopped() and _roll_day(ledger, day, hours)]
    sent: dict[tuple[str, datetime], list[Held]] = {}
    for day, hours in days.items():
        sent.setdefault((day.tenant, day.hour), []).extend(hours)
    for (tenant, _), hours in sent.items():
        if not stopped():
            traffic.roll(ledger, tenant, hours)
    return rolled


def _roll_day(ledger: Ledger, day: Partition, hours: Sequence[Held]) -> bool:
    wanted = {held.manifest.hour: held.digest for held in hours}
    if all(_made_from(ledger, level, day) == wanted for level in LEVELS):
        return False
    inputs = [Input(name, digest) for name, digest in wanted.items()]
    with closing(ledger.engine.connect()) as con:
        attach_held(con, hours)
        _gather(con)
        for level in MADE:
            rolled = Ledger.open(ledger.root / ROLLED / level.name, create=True)
            identities, contexts = _join_ends(con, level), _join_contexts(con, level)
            _sum(con, level, day, contexts=contexts)
            rolled.put(con, day, _queries(level, identities, contexts), inputs)
    return True


def _made_from(ledger: Ledger, level: Level, day: Partition) -> dict[str, str]:
    found = ledger.shelves.rolled[level].held(day.hour, day.hour + clock.HOUR, tenant=day.tenant)
    return {
        name: digest
        for unit in found
        if unit.partition == day
        for name, digest in covered(unit).items()
    }


def _join_ends(con: DuckDBPyConnection, level: Level) -> str:
    """Return the table of the level's identities; `joined` maps those it is made from to them."""
    before = _table("identities", level.of)
    if not level.blanks:
        return before
    blanks = dict(level.blanks)
    shown = ", ".join(
        f"CASE WHEN {blanks[name]} THEN '' ELSE {name} END AS {name}" if name in blanks else name
        for name in IDENTITY_FIELDS
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE seen AS SELECT identity_id, {shown} FROM {before}")
    names = ", ".join(IDENTITY_FIELDS)
    known: dict[int, Identity] = {}
    rows = con.execute(f"SELECT DISTINCT {names} FROM seen ORDER BY ALL").fetchall()
    ids = [remember(known, _identity(row)) for row in rows]
    columns = {
        name: pa.array([row[index] for row in rows], pa.string())
        for index, name in enumerate(IDENTITY_FIELDS)
    }
    after = _table("identities", level.name)
    con.register("given", pa.table({"identity_id": pa.array(ids, pa.int64()), **columns}))
    con.execute(f"CREATE OR REPLACE TEMP TABLE {after} AS SELECT * FROM given")
    con.unregister("given")
    same = " AND ".join(f"seen.{name} = w.{name}" for name in IDENTITY_FIELDS)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE joined AS"
        f" SELECT seen.identity_id, w.identity_id AS into_id FROM seen JOIN {after} w ON {same}"
    )
    return after


def _table(what: str, level: str) -> str:
    return f"{what}_{level.replace('-', '_')}" if level else what


def _identity(row: Iterable[str]) -> Identity:
    values = dict(zip(IDENTITY_FIELDS, row, strict=True))
    return msgspec.convert({**values, "kind": EndKind(values["kind"] or "unknown")}, Identity)


def _gather(con: DuckDBPyConnection) -> None:
    """Create `summed` (ends, context, sums) and `contexts`, the other columns once per context.

    A context is a 64-bit hash of its columns, which groups faster than twenty texts; a second,
    independent hash proves that no two share one.

    Raises:
        LedgerError: two contexts share a hash (one chance in 2**64 per pair).
    """
    shown = ", ".join("''" if name == "source" else f"c.{name}" for name in _CONTEXT)
    sums = ", ".join(_summed(column) for column in CHARGES if column.name in _SUMMED)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE summed AS"
        f" SELECT {', '.join(_ROW)}, hash({shown}) AS context, {sums} FROM charges AS c"
        f" GROUP BY {', '.join(_ROW)}, context, c.list_cost IS NULL"
    )
    chosen = ", ".join(
        ("''" if name == "source" else f"any_value(c.{name})") + f" AS {name}" for name in _CONTEXT
    )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE contexts AS SELECT hash({shown}) AS context, {chosen},"
        f" min(hash('check', {shown})) <> max(hash('check', {shown})) AS collided"
        " FROM charges AS c GROUP BY 1"
    )
    if con.execute("SELECT count(*) FROM contexts WHERE collided").fetchall()[0][0]:
        raise LedgerError(
            "two different kinds of charge share a hash", hint="report this; nothing was changed"
        )


def _join_contexts(con: DuckDBPyConnection, level: Level) -> str:
    """Return the table of the level's contexts; `placed` maps those it is made from to them."""
    before = _table("contexts", level.of)
    without = set(level.without) & set(_CONTEXT) - {"source"}
    if not without:
        return before
    same = ", ".join(name for name in _CONTEXT if name not in without)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE placed AS SELECT context,"
        f" min(context) OVER (PARTITION BY {same}) AS into_context FROM {before}"
    )
    after = _table("contexts", level.name)
    emptied = ", ".join(f"'' AS {name}" for name in sorted(without))
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {after} AS SELECT * REPLACE ({emptied}) FROM {before}"
        " WHERE context IN (SELECT into_context FROM placed)"
    )
    return after


def _sum(con: DuckDBPyConnection, level: Level, day: Partition, *, contexts: str) -> None:
    """Create the level's sums: those it is made from, summed by what it tells apart."""
    moved = contexts != _table("contexts", level.of)
    hour = f"TIMESTAMP '{day.hour:%Y-%m-%d %H:%M:%S}'" if level.by_day else "c.hour"
    columns = {
        "hour": hour,
        "local_id": "l.into_id" if level.blanks else "c.local_id",
        "remote_id": "r.into_id" if level.blanks else "c.remote_id",
        **{
            name: "NULL::BLOB" if name in level.without else f"c.{name}"
            for name in ("local_address", "remote_address")
        },
        "context": "p.into_context" if moved else "c.context",
    }
    ends = (
        " JOIN joined AS l ON l.identity_id = c.local_id"
        " JOIN joined AS r ON r.identity_id = c.remote_id"
        if level.blanks
        else ""
    )
    shown = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    sums = ", ".join(_summed(column) for column in CHARGES if column.name in _SUMMED)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {_table('summed', level.name)} AS"
        f" SELECT {shown}, {sums} FROM {_table('summed', level.of)} AS c{ends}"
        f"{' JOIN placed AS p ON p.context = c.context' if moved else ''}"
        f" GROUP BY {', '.join(str(n + 1) for n in range(len(columns)))}, c.list_cost IS NULL"
    )


def _summed(column: Column) -> str:
    # DuckDB sums BIGINT to HUGEINT; a day of one pair stays far below 2**63 bytes.
    kind = "DECIMAL(38,0)" if column.type == "exact" else "BIGINT"
    return f"CAST(sum(c.{column.name}) AS {kind}) AS {column.name}"


def _queries(level: Level, identities: str, contexts: str) -> dict[str, str]:
    summed = _table("summed", level.name)
    names = ", ".join(
        f"{'x' if column.name in _CONTEXT else 'c'}.{column.name}" for column in CHARGES
    )
    used = f"(SELECT local_id FROM {summed} UNION SELECT remote_id FROM {summed})"
    return {
        "charges": f"SELECT {names} FROM {summed} AS c JOIN {contexts} AS x USING (context)",
        "identities": f"SELECT * FROM {identities} WHERE identity_id IN {used}",
        "verdicts": "SELECT * FROM verdicts",
        "rates": "SELECT * FROM rates",
    }
