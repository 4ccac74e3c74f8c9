"""Interfaces that act as NAT gateways and are in no inventory: a finding, never a booking.

Rows alone cannot prove a NAT gateway, and what they show depends on which files were read, so
nothing is booked by it (laws 2 and 7). An interface without an instance is like one if it takes
packets of others to a public address and sends some of its own, from one private address, to the
same. A transit gateway's interface has the first and never the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from flowcost.sources.code import FLOW, bits
from flowcost.sources.grouped import Context
from flowcost.sources.knowledge import ROLE, Role
from flowcost.sources.report import Tally

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_FIND = f"""
WITH strange AS (
    SELECT part, observer, src, dst, translated, context, rows, bytes, src_private, dst_private
    FROM sided WHERE role = {ROLE[Role.UNKNOWN]} AND managed AND valid AND {bits("kind")} = {FLOW}
),
likely AS (
    SELECT DISTINCT part, observer FROM strange a JOIN strange b USING (part, observer, dst)
    WHERE a.translated = 2 AND a.src_private AND NOT a.dst_private
        AND b.translated = 0 AND b.src_private AND a.src <> b.src
)
SELECT part, min(context), sum(rows)::BIGINT, sum(bytes)::HUGEINT
FROM strange JOIN likely USING (part, observer)
WHERE (translated = 2 AND src_private AND NOT dst_private)
    OR (translated = 1 AND dst_private AND NOT src_private)
GROUP BY part, observer ORDER BY ALL
"""


class NatLike(Struct, frozen=True):
    """An interface of one file, with its rows of clients' legs and their bytes."""

    part: int
    interface: str
    tally: Tally


def nat_like(con: DuckDBPyConnection, contexts: Sequence[Context]) -> list[NatLike]:
    """Return the interfaces in the view `sided` that act as NAT gateways."""
    return [
        NatLike(part, contexts[context].observer, Tally(rows, int(size)))
        for part, context, rows, size in con.execute(_FIND).fetchall()
    ]
