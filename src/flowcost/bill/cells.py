"""Both sides at the bill's own grain: account, hour, resource, usage type, operation.

Enters: the views `charges` and `identities`, `bill_rows`, `points`. Leaves: the view `cells`, what
was billed and what was booked in each cell, and the view `ledger_cells` of those that were booked.
Charges find their point by a hash of their words, which was checked to stand for one set each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcost.bill import apart
from flowcost.bill.engine import unique, unordered
from flowcost.bill.hours import HOUR_BITS, hour_of_sql, hour_sql, number_sql, point_of_sql
from flowcost.bill.resources import booked_resource_sql, resource_sql
from flowcost.errors import BillError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# What of a charge decides where it was metered, and who was watched. A charge without a resource
# is its local end's.
_WORDS = ("payer_account", "resource_id", "usage_type", "operation", "unit", "provenance")
_OWNER = "CASE WHEN resource_id = '' THEN local_id ELSE 0 END"
CHARGE_HASH = (
    f"hash({', '.join(f'c.{word}' for word in _WORDS)},"
    " CASE WHEN c.resource_id = '' THEN c.local_id ELSE 0 END)"
)  # of a charge `c`

_METERED = "unit = 'bytes' AND usage_type <> ''"
WORDS = f"""
CREATE OR REPLACE TEMP TABLE charge_words AS
SELECT *, hash({", ".join(_WORDS)}, owner) AS h,
       {booked_resource_sql("resource_id", "usage_type")} AS resource,
       {resource_sql("resource_id")} AS watched
FROM (SELECT {", ".join(_WORDS)}, {_OWNER} AS owner FROM charges GROUP BY ALL)
"""
POINTS = f"""
INSERT INTO points
SELECT row_number() OVER (ORDER BY account, resource, usage_type, operation)
       + (SELECT count(*) FROM points), *
FROM (
    SELECT DISTINCT payer_account AS account, resource, usage_type, operation
    FROM charge_words WHERE {_METERED}
    EXCEPT SELECT account, resource, usage_type, operation FROM points
);
CREATE OR REPLACE TEMP TABLE charge_keys AS
SELECT h, point, point << {HOUR_BITS} AS first_cell
FROM (SELECT * FROM charge_words WHERE {_METERED}) w JOIN points p
    ON p.account = w.payer_account AND p.resource = w.resource
    AND p.usage_type = w.usage_type AND p.operation = w.operation
"""
CHARGE_ROWS = f"""
CREATE OR REPLACE TEMP TABLE charge_rows AS
SELECT k.first_cell + {number_sql("c.hour")} AS cell, c.quantity AS bytes
FROM charges c JOIN charge_keys k ON k.h = {CHARGE_HASH}
"""
SUMS = f"""
CREATE OR REPLACE TEMP TABLE booked_sums AS
SELECT p.*, b.bytes FROM points p JOIN booked_points b USING (point) WHERE b.bytes > 0;
CREATE OR REPLACE TEMP VIEW billed_sums AS
SELECT p.*, s.lines, s.bytes, s.cost, s.last, w.counts, w.meter
FROM bill_sums s JOIN bill_words w USING (word) JOIN points p USING (point)
WHERE w.line_type = 'usage';
CREATE OR REPLACE TEMP VIEW billed_points AS
SELECT account, resource, {hour_sql("last")} AS last FROM billed_sums
"""
# A cell in words.
CELL = (
    f"cell, account, {hour_sql(hour_of_sql('cell'))} AS hour, resource, usage_type, operation,"
    " CAST(hour AS DATE) AS day, CAST(date_trunc('month', hour) AS DATE) AS month"
)
VIEWS = f"""
CREATE OR REPLACE TEMP VIEW ledger_cells AS
SELECT {CELL}, booked AS bytes
FROM cells JOIN points ON point = {point_of_sql("cell")}
WHERE booked > 0
"""


# Who was watched, by sensors and not by inference; the local end where no resource is named.
WATCHED = f"""
CREATE OR REPLACE TEMP TABLE watched_words AS
SELECT DISTINCT h, usage_type = '' AS pathless,
       CASE WHEN watched <> '' THEN payer_account
            ELSE coalesce(nullif(i.cloud_account_id, ''), payer_account) END AS account,
       CASE WHEN watched <> '' THEN watched
            ELSE {resource_sql("coalesce(i.cloud_resource_id, '')")} END AS resource
FROM charge_words w LEFT JOIN identities i ON i.identity_id = w.owner AND w.watched = ''
WHERE w.provenance = 'observed';

CREATE OR REPLACE TEMP TABLE watched_hours AS
SELECT DISTINCT hour FROM charges WHERE provenance = 'observed'
"""


def gather(con: DuckDBPyConnection) -> None:
    """Create `cells_apart`, `cells`, `ledger_cells`, `watched_words` and `watched_hours`.

    Raises:
        BillError: two sets of words of the ledger have one hash.
    """
    con.execute(WORDS)
    if not unique(con, "charge_words", "h"):
        raise BillError("two charges of this ledger have one hash", hint="report this")
    con.execute(POINTS)
    with unordered(con):
        con.execute(CHARGE_ROWS)
        apart.gather(con)
    con.execute("DROP TABLE charge_rows")
    con.execute(SUMS)
    con.execute(WATCHED)
    con.execute(VIEWS)
