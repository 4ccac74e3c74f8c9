"""The bill is the judge: every billed line is attributed shares plus named residuals.

Enters: a bill and a ledger, which is only read. Leaves, in the engine: `line_shares`,
`cell_shares`, `unbilled` and what they were made from; `report` asks them. The law it keeps: per
line, shares plus residuals equal what the provider printed, to the last digit.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from flowcost.bill import short
from flowcost.bill.cells import gather
from flowcost.bill.fixed import AllocateFixed, allocate
from flowcost.bill.match import meet
from flowcost.bill.read import Bill
from flowcost.bill.residuals import name_rests, name_unbilled
from flowcost.bill.split import split_costs
from flowcost.errors import BillError
from flowcost.ledger import Ledger

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def reconcile(
    con: DuckDBPyConnection,
    bill: Bill,
    ledger: Ledger,
    *,
    tenant: str = "",
    allocate_fixed: AllocateFixed = AllocateFixed.NONE,
) -> None:
    """Match the bill that `read` left in `con` with the same months of a ledger.

    Raises:
        BillError: the ledger has not one hour of the bill's months.
    """
    start = _instant(bill.months[0])
    end = _instant(_next_month(bill.months[-1]))
    if not ledger.manifests(start, end, tenant=tenant):
        held = sorted({f"{found.hour[:7]}" for found in ledger.manifests(tenant=tenant)})
        months = ", ".join(f"{month:%Y-%m}" for month in bill.months)
        raise BillError(
            f"the bill is of {months}; {ledger.root} holds {', '.join(held) or 'nothing'}",
            hint="name the bill of a month the ledger has, or run the logs of that month",
        )
    ledger.attach(con, start, end, tenant=tenant)
    gather(con)
    short.gather(con)
    meet(con)
    allocate(con, allocate_fixed)
    name_rests(con)
    name_unbilled(con, final=bill.final)
    split_costs(con)


def _instant(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)
