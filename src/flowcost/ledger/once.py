"""Each transmission once, whether one end saw it or both: the SQL of it.

The ledger books both ends of what two sensors saw, as bills do. Between two workloads, in an hour
(a day, where hours were pruned), what was sent is what the senders saw or what the receivers saw,
whichever is more. Where sensors are on a part of both, that is the least it can have been.

Enters: attached partitions (`attach`), every cluster's of the hours that are asked for. Leaves:
rows of `KIND`, hour and bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowcost.address import SCOPE_STARTS, SCOPE_VALUES, Scope
from flowcost.ledger import condition, keys
from flowcost.ledger.ends import SENDER
from flowcost.ledger.filter import Expression
from flowcost.ledger.levels import Detail
from flowcost.model import EndKind, Path, Provenance

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# What tells transmissions apart, besides the hour; no field is ever null.
KIND = {
    "path": "VARCHAR",
    "service": "VARCHAR",
    "team": "VARCHAR",
    "src_zone": "VARCHAR",
    "src_region": "VARCHAR",
    "dst_zone": "VARCHAR",
    "dst_region": "VARCHAR",
    "dst_internet": "BOOLEAN",
}
# Always by the hour: the larger side of a day is less than that of its hours, and a sum must not
# change when its hours are rolled up.
DETAIL = Detail(frozenset({"address", "hour"}))

_OWNER = ("service_name", "owner_team")
_PLACE = ("cloud_availability_zone", "cloud_region")
_END = ("k8s_namespace_name", "k8s_workload_name", *_OWNER, *_PLACE)


def _names(fields: Sequence[str], sql: str = "{}") -> str:
    return ", ".join(sql.format(field) for field in fields)


# Ends, owners and places are numbered: millions of pairs are told apart by integers, and only what
# is left of them is given its words. Whoever has no name at all sorts first, and is number one.
_ENDS = f"""
CREATE OR REPLACE TEMP TABLE ends AS
SELECT identity_id, kind, {_names(_END)},
    dense_rank() OVER (ORDER BY {_names(_END)})::INTEGER AS number,
    dense_rank() OVER (ORDER BY {_names(_OWNER)})::INTEGER AS owner,
    dense_rank() OVER (ORDER BY {_names(_PLACE)})::INTEGER AS place
FROM (
    SELECT identity_id, kind, {_names(_END, "coalesce({0}, '') AS {0}")} FROM identities
    UNION ALL SELECT NULL, '', {_names(_END, "''")}
)
"""
_NOBODY = 1

# Who is behind what arrives from outside is the receiver; otherwise the sender.
_BEHIND = f"CASE path WHEN '{Path.INTERNET_INGRESS}' THEN receiver.owner ELSE sender.owner END"
_WORDS = f"""
SELECT path, service_name AS service, owner_team AS team,
    sender.cloud_availability_zone AS src_zone, sender.cloud_region AS src_region,
    receiver.cloud_availability_zone AS dst_zone, receiver.cloud_region AS dst_region,
    dst_internet, hour, bytes
FROM (
    SELECT path, hour, dst_internet, {_BEHIND} AS owner, sender.place AS src, receiver.place AS dst,
        sum(greatest(sent, received)) AS bytes
    FROM sides
    JOIN (SELECT DISTINCT number, owner, place FROM ends) AS sender ON sender.number = sides.src
    JOIN (SELECT DISTINCT number, owner, place FROM ends) AS receiver ON receiver.number = sides.dst
    GROUP BY ALL
)
JOIN (SELECT DISTINCT owner, {_names(_OWNER)} FROM ends) USING (owner)
JOIN (SELECT DISTINCT place, {_names(_PLACE)} FROM ends) AS sender ON sender.place = src
JOIN (SELECT DISTINCT place, {_names(_PLACE)} FROM ends) AS receiver ON receiver.place = dst
"""


def create(con: DuckDBPyConnection) -> None:
    """Create the empty table `once`: the columns of `KIND`, hour and bytes."""
    columns = ", ".join(f"{name} {type_}" for name, type_ in KIND.items())
    con.execute(f"CREATE OR REPLACE TEMP TABLE once ({columns}, hour TIMESTAMP, bytes HUGEINT)")


def insert(con: DuckDBPyConnection, hours: Sequence[str], within: Expression | None) -> None:
    """Add to `once` what was sent in these hours (ISO instants), of all that `within` lets see.

    The partitions with these hours are attached to `con`; they may hold others.
    """
    visible, values = condition.sql(within)
    where = f"c.hour IN (SELECT unnest(?::TIMESTAMP[])) AND {visible}"
    con.execute(_ENDS)
    con.execute(
        f"INSERT INTO once BY NAME WITH sides AS ({_sides(where)}) {_WORDS}", [hours, *values]
    )


def _sides(where: str) -> str:
    """Return a SELECT of what both sides saw in each hour.

    Where no path is proven, an end without identity may be on the internet by its address alone.
    """
    sender = f"CASE {SENDER} WHEN 'local' THEN local.number ELSE remote.number END"
    receiver = f"CASE {SENDER} WHEN 'local' THEN remote.number ELSE local.number END"
    return f"""
    SELECT coalesce(c.path, '') AS path, c.hour,
        coalesce({sender}, {_NOBODY}) AS src, coalesce({receiver}, {_NOBODY}) AS dst,
        CASE WHEN c.path = '{Path.UNKNOWN}' AND c.direction = 'transmit'
            THEN coalesce(remote.kind = '{EndKind.INTERNET}', FALSE) OR {_public()}
            ELSE FALSE END AS dst_internet,
        sum(CASE c.direction WHEN 'transmit' THEN c.bytes ELSE 0 END) AS sent,
        sum(CASE c.direction WHEN 'transmit' THEN 0 ELSE c.bytes END) AS received
    FROM charges AS c
    LEFT JOIN ends AS local ON local.identity_id = c.local_id
    LEFT JOIN ends AS remote ON remote.identity_id = c.remote_id
    {keys.joins(where)}
    WHERE c.provenance = '{Provenance.OBSERVED}' AND c.bytes > 0 AND {where}
    GROUP BY ALL
    """


def _public() -> str:
    """Return SQL that says whether the far address is public; without one it is not."""
    ends = [*SCOPE_STARTS[1:], b"\xff" * 16]
    blocks = " OR ".join(
        f"(c.remote_address >= unhex('{first.hex()}') AND c.remote_address < unhex('{last.hex()}'))"
        for first, last, scope in zip(SCOPE_STARTS, ends, SCOPE_VALUES, strict=True)
        if scope is Scope.PUBLIC
    )
    return f"coalesce({blocks}, FALSE)"
