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
from flowcost.ledger.ends import RECEIVER, SENDER
from flowcost.ledger.levels import Detail
from flowcost.ledger.query import Selection, opened
from flowcost.ledger.reread import reread
from flowcost.ledger.store import Ledger
from flowcost.model import EndKind, Path, Provenance

_ONCE = f"""
WITH seen AS (
    SELECT direction, local_id, remote_id, path, hour, (%(public)s) AS remote_public,
        sum(bytes) AS bytes
    FROM charges WHERE provenance = '{Provenance.OBSERVED}' AND bytes > 0 GROUP BY ALL
), sides AS (
    SELECT %(told_apart)s,
        sum(CASE c.direction WHEN 'transmit' THEN c.bytes ELSE 0 END) AS sent,
        sum(CASE c.direction WHEN 'transmit' THEN 0 ELSE c.bytes END) AS received
    FROM seen AS c %(joins)s WHERE %(where)s GROUP BY ALL
)
SELECT %(asked)s, CAST(sum(greatest(sent, received)) AS DECIMAL(38,0)) AS bytes
FROM sides GROUP BY %(asked)s ORDER BY %(asked)s
"""


def _at(end: str, field: str) -> str:
    here, there = f"local_end.{field}", f"remote_end.{field}"
    return f"coalesce(CASE {end} WHEN 'local' THEN {here} ELSE {there} END, '')"


# Who is behind what arrives from outside is the receiver; otherwise the sender.
_OWNER = f"CASE c.path WHEN '{Path.INTERNET_INGRESS}' THEN {RECEIVER} ELSE {SENDER} END"
_INTERNET = f"(c.remote_public OR remote_end.kind = '{EndKind.INTERNET}')"
_COLUMNS = {
    "path": "c.path",
    "hour": "c.hour",
    "service": _at(f"({_OWNER})", "service_name"),
    "team": _at(f"({_OWNER})", "owner_team"),
    "src_zone": _at(f"({SENDER})", "cloud_availability_zone"),
    "src_region": _at(f"({SENDER})", "cloud_region"),
    "dst_zone": _at(f"({RECEIVER})", "cloud_availability_zone"),
    "dst_region": _at(f"({RECEIVER})", "cloud_region"),
    "dst_internet": f"coalesce(c.direction = 'transmit' AND {_INTERNET}, FALSE)",
}
# What tells one pair of workloads from another, besides.
_PAIR = {
    f"{side}_{field}": _at(f"({end})", field)
    for side, end in (("src", SENDER), ("dst", RECEIVER))
    for field in ("k8s_namespace_name", "k8s_workload_name", "service_name", "owner_team")
}
_TOLD_APART = {**_COLUMNS, **_PAIR}
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
    told_apart = ", ".join(f"{sql} AS {name}" for name, sql in _TOLD_APART.items())
    public, values = _public()
    sql = _ONCE % {
        "public": public,
        "told_apart": told_apart,
        "asked": ", ".join(by),
        "joins": keys.joins(told_apart, where),
        "where": where,
    }
    detail = _DETAIL.with_hours() if "hour" in by else _DETAIL
    with opened(ledger, selection, detail) as con:
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
    known = " OR ".join("(remote_address >= ? AND remote_address < ?)" for _ in blocks)
    values: list[object] = [edge for block in blocks for edge in block]
    return f"coalesce({known}, FALSE)", values
