"""Each transmission once, whether one end saw it or both.

The ledger books both ends of what two sensors saw, as bills do. Questions about traffic as such
(who sends how much where) count it once: between two workloads, in an hour (a day, where hours
were pruned), it is what the senders saw or what the receivers saw, whichever is more. Where
sensors are on a part of both, that is the least it can have been.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from flowcost.address import SCOPE_STARTS, SCOPE_VALUES, Scope
from flowcost.ledger import condition, keys
from flowcost.ledger.ends import SENDER
from flowcost.ledger.levels import Detail
from flowcost.ledger.query import Selection, opened
from flowcost.ledger.remembered import Reduction
from flowcost.ledger.reread import reread
from flowcost.ledger.store import Ledger
from flowcost.model import EndKind, Path, Provenance

# Ends and places are numbered first: millions of pairs are told apart by integers, and only what
# is left of them is given its words.
_WHO = ("k8s_namespace_name", "k8s_workload_name", "service_name", "owner_team")
_PLACE = ("cloud_availability_zone", "cloud_region")
_EMPTY = ", ".join(f"'' AS {field}" for field in (*_WHO, *_PLACE))
_INTERNET = f"(%(public)s OR remote.kind = '{EndKind.INTERNET}')"
_ONCE = f"""
WITH who AS (
    SELECT identity_id, kind, {", ".join(f"coalesce({f}, '') AS {f}" for f in (*_WHO, *_PLACE))}
    FROM identities UNION ALL SELECT NULL, '', {_EMPTY}
), ends AS (
    SELECT *, dense_rank() OVER (ORDER BY {", ".join((*_WHO, *_PLACE))})::INTEGER AS no,
        dense_rank() OVER (ORDER BY {", ".join(_PLACE)})::INTEGER AS place,
        dense_rank() OVER (ORDER BY service_name, owner_team)::INTEGER AS owner
    FROM who
), nobody AS (SELECT no FROM ends WHERE identity_id IS NULL
), sides AS (
    SELECT c.path, c.hour,
        coalesce(CASE {SENDER} WHEN 'local' THEN local.no ELSE remote.no END, (FROM nobody)) AS src,
        coalesce(CASE {SENDER} WHEN 'local' THEN remote.no ELSE local.no END, (FROM nobody)) AS dst,
        coalesce(c.path = '{Path.UNKNOWN}' AND c.direction = 'transmit' AND {_INTERNET}, FALSE)
            AS dst_internet,
        sum(CASE c.direction WHEN 'transmit' THEN c.bytes ELSE 0 END) AS sent,
        sum(CASE c.direction WHEN 'transmit' THEN 0 ELSE c.bytes END) AS received
    FROM {{}} AS c
    LEFT JOIN ends AS local ON local.identity_id = c.local_id
    LEFT JOIN ends AS remote ON remote.identity_id = c.remote_id
    %(joins)s
    WHERE c.provenance = '{Provenance.OBSERVED}' AND c.bytes > 0 AND %(where)s GROUP BY ALL
), numbers AS (SELECT DISTINCT no, place, owner FROM ends
), once AS (
    SELECT path, hour, dst_internet, src.place AS src_place, dst.place AS dst_place,
        CASE path WHEN '{Path.INTERNET_INGRESS}' THEN dst.owner ELSE src.owner END AS owner,
        sum(greatest(sent, received)) AS bytes
    FROM sides JOIN numbers AS src ON src.no = sides.src JOIN numbers AS dst ON dst.no = sides.dst
    GROUP BY ALL
), owners AS (SELECT DISTINCT owner, service_name AS service, owner_team AS team FROM ends
), places AS (
    SELECT DISTINCT place, cloud_availability_zone AS zone, cloud_region AS region FROM ends
)
SELECT %(asked)s, CAST(sum(bytes) AS DECIMAL(38,0)) AS bytes
FROM once JOIN owners USING (owner)
JOIN places AS src ON src.place = src_place JOIN places AS dst ON dst.place = dst_place
GROUP BY %(numbers)s
"""
# Who is behind what arrives from outside is the receiver; otherwise the sender.
_COLUMNS = {
    "path": "path",
    "hour": "hour",
    "service": "service",
    "team": "team",
    "src_zone": "src.zone",
    "src_region": "src.region",
    "dst_zone": "dst.zone",
    "dst_region": "dst.region",
    "dst_internet": "dst_internet",
}
# Always by the hour: the larger side of a day is less than that of its hours, and a sum must not
# change when its hours are rolled up.
_DETAIL = Detail(frozenset({"address", "hour"}))


class Sent(Struct, frozen=True, kw_only=True):
    """Bytes that were sent alike; what was not asked to be told apart is empty.

    `service` and `team` are the sender's, and the receiver's of what arrives from the internet.
    `dst_internet` says, where no path is proven, that the receiver is on the internet.
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
    sql = _ONCE % {
        "public": public,
        "asked": ", ".join(f"{_COLUMNS[name]} AS {name}" for name in by),
        "numbers": ", ".join(str(number + 1) for number in range(len(by))),
        "joins": keys.joins(where),
        "where": where,
    }
    once = Reduction(sql=sql, values=(*values, *bound), whole_days=True)
    names = ", ".join(by)
    with opened(ledger, selection, _DETAIL, once) as con:
        rows: list[Any] = con.execute(
            f"SELECT {names}, CAST(sum(bytes) AS DECIMAL(38,0)) FROM summed"
            f" GROUP BY {names} ORDER BY {names}"
        ).fetchall()
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
    return f"coalesce({known}, FALSE)", values
