"""Hourly charges over bytes, only when asked for: `proportional_bytes`.

A gateway's hours are nobody's bytes. By default they stay a residual of their own; with this they
are shared over the bytes that the same resource processed in the same month, and say so: their
pools have the level `allocated by bytes`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LEVEL = "allocated by bytes"


class AllocateFixed(StrEnum):
    """What happens to charges per hour."""

    NONE = "none"
    PROPORTIONAL_BYTES = "proportional_bytes"


# A gateway's own byte meter (NatGateway-Hours -> NatGateway-Bytes) where the resource has one:
# other meters count the same bytes again. Else every meter of the resource.
ALLOCATE = f"""
CREATE OR REPLACE TEMP TABLE fixed_pools AS
WITH hours AS (
    SELECT DISTINCT account, month, resource, replace(usage_type, '-Hours', '-Bytes') AS partner
    FROM billed WHERE counts <> 'bytes' AND resource <> '' AND cost > 0
),
found AS (
    SELECT h.*, bool_or(c.usage_type = h.partner) AS own
    FROM hours h JOIN ledger_cells c USING (account, month, resource) GROUP BY ALL
)
SELECT -row_number() OVER (ORDER BY account, month, resource, partner)
       - (SELECT count(*) FROM open_pools) AS pool, * FROM found;

INSERT INTO open_pools SELECT pool, '{LEVEL}' FROM fixed_pools;

INSERT INTO open_line_parts
SELECT b.line, p.pool, 0
FROM billed b JOIN fixed_pools p ON p.account = b.account AND p.month = b.month
    AND p.resource = b.resource AND p.partner = replace(b.usage_type, '-Hours', '-Bytes')
WHERE b.counts <> 'bytes' AND b.cost > 0;

INSERT INTO fixed_weights
SELECT c.cell, p.pool, c.bytes
FROM ledger_cells c JOIN fixed_pools p USING (account, month, resource)
WHERE NOT p.own OR c.usage_type = p.partner
"""


def allocate(con: DuckDBPyConnection, how: AllocateFixed) -> None:
    """Put hourly lines into pools with the cells of their resource, if asked to."""
    con.execute(
        "CREATE OR REPLACE TEMP TABLE fixed_weights (cell BIGINT, pool BIGINT, weight BIGINT)"
    )
    if how is AllocateFixed.PROPORTIONAL_BYTES:
        con.execute(ALLOCATE)
