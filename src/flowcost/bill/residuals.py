"""Why a billed byte has no owner: every rest of a line gets a name and a next step.

Enters: `open_lines` and `open_cells` (what meeting left), `billed`, `charge_words`. Leaves:
`line_residuals (line, reason, bytes)`, which covers every rest exactly, and the reasons of the
other side: cells that no line met.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from flowcost.bill.cells import CHARGE_HASH
from flowcost.bill.shares import split_sql

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# reason -> what to do next, in the order in which they are told apart.
LINE_REASONS = MappingProxyType(
    {
        "fixed_hours": "a charge per hour, not per byte; --allocate-fixed proportional_bytes"
        " shares it by the bytes of its resource",
        "capacity_units": "a load balancer's capacity units; they follow its busiest dimension",
        "other_unit": "a network line that is not counted in bytes",
        "taken_back": "usage that the provider takes back: see the lines it corrects",
        "unmodelled_meter": "a meter that Flowcost does not book; ask for it with the usage type",
        "hour_not_in_ledger": "run `flowcost run` for these hours",
        "account_not_watched": "no sensor in this account: add its flow logs or agents",
        "no_resource_id": "the line names no resource: export with resource ids, where it has one",
        "no_sensor": "no sensor saw this resource: switch on its flow log, or an agent on its node",
        "sensor_gap": "the resource is watched, but not in this hour: look for lost records",
        "unknown_path": "bytes were seen whose path could not be proven: see"
        " `flowcost explain --filter path=unknown`",
        "meter_not_booked": "the resource was seen, but nothing on this meter: check routes and"
        " zones in the inventory",
        "sensor_difference": "the sensor saw less than the meter: skipped records, or sampling",
    }
)
CELL_REASONS = MappingProxyType(
    {
        "bill_not_final": "the bill is an estimate and ends before; read it again later",
        "account_not_on_bill": "the bill does not cover this account",
        "resource_not_on_bill": "the bill has no line for this resource",
        "no_line": "the bill has no such line for this resource in this hour",
        "more_than_billed": "the sensors saw more than was billed: counted twice, or another meter",
    }
)
LAG_HOURS = 48  # AWS: a report may lag 24 to 48 hours behind use

# In which hours the resources of open lines were watched, with the bytes that found no path.
WATCHED = f"""
CREATE OR REPLACE TEMP TABLE watched AS
SELECT w.account, w.resource, c.hour,
       CAST(sum(CASE WHEN c.usage_type = '' AND c.list_cost IS NULL THEN c.quantity ELSE 0 END)
           AS BIGINT) AS unproven_bytes
FROM charges c
JOIN (SELECT * FROM watched_words SEMI JOIN open_lines USING (account, resource)) w
    ON w.h = {CHARGE_HASH}
GROUP BY ALL
"""

RESTS = """
CREATE OR REPLACE TEMP TABLE rests AS
SELECT b.*, w.hour IS NOT NULL AS watched_now, coalesce(w.unproven_bytes, 0) AS unproven_bytes
FROM open_lines b
LEFT JOIN watched w ON b.grain = 'hour' AND w.account = b.account AND w.hour = b.hour
    AND w.resource = b.resource
"""

# Unproven bytes of a resource explain its rests once, whatever the number of its lines.
UNPROVEN = """
SELECT p.pool, r.line AS row, least(p.rest, p.unproven_bytes) AS total, r.rest AS weight,
       p.rest AS scale, p.rows
