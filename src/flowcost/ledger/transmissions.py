"""Each transmission once, whether one end saw it or both.

The ledger books both ends of what two sensors saw, as bills do. Questions about traffic as such
(who sends how much where) count it once: between two workloads, in an hour (a day, where hours
were rolled up), it is what the senders saw or what the receivers saw, whichever is more. Where
sensors are on a part of both, that is the least it can have been.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from flowcost.address import SCOPE_STARTS, SCOPE_VALUES, Scope
from flowcost.ledger import condition, keys
from flowcost.ledger.levels import Detail
from flowcost.ledger.query import Selection, opened
from flowcost.ledger.reread import reread
from flowcost.ledger.store import Ledger
from flowcost.model import EndKind, Path, Provenance

# What is shown of an end, and what tells one workload from another besides. Ends are numbered by
# both, so that millions of rows are grouped by numbers and only the few that remain get words;
# 0 is an end of which nothing is known.
_SHOWN = ("service_name", "owner_team", "cloud_availability_zone", "cloud_region")
_WORKLOAD = ("k8s_namespace_name", "k8s_workload_name", *_SHOWN)
_ONCE = f"""
WITH seen AS (
    SELECT c.direction, c.local_id, c.remote_id, c.path, c.hour,
        CASE WHEN c.remote_address IS NULL THEN FALSE ELSE (%(public)s) END AS remote_public,
        sum(c.bytes) AS bytes
    FROM charges AS c %(joins)s
    WHERE c.provenance = '{Provenance.OBSERVED}' AND c.bytes > 0 AND (%(where)s) GROUP BY ALL
), ends AS MATERIALIZED (
    SELECT identity_id, kind = '{EndKind.INTERNET}' AS internet, {", ".join(_SHOWN)},
        CASE WHEN concat({", ".join(_WORKLOAD)}) = '' THEN 0
             ELSE dense_rank() OVER (ORDER BY {", ".join(_WORKLOAD)}) END AS workload,
        CASE WHEN concat({", ".join(_SHOWN)}) = '' THEN 0
             ELSE dense_rank() OVER (ORDER BY {", ".join(_SHOWN)}) END AS shown
    FROM identities
), sides AS (
    SELECT path, hour,
        coalesce(CASE direction WHEN 'transmit' THEN here.workload ELSE there.workload END, 0)
            AS src_workload,
        coalesce(CASE direction WHEN 'transmit' THEN there.workload ELSE here.workload END, 0)
            AS dst_workload,
        coalesce(CASE direction WHEN 'transmit' THEN here.shown ELSE there.shown END, 0) AS src,
        coalesce(CASE direction WHEN 'transmit' THEN there.shown ELSE here.shown END, 0) AS dst,
        direction = 'transmit' AND (remote_public OR coalesce(there.internet, FALSE))
            AS dst_internet,
        sum(CASE direction WHEN 'transmit' THEN bytes ELSE 0 END) AS sent,
        sum(CASE direction WHEN 'transmit' THEN 0 ELSE bytes END) AS received
    FROM seen
        LEFT JOIN ends AS here ON here.identity_id = local_id
        LEFT JOIN ends AS there ON there.identity_id = remote_id
    GROUP BY ALL
), once AS (
    SELECT path, %(hour)s AS hour, src, dst, dst_internet, sum(greatest(sent, received)) AS bytes
    FROM sides GROUP BY ALL
), words AS (
    SELECT DISTINCT shown, {", ".join(_SHOWN)} FROM ends
)
SELECT %(asked)s, CAST(sum(bytes) AS DECIMAL(38,0)) AS bytes
FROM once LEFT JOIN words AS source ON source.shown = src AND src > 0
    LEFT JOIN words AS destination ON destination.shown = dst AND dst > 0
GROUP BY %(asked)s ORDER BY %(asked)s
"""


def _of_owner(field: str) -> str:
    """Return SQL of its sender's, or of what arrives from outside its receiver's."""
    sides = f"WHEN '{Path.INTERNET_INGRESS}' THEN destination.{field} ELSE source.{field}"
    return f"coalesce(CASE path {sides} END, '')"


_COLUMNS = {
    "path": "path",
    "hour": "hour",
    "service": _of_owner("service_name"),
    "team": _of_owner("owner_team"),
    "src_zone": "coalesce(source.cloud_availability_zone, '')",
    "src_region": "coalesce(source.cloud_region, '')",
    "dst_zone": "coalesce(destination.cloud_availability_zone, '')",
    "dst_region": "coalesce(destination.cloud_region, '')",
    "dst_internet": "dst_internet",
}
_DETAIL = Detail(frozenset({"address"}))


class Sent(Struct, frozen=True, kw_only=True):
    """Bytes that were sent alike; what was not asked to be told apart is empty.

    `service` and `team` are the sender's, and the receiver's of what arrives from the internet.
    `dst_internet` says that the receiver is a public address of nobody we know.
    """

    path: str = ""
    hour: datetime | None = None
    service: str = ""
    team: str = ""
    src_zone: str = ""
    src_region: str = ""
    dst_zone: str = ""
    dst_region: str = ""
    dst_internet: bool = False
    bytes: int


@reread
def transmissions(ledger: Ledger, selection: Selection, *, by: Sequence[str]) -> list[Sent]:
    """Return what was sent in the selection's time, by fields of `Sent`; its filter is not used.

    Instants are naive UTC, as the engine gives them.
    """
    where, bound = condition.sql(selection.within)
    public, values = _public()
    by_hour = "hour" in by
    sql = _ONCE % {
        "public": public,
        "joins": keys.joins(where),
        "where": where,
        "hour": "hour" if by_hour else "NULL",
        "asked": ", ".join(_COLUMNS[name] for name in by),
    }
    with opened(ledger, selection, _DETAIL.with_hours() if by_hour else _DETAIL) as con:
        rows: list[Any] = con.execute(sql, [*values, *bound]).fetchall()
    return [Sent(**dict(zip(by, row[:-1], strict=True)), bytes=int(row[-1])) for row in rows]


def _public() -> tuple[str, list[object]]:
    """Return SQL that says whether an address without identity is public, and its values."""
    ends = [*SCOPE_STARTS[1:], b"\xff" * 16]
    blocks = [
        (first, last)
        for first, last, scope in zip(SCOPE_STARTS, ends, SCOPE_VALUES, strict=True)
        if scope is Scope.PUBLIC
    ]
    known = " OR ".join("(c.remote_address >= ? AND c.remote_address < ?)" for _ in blocks)
    values: list[object] = [edge for block in blocks for edge in block]
    return known, values
