"""What a bill is and what is wrong with it: payer, months, currency, repeated and odd lines.

Enters: `bill_raw` and `bill_lines`. Trouble that would make figures meaningless (two payers, two
currencies, the wrong month) is an error; all else is a finding, counted and sampled.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from msgspec import Struct

from flowcost.bill.rounding import DIGIT, cost_sql, digits_sql
from flowcost.errors import BillError
from flowcost.model import Finding
from flowcost.money import PRICE_SCALE

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# A whole line of a CUR repeats if all of this does; lines without an id are never called so.
_IDENTITY = (
    "line_key, line_interval, period_start, account, resource_id, usage_type, operation,"
    " line_type, quantity, cost, rate_code"
)

# finding -> (severity, condition on a usage line, hint)
_CHECKS = {
    "bill-unknown-meter": (
        "info",
        "meter = ''",
        "Flowcost books no such meter; the lines stay residuals",
    ),
    "bill-fractional-bytes": (
        "warning",
        (
            "counts = 'bytes' AND grain = 'hour' AND"
            f" abs({digits_sql('quantity')} * unit_bytes - CAST(bytes AS HUGEINT) * {PRICE_SCALE})"
            # a printed quantity is off by half a digit at most
            " > unit_bytes // 2 + 1"
        ),
        "the quantity is no whole number of bytes: another unit, or a line made by hand",
    ),
    "bill-rounding": (
        "warning",
        (
            "provider = 'aws' AND grain = 'hour' AND unit_price IS NOT NULL"
            " AND contracted_cost IS NOT NULL AND"
            f" CAST(contracted_cost AS HUGEINT) // {DIGIT} <> {cost_sql('quantity', 'unit_price')}"
        ),
        "cost is not quantity times price at ten places: amortised, or a blended price",
    ),
    "bill-outside-month": (
        "warning",
        "date_trunc('month', period_start) <> billing_month",
        "usage of another month than the one invoiced; it is matched where it was used",
    ),
}


class Found(Struct, frozen=True, kw_only=True):
    """What `bill_lines` holds."""

    payer: str
    months: tuple[date, ...]
    currency: str
    lines: int
    final: bool
    findings: tuple[Finding, ...]


def without_repeats(con: DuckDBPyConnection) -> tuple[str, list[Finding]]:
    """Return a relation of `bill_raw` with every identified line once, and what was left out."""
    keyed = "FROM bill_raw WHERE line_key <> ''"
    [(total, distinct)] = con.execute(
        f"SELECT count(*), count(DISTINCT hash({_IDENTITY})) {keyed}"
    ).fetchall()
    if total == distinct:
        return "bill_raw", []
    once = (
        f"(SELECT * EXCLUDE (place) FROM (SELECT DISTINCT ON ({_IDENTITY}) * FROM"
        f" (SELECT *, row_number() OVER () AS place {keyed}) ORDER BY place)"
        " UNION ALL SELECT * FROM bill_raw WHERE line_key = '')"
    )
    sample = con.execute(
        f"SELECT line_key, source {keyed} GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL LIMIT 1"
    ).fetchall()
    finding = Finding(
        code="bill-repeated-lines",
        severity="warning",
        subject=sample[0][1] if sample else "bill",
        count=total - distinct,
        sample=sample[0][0] if sample else "",
        hint="each line was counted once; two deliveries of one month may be mixed",
    )
    return once, [finding]


def inspect(con: DuckDBPyConnection, wanted: date | None) -> Found:
    """Return what `bill_lines` holds.

    Raises:
        BillError: no network lines, several payers or currencies, or lines without a time.
    """
    [(lines, final, timeless)] = con.execute(
        "SELECT count(*), coalesce(bool_and(invoice <> ''), false),"
        " count(*) FILTER (period_start IS NULL) FROM bill_lines"
    ).fetchall()
    if not lines:
        raise _nothing(con, wanted)
    if timeless:
        raise BillError(
            f"{timeless} lines have no readable start of their charge period",
            hint="times must be ISO 8601, as the provider writes them",
        )
    payers = _distinct(con, "payer_account")
    if len(payers) > 1:
        raise BillError(
            f"the bill has {len(payers)} payers: {', '.join(payers[:5])}",
            hint="reconcile them one by one: name one with --payer",
        )
    currencies = _distinct(con, "currency")
    if len(currencies) > 1:
        raise BillError(
            f"the bill mixes currencies: {', '.join(currencies)}",
            hint="reconcile the files of one currency",
        )
    currency = currencies[0] if currencies else "USD"
    months = con.execute("SELECT DISTINCT billing_month FROM bill_lines ORDER BY 1").fetchall()
    return Found(
        payer=payers[0] if payers else "",
        months=tuple(row[0] for row in months),
        currency=currency,
        lines=lines,
        final=final,
        findings=tuple(_findings(con, currency)),
    )


def _nothing(con: DuckDBPyConnection, wanted: date | None) -> BillError:
    rows = con.execute(
        "SELECT DISTINCT CAST(date_trunc('month', coalesce(billing_start, period_start)) AS DATE)"
        " FROM bill_raw ORDER BY 1"
    ).fetchall()
    held = ", ".join(f"{row[0]:%Y-%m}" for row in rows if row[0])
    if wanted and held:
        return BillError(
            f"the bill has no network lines of {wanted:%Y-%m}; it holds {held}",
            hint="name the bill of the month, or another --month",
        )
    return BillError(
        "the bill has no network lines", hint="check that it is the detailed report, not a summary"
    )


def _distinct(con: DuckDBPyConnection, column: str) -> list[str]:
    rows = con.execute(
        f"SELECT DISTINCT {column} FROM bill_lines WHERE {column} <> '' ORDER BY 1"
    ).fetchall()
    return [row[0] for row in rows]


def _findings(con: DuckDBPyConnection, currency: str) -> list[Finding]:
    found = []
    usage = "FROM bill_lines WHERE line_type = 'usage'"
    counts = ", ".join(f"count(*) FILTER ({condition})" for _, condition, _ in _CHECKS.values())
    [row] = con.execute(f"SELECT {counts} {usage}").fetchall()
    for (code, (severity, condition, hint)), count in zip(_CHECKS.items(), row, strict=True):
        if count:
            [(sample,)] = con.execute(
                f"SELECT min(usage_type || ' line ' || line) {usage} AND ({condition})"
            ).fetchall()
            found.append(
                Finding(
                    code=code,
                    severity=severity,
                    subject="bill",
                    count=count,
                    sample=sample,
                    hint=hint,
                )
            )
    [(unreadable, source)] = con.execute(
        "SELECT count(*), min(source) FROM bill_raw WHERE unreadable"
    ).fetchall()
    if unreadable:
        found.append(
            Finding(
                code="bill-unreadable-number",
                severity="error",
                subject=source,
                count=unreadable,
                hint="quantity or cost is not a number; the lines count as nothing",
            )
        )
    if currency != "USD":
        found.append(
            Finding(
                code="bill-currency",
                severity="info",
                subject="bill",
                sample=currency,
                hint=f"costs are in {currency}; list costs of the ledger are in US dollars",
            )
        )
    return found