FROM rests r
JOIN (
    SELECT row_number() OVER (ORDER BY account, hour, resource) AS pool, account, hour, resource,
           sum(rest) AS rest, any_value(unproven_bytes) AS unproven_bytes, count(*) AS rows
    FROM rests WHERE unproven_bytes > 0 GROUP BY account, hour, resource
) p USING (account, hour, resource)
WHERE r.unproven_bytes > 0
"""

NAMED = """
INSERT INTO line_residuals
SELECT r.line,
    CASE WHEN r.meter = '' THEN 'unmodelled_meter'
         WHEN r.grain = 'hour' AND h.hour IS NULL THEN 'hour_not_in_ledger'
         WHEN r.account <> '' AND a.account IS NULL THEN 'account_not_watched'
         WHEN m.line IS NOT NULL THEN 'sensor_difference'
         WHEN r.resource = '' THEN 'no_resource_id'
         WHEN s.resource IS NULL THEN 'no_sensor'
         WHEN r.grain = 'hour' AND NOT r.watched_now THEN 'sensor_gap'
         ELSE 'meter_not_booked' END AS reason,
    r.rest - coalesce(u.bytes, 0) AS bytes
FROM rests r
LEFT JOIN watched_hours h ON h.hour = r.hour
LEFT JOIN (SELECT DISTINCT account FROM watched_words) a ON a.account = r.account
LEFT JOIN (SELECT DISTINCT account, resource FROM watched_words) s
    ON s.account = r.account AND s.resource = r.resource
LEFT JOIN (SELECT DISTINCT line FROM open_line_parts) m ON m.line = r.line
LEFT JOIN unproven u ON u.line = r.line
WHERE r.rest > coalesce(u.bytes, 0)
"""

# Where nothing was moved there is nothing to meet; what a line takes back is nobody's either.
NOT_BYTES = """
INSERT INTO line_residuals
SELECT line, CASE WHEN bytes < 0 THEN 'taken_back'
                  WHEN counts IN ('hours', 'gbps_hours') THEN 'fixed_hours'
                  WHEN counts = 'lcu_hours' THEN 'capacity_units' ELSE 'other_unit' END, bytes
FROM billed WHERE (bytes < 0 OR (bytes = 0 AND cost <> 0))
    AND line NOT IN (SELECT line FROM open_line_parts)
"""


def name_rests(con: DuckDBPyConnection) -> None:
    """Create `line_residuals` from what meeting left of each line."""
    con.execute(
        "CREATE OR REPLACE TEMP TABLE line_residuals (line BIGINT, reason VARCHAR, bytes BIGINT)"
    )
    con.execute(WATCHED)
    con.execute(RESTS)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE unproven AS SELECT row AS line,"
        f" CAST(part AS BIGINT) AS bytes FROM ({split_sql(UNPROVEN)}) WHERE part > 0"
    )
    con.execute("INSERT INTO line_residuals SELECT line, 'unknown_path', bytes FROM unproven")
    con.execute(NAMED)
    con.execute(NOT_BYTES)
    con.execute("DROP TABLE rests; DROP TABLE unproven; DROP TABLE watched")


def name_unbilled(con: DuckDBPyConnection, *, final: bool) -> None:
    """Create `unbilled (cell, reason, bytes)`: what was booked and no line met."""
    late = "false" if final else f"c.hour > e.last - INTERVAL {LAG_HOURS} HOUR"
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE unbilled AS
        SELECT c.cell,
            CASE WHEN {late} THEN 'bill_not_final'
                 WHEN a.account IS NULL AND NOT e.anonymous THEN 'account_not_on_bill'
                 WHEN m.cell IS NOT NULL THEN 'more_than_billed'
                 WHEN s.resource IS NULL AND e.named THEN 'resource_not_on_bill'
                 ELSE 'no_line' END AS reason,
            c.rest AS bytes
        FROM open_cells c
        CROSS JOIN (SELECT max(last) AS last, bool_and(account = '') AS anonymous,
                           bool_or(resource <> '') AS named FROM billed_points) e
        LEFT JOIN (SELECT DISTINCT account FROM billed_points) a ON a.account = c.account
        LEFT JOIN (SELECT DISTINCT account, resource FROM billed_points) s
            ON s.account = c.account AND s.resource = c.resource
        LEFT JOIN (SELECT DISTINCT cell FROM cell_parts SEMI JOIN open_cells USING (cell)) m
            ON m.cell = c.cell
        """
    )
