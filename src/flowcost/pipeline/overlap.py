"""One interface, one flow log (law 4): overlapping logs are booked once.

Flow logs of a VPC, of a subnet and of an interface may all cover one interface. Per interface and
hour the one whose format has the packet's addresses is booked, then the one with more of the
fields that flows are made of, then the one with most bytes, then the one with the smaller id; the
rest is a cross-check. Only named flow logs can overlap: files without the provider's name say
nothing of the log they came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
from msgspec import Struct

from flowcost.model import Finding
from flowcost.pipeline.world import create
from flowcost.sources.report import FileReport

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CHOSEN = """
CREATE OR REPLACE TEMP TABLE covered AS
WITH seen AS (
    SELECT observer, date_trunc('hour', window_start) AS hour, source,
           sum(bytes)::HUGEINT AS bytes
    FROM logged WHERE source LIKE 'fl-%' AND observer <> '' GROUP BY ALL
)
SELECT observer, hour, source, bytes, max(bytes) OVER interfaces AS most,
       row_number() OVER (
           interfaces
           ORDER BY coalesce(packet_ends, FALSE) DESC, coalesce(fields, 0) DESC, bytes DESC, source
       ) AS place
FROM seen LEFT JOIN log_formats USING (hour, source)
WINDOW interfaces AS (PARTITION BY observer, hour)
"""
# A hundredth is what intervals of different length differ by at the edges of an hour.
_LESS = """
SELECT count(*), sum(most - bytes)::HUGEINT, min(observer)
FROM covered WHERE place = 1 AND (most - bytes) * 100 > most
"""


class Format(Struct, frozen=True):
    """What the records of one flow log hold; see `FileReport`."""

    source: str
    packet_ends: bool
    fields: int


class Overlap(Struct, frozen=True):
    """What was not chosen: its bytes, and whether the chosen ones saw less."""

    bytes: int
    findings: tuple[Finding, ...]


NO_OVERLAP = Overlap(0, ())


def formats_of(reports: Iterable[FileReport]) -> tuple[Format, ...]:
    """Return the formats of flow logs; of files that differ, the poorer one."""
    poorest: dict[str, tuple[bool, int]] = {}
    for report in reports:
        name, found = report.flow_log_id, (report.packet_ends, report.fields)
        if name and report.record:
            poorest[name] = min(found, poorest.get(name, found))
    return tuple(Format(name, *found) for name, found in sorted(poorest.items()))


def choose_logs(con: DuckDBPyConnection, formats: Mapping[datetime, Iterable[Format]]) -> Overlap:
    """Create the view `flows`: `logged` with each interface's hour from one flow log.

    `formats` are those of the flow logs that have flows in each hour.
    """
    known = [(hour, one) for hour, found in formats.items() for one in found]
    create(con, "log_formats", {
        "hour": pa.array([hour.replace(tzinfo=None) for hour, _ in known], pa.timestamp("us")),
        "source": pa.array([one.source for _, one in known], pa.string()),
        "packet_ends": pa.array([one.packet_ends for _, one in known], pa.bool_()),
        "fields": pa.array([one.fields for _, one in known], pa.int32()),
    })  # fmt: skip
    con.execute(CHOSEN)
    [(surplus,)] = con.execute(
        "SELECT coalesce(sum(bytes), 0)::HUGEINT FROM covered WHERE place > 1"
    ).fetchall()
    where = (
        " l WHERE NOT EXISTS (SELECT 1 FROM covered c WHERE c.place > 1"
        " AND c.observer = l.observer AND c.source = l.source"
        " AND c.hour = date_trunc('hour', l.window_start))"
        if surplus
        else ""
    )
    con.execute(f"CREATE OR REPLACE TEMP VIEW flows AS SELECT * FROM logged{where}")
    return Overlap(int(surplus), tuple(_less(con)))


def may_overlap(formats: Mapping[datetime, Iterable[Format]]) -> bool:
    """Return whether two flow logs have flows in one hour; `formats` as `choose_logs` takes them.

    A file that is named by its flow log says so of all its flows.
    """
    return any(len({one.source for one in found}) > 1 for found in formats.values())


def _less(con: DuckDBPyConnection) -> Iterable[Finding]:
    """Yield a finding if the finer log of an interface saw less than another did."""
    [(hours, missing, observer)] = con.execute(_LESS).fetchall()
    if hours:
        yield Finding(
            code="flow-log-overlap",
            severity="warning",
            subject="interface hours",
            count=hours,
            bytes=int(missing),
            sample=observer,
            hint="two flow logs cover these interfaces; the one with the packet's addresses and "
            "more fields is booked and saw less: was it created in that hour, or did it skip?",
        )
