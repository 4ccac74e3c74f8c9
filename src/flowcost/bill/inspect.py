"""What a bill is and what is wrong with it: payer, months, currency, repeated and odd lines.

Enters: `bill_rows` and `bill_words`. Leaves: `bill_sums`, what they add up to per set of words.
Trouble that would make figures meaningless (two payers, two currencies, the wrong month) is an
error; all else is a finding, counted and sampled.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from msgspec import Struct

from flowcost.bill.hours import hour_sql
from flowcost.bill.rows import FRACTIONAL, MISROUNDED, add_up, month_sql
from flowcost.errors import BillError
from flowcost.model import Finding

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# finding -> (severity, count over `bill_sums` s and `bill_words` w, a line of it, hint)
_CHECKS = {
    "bill-unknown-meter": (
        "info",
        "sum(s.lines) FILTER (w.meter = '')",
        "w.meter = ''",
        "Flowcost books no such meter; the lines stay residuals",
    ),
    "bill-fractional-bytes": (
        "warning",
        "sum(s.fractional) FILTER (w.grain = 'hour')",
        f"odd & {FRACTIONAL} > 0 AND w.grain = 'hour'",
        "the quantity is no whole number of bytes: another unit, or a line made by hand",
    ),
    "bill-rounding": (
        "warning",
        "sum(s.misrounded)",
        f"odd & {MISROUNDED} > 0",
        "cost is not quantity times price at ten places: amortised, or a blended price",
    ),
}


_SAID = "FROM bill_sums s JOIN bill_words w USING (word)"


class Found(Struct, frozen=True, kw_only=True):
    """What `bill_lines` holds."""

    payer: str
    months: tuple[date, ...]
    currency: str
    lines: int
    final: bool
    findings: tuple[Finding, ...]


def drop_repeats(con: DuckDBPyConnection) -> list[Finding]:
    """Create `bill_sums`, and keep every identified line once; return what was left out.

    Lines are the same if all they say is the same and they carry the same id; lines without an
    id never are.
    """
    add_up(con)
    [(suspect,)] = con.execute("SELECT count(*) FROM bill_sums WHERE timed > hours").fetchall()
    if not suspect:
        return []
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE bill_repeats AS
        WITH alike AS (
            SELECT word, hour, quantity, cost, list(line) AS lines
            FROM bill_rows WHERE word IN (SELECT word FROM bill_sums WHERE timed > hours)
            GROUP BY ALL HAVING count(*) > 1
        ),
        numbered AS (SELECT row_number() OVER () AS place, lines FROM alike)
        SELECT x.line, x.line_key, x.source,
               row_number() OVER (
                   PARTITION BY place, line_key, line_interval, period_start, rate_code
                   ORDER BY line
               ) AS copy
        FROM (SELECT place, unnest(lines) AS line FROM numbered) JOIN bill_wide x USING (line)
        WHERE line_key <> ''
        """
    )
    extra = con.execute(
        "SELECT count(*), arg_min(source, line_key), min(line_key) FROM bill_repeats WHERE copy > 1"
    ).fetchall()
    [(count, source, key)] = extra
    if count:
        con.execute(
            "DELETE FROM bill_rows WHERE line IN (SELECT line FROM bill_repeats WHERE copy > 1)"
        )
        add_up(con)
    con.execute("DROP TABLE bill_repeats")
    if not count:
        return []
    return [
        Finding(
            code="bill-repeated-lines",
            severity="warning",
            subject=source,
            count=count,
            sample=key,
            hint="each line was counted once; two deliveries of one month may be mixed",
        )
    ]


def inspect(con: DuckDBPyConnection, wanted: date | None) -> Found:
    """Return what `bill_lines` holds.

    Raises:
        BillError: no network lines, several payers or currencies, or lines without a time.
    """
    [(lines, final, timeless)] = con.execute(
        "SELECT coalesce(sum(lines), 0), coalesce(bool_and(invoice <> ''), false),"
        f" coalesce(sum(lines - timed), 0) {_SAID}"
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
    months = con.execute(
        f"SELECT DISTINCT {month_sql('w', 'r.hour')} FROM ("
        "SELECT DISTINCT word, hour FROM bill_rows JOIN bill_words USING (word)"
        " WHERE billing_month IS NULL UNION ALL SELECT word, first FROM bill_sums) r"
        " JOIN bill_words w USING (word) ORDER BY 1"
    ).fetchall()
    return Found(
        payer=payers[0] if payers else "",
        months=tuple(row[0] for row in months),
        currency=currency,
        lines=int(lines),
        final=final,
        findings=tuple(_findings(con, currency)),
    )


def _nothing(con: DuckDBPyConnection, wanted: date | None) -> BillError:
    rows = con.execute(
        "SELECT DISTINCT CAST(date_trunc('month', coalesce(billing_start, period_start)) AS DATE)"
        " FROM bill_wide ORDER BY 1"
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
        f"SELECT DISTINCT {column} {_SAID} WHERE {column} <> '' ORDER BY 1"
    ).fetchall()
    return [row[0] for row in rows]


def _findings(con: DuckDBPyConnection, currency: str) -> list[Finding]:
    found = []
    counts = ", ".join(count for _, count, _, _ in _CHECKS.values())
    [row] = con.execute(f"SELECT {counts} {_SAID} WHERE line_type = 'usage'").fetchall()
    for (code, (severity, _, where, hint)), count in zip(_CHECKS.items(), row, strict=True):
        if count:
            found.append(
                Finding(
                    code=code,
                    severity=severity,
                    subject="bill",
                    count=int(count),
                    sample=_sample(con, where),
                    hint=hint,
                )
            )
    found += _outside(con)
    unreadable = con.execute(
        f"SELECT sum(lines) {_SAID} WHERE unreadable HAVING sum(lines) > 0"
    ).fetchall()
    for (count,) in unreadable:
        [(source,)] = con.execute(
            "SELECT min(x.source) FROM bill_rows JOIN bill_words w USING (word)"
            " JOIN bill_wide x USING (line) WHERE w.unreadable"
        ).fetchall()
        found.append(
            Finding(
                code="bill-unreadable-number",
                severity="error",
                subject=source,
                count=int(count),
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


def _outside(con: DuckDBPyConnection) -> list[Finding]:
    """Say which usage is of another month than the one invoiced."""
    where = (
        "w.billing_month IS NOT NULL AND date_trunc('month', {}) <> w.billing_month"
        " AND w.line_type = 'usage'"
    )
    edges = " OR ".join(f"({where.format(hour_sql(edge))})" for edge in ("s.first", "s.last"))
    [(suspect,)] = con.execute(f"SELECT count(*) {_SAID} WHERE {edges}").fetchall()
    if not suspect:
        return []
    outside = where.format(hour_sql("r.hour"))
    [(count,)] = con.execute(
        f"SELECT count(*) FROM bill_rows r JOIN bill_words w USING (word) WHERE {outside}"
    ).fetchall()
    return [
        Finding(
            code="bill-outside-month",
            severity="warning",
            subject="bill",
            count=count,
            sample=_sample(con, outside),
            hint="usage of another month than the one invoiced; it is matched where it was used",
        )
    ]


def _sample(con: DuckDBPyConnection, where: str) -> str:
    """Return one of the lines that a condition on a row and its words holds for."""
    [(sample,)] = con.execute(
        "SELECT min(w.usage_type || ' line ' || r.line) FROM bill_rows r"
        f" JOIN bill_words w USING (word) WHERE w.line_type = 'usage' AND ({where})"
    ).fetchall()
    return str(sample)
