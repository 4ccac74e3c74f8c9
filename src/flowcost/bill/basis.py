"""The bill's own money on the ledger's rows: `costs --basis billed`.

Enters: a reconciled bill. Leaves: charges with the ledger's columns in which the cost of a row is
its share of the billed lines; what the bill did not meet has none, and every residual is a row of
its own without an owner. So any view of the ledger shows the bill, and adds up to it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flowcost.bill.cells import CHARGE_HASH
from flowcost.bill.engine import engine
from flowcost.bill.fixed import AllocateFixed
from flowcost.bill.hours import number_sql
from flowcost.bill.read import Bill, read
from flowcost.bill.reconcile import reconcile
from flowcost.bill.rounding import DIGIT
from flowcost.bill.shares import split_sql
from flowcost.ledger import Ledger
from flowcost.ledger.levels import FINEST, Detail
from flowcost.ledger.remembered import Kept, Reduction
from flowcost.schema import CHARGES, DUCKDB_TYPES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

OBSERVER = "bill"  # observer_type of rows that only the bill saw

# Rows are numbered by content: the last digit of a split must not depend on threads.
NUMBERED = f"""
CREATE OR REPLACE TEMP TABLE charge_cells AS
SELECT row_number() OVER (ORDER BY hash(c)) AS row, c.*,
       k.first_cell + {number_sql("c.hour")} AS cell
FROM charges c LEFT JOIN charge_keys k ON k.h = {CHARGE_HASH}
"""

SHARED = f"""
CREATE OR REPLACE TEMP TABLE charge_shares AS
WITH paid AS (
    SELECT cell, sum(cost) AS cost, sum(bytes) AS bytes FROM cell_shares GROUP BY cell
),
sums AS (SELECT cell, sum(quantity) AS scale, count(*) AS rows FROM charge_cells
         WHERE cell IS NOT NULL GROUP BY cell),
costs AS (
    {
    split_sql(
        "SELECT cell AS pool, row, abs(p.cost) AS total, quantity AS weight, scale, rows"
        " FROM charge_cells JOIN sums USING (cell) JOIN paid p USING (cell)"
    )
}
)
SELECT c.row, c.part * sign(p.cost) AS cost
FROM costs c JOIN paid p ON p.cell = c.pool
"""


def _billed_charges() -> str:
    met = {
        "list_cost": "CASE WHEN c.cell IS NOT NULL"
        f" THEN CAST(s.cost * {DIGIT} AS DECIMAL(38,0)) ELSE c.list_cost END",
        "rate_id": "CAST(NULL AS BIGINT)",
    }
    # Where the resource's owner is all that is known, the row has no identity: unattributed.
    rest = {
        "hour": "b.period_start",
        "provider": "b.provider",
        "payer_account": "b.account",
        "region": "b.region",
        "usage_type": "b.metered_as",
        "operation": "b.operation",
        "resource_id": "b.resource_id",
        "path": "'unknown'",
        "provenance": "'implied'",
        "confidence": "'measured'",
        "initiator": "'unknown'",
        "quantity": "CASE WHEN b.counts = 'bytes' THEN r.bytes ELSE round(b.quantity) END",
        "unit": "CASE WHEN b.counts = 'bytes' THEN 'bytes' ELSE b.counts END",
        "list_cost": f"r.cost * {DIGIT}",
        "rate_id": "NULL",
        "local_address": "NULL",
        "remote_address": "NULL",
        "observer_type": f"'{OBSERVER}'",
        "source": "'bill: ' || r.reason",
    }
    numbers = ("int", "small", "exact")
    first = ", ".join(f"{met.get(c.name, f'c.{c.name}')} AS {c.name}" for c in CHARGES)
    second = ", ".join(
        f"CAST({rest.get(c.name, '0' if c.type in numbers else repr(''))}"
        f" AS {DUCKDB_TYPES[c.type]}) AS {c.name}"
        for c in CHARGES
    )
    return (
        f"SELECT {first} FROM charge_cells c LEFT JOIN charge_shares s USING (row)"
        f" UNION ALL SELECT {second} FROM line_shares r JOIN bill_lines b USING (line)"
        " WHERE r.reason <> ''"
    )


def write_billed(con: DuckDBPyConnection, path: Path) -> None:
    """Write the reconciled charges to a Parquet file with the columns of `schema.CHARGES`."""
    con.execute(NUMBERED)
    con.execute(SHARED)
    con.execute(f"COPY ({_billed_charges()}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")


class BilledLedger(Ledger):
    """A ledger whose charges carry billed costs; it can be read, not written."""

    def __init__(self, root: Path, charges: Path) -> None:
        super().__init__(root)
        self.charges = charges

    def attach(
        self,
        con: DuckDBPyConnection,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        tenant: str = "",
        detail: Detail = FINEST,  # noqa: ARG002 - billed charges are as fine as the ledger's hours
        summed: Reduction | None = None,
    ) -> list[Kept]:
        """Create the views of a ledger, `charges` being the billed ones."""
        kept = super().attach(con, start, end, tenant=tenant)
        within = "".join(
            f" AND hour {operator} TIMESTAMP '{edge.replace(tzinfo=None)}'"
            for operator, edge in ((">=", start), ("<", end))
            if edge is not None
        )
        con.execute(
            "CREATE OR REPLACE TEMP VIEW charges AS SELECT * FROM"
            f" read_parquet('{self.charges}', hive_partitioning = false) WHERE true{within}"
        )
        if summed:
            sql = summed.sql.format("charges")
            con.execute(f"CREATE OR REPLACE TEMP TABLE summed AS {sql}")
        return kept


@contextmanager
def billed(
    ledger: Ledger,
    bills: Sequence[Path],
    *,
    payer: str = "",
    month: date | None = None,
    tenant: str = "",
    allocate_fixed: AllocateFixed = AllocateFixed.NONE,
) -> Iterator[tuple[BilledLedger, Bill]]:
    """Open a ledger as the bill sees it; only the bill's months have charges.

    Raises:
        BillError: the bill cannot be read, or the ledger has none of its months.
    """
    with tempfile.TemporaryDirectory(prefix="flowcost-billed-") as folder:
        path = Path(folder, "charges.parquet")
        with engine() as con:
            bill = read(con, bills, payer=payer, month=month)
            reconcile(con, bill, ledger, tenant=tenant, allocate_fixed=allocate_fixed)
            write_billed(con, path)
        yield BilledLedger(ledger.root, path), bill
