"""Cost Explorer answers (`aws ce get-cost-and-usage` output) become rows like a bill's.

They hold no resource, and at most two dimensions; a bill of this kind is matched by month or day.
Quantities are sums of printed quantities, so their bytes may be off by a few.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pyarrow as pa

from flowcost import clock
from flowcost.bill.dialects import INSTANTS, NUMBERS, TEXTS
from flowcost.bill.rounding import printed
from flowcost.errors import BillError

_DIMENSIONS = {
    "USAGE_TYPE": "usage_type",
    "OPERATION": "operation",
    "LINKED_ACCOUNT": "account",
    "REGION": "region",
    "RECORD_TYPE": "line_type",
}
# metric of a group -> our column
_COSTS = ("UnblendedCost", "BlendedCost", "AmortizedCost", "NetUnblendedCost")


def read(path: Path) -> pa.Table:
    """Return the groups of one answer as rows with the columns of `dialects`.

    Raises:
        BillError: the file is no such answer, or is not grouped by usage type.
    """
    try:
        answer = json.loads(path.read_bytes(), parse_float=Decimal)
        keys = [str(entry["Key"]) for entry in answer["GroupDefinitions"]]
        periods = answer["ResultsByTime"]
    except (ValueError, KeyError, TypeError):
        raise BillError(
            f"{path}: not a Cost Explorer answer",
            hint="write it with `aws ce get-cost-and-usage`, as JSON",
        ) from None
    if "USAGE_TYPE" not in keys:
        raise BillError(
            f"{path}: grouped by {', '.join(keys) or 'nothing'}",
            hint="ask again with `--group-by Type=DIMENSION,Key=USAGE_TYPE`",
        )
    try:
        rows = [
            _row(keys, period, group) for period in periods for group in period.get("Groups", ())
        ]
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise BillError(f"{path}: malformed group ({error})") from None
    return pa.table(_columns(rows))


def _row(keys: list[str], period: dict[str, Any], group: dict[str, Any]) -> dict[str, Any]:
    start, end = (_instant(period["TimePeriod"][edge]) for edge in ("Start", "End"))
    metrics = group["Metrics"]
    usage = metrics.get("UsageQuantity", {})
    cost: dict[str, Any] = next((metrics[name] for name in _COSTS if name in metrics), {})
    row: dict[str, Any] = {
        "provider": "aws",
        "line_type": "Usage",
        "period_start": start,
        "period_end": end,
        "billing_start": datetime.combine(clock.month_of(start), datetime.min.time()),
        "unit": usage.get("Unit", ""),
        "currency": cost.get("Unit", "USD"),
        "quantity": _number(usage.get("Amount")),
        "cost": _number(cost.get("Amount")),
        # An estimate has no invoice yet.
        "invoice": "" if period.get("Estimated") else "final",
    }
    row["contracted_cost"] = row["effective_cost"] = row["cost"]
    for key, value in zip(keys, group["Keys"], strict=True):
        if key in _DIMENSIONS:
            row[_DIMENSIONS[key]] = value
    return row


def _instant(text: str) -> datetime:
    if len(text) == len("2026-11-20"):
        return datetime.combine(date.fromisoformat(text), datetime.min.time())
    return clock.parse(text).replace(tzinfo=None)


def _number(text: str | None) -> Decimal | None:
    return None if text is None else printed(Decimal(text))


def _columns(rows: list[dict[str, Any]]) -> dict[str, pa.Array]:
    columns = {}
    for name in TEXTS:
        columns[name] = pa.array([row.get(name, "") for row in rows], pa.string())
    for name in INSTANTS:
        columns[name] = pa.array([row.get(name) for row in rows], pa.timestamp("us"))
    for name in NUMBERS:
        columns[name] = pa.array([row.get(name) for row in rows], pa.decimal128(38, 10))
    columns["unreadable"] = pa.array([False] * len(rows), pa.bool_())
    return columns
