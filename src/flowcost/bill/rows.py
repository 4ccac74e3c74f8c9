"""The lines of a bill in numbers: `bill_rows` beside the words, and `bill_lines`, all of both.

Enters: sources, `bill_words`, `bill_keys`. Leaves: `bill_rows`, a few numbers per network line;
`bill_sums`, the same per set of words; the view `bill_lines` with the columns of
`schema.BILL_LINES`, which reads the files again for what the numbers do not hold. Quantities and
costs are whole printed digits (10**-10) as soon as they are read.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from flowcost.bill import dialects
from flowcost.bill.engine import unordered
from flowcost.bill.hours import hour_sql, number_sql
from flowcost.bill.rounding import DIGIT, bytes_sql, digits_sql, fractional_sql, misrounded_sql
from flowcost.bill.stage import Source
from flowcost.schema import BILL_LINES, DUCKDB_TYPES
from flowcost.usage_types import Per

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

WIDEST = 900_000_000  # units of which the printed digits still fit 64 bits
FRACTIONAL, MISROUNDED = 1, 2  # bits of `odd`


def gather(
    con: DuckDBPyConnection,
    sources: list[Source],
    hashes: list[str],
    sieves: list[str],
    month: date | None,
) -> None:
    """Create `bill_rows` and the views `bill_lines` and `bill_wide`."""
    kind = "HUGEINT" if any(_is_wide(con, source) for source in sources) else "BIGINT"
    selects = [
        _select(source, number, hashed, sieve, kind)
        for number, (source, hashed, sieve) in enumerate(zip(sources, hashes, sieves, strict=True))
    ]
    of_month = f"WHERE {month_sql('w', 'hour')} = DATE '{month}'" if month else ""
    with unordered(con):
        con.execute(
            "CREATE OR REPLACE TEMP TABLE bill_rows AS SELECT line, word, hour, quantity, cost,"
            " bytes, CASE WHEN bytes > 0 THEN first_cell + hour END AS cell, odd"
            f" FROM (SELECT *, {_odd()} AS odd FROM"
            f" (SELECT *, {bytes_sql('quantity', 'unit_bytes')} AS bytes"
            f" FROM ({' UNION ALL '.join(selects)}))) w {of_month}"
        )
    wide = " UNION ALL ".join(map(_wide, sources, sieves))
    con.execute(f"CREATE OR REPLACE TEMP VIEW bill_wide AS {wide}")
    con.execute(f"CREATE OR REPLACE TEMP VIEW bill_lines AS {_lines()}")


def add_up(con: DuckDBPyConnection) -> None:
    """Create `bill_sums` from `bill_rows`: lines, bytes, cost and what is odd per set of words."""
    [(first, last)] = con.execute("SELECT min(hour), max(hour) FROM bill_rows").fetchall()
    # Exact and cheap: one bit per hour, so that only words with two lines in one hour are suspect.
    hours = "0" if first is None else f"bit_count(bitstring_agg(hour, {first}, {last}))"
    con.execute(
        "CREATE OR REPLACE TEMP TABLE bill_sums AS SELECT word, count(*) AS lines,"
        f" count(hour) AS timed, {hours} AS hours, min(hour) AS first, max(hour) AS last,"
        " CAST(sum(bytes) AS HUGEINT) AS bytes, CAST(sum(cost) AS HUGEINT) AS cost,"
        f" count_if(odd & {FRACTIONAL} > 0) AS fractional,"
        f" count_if(odd & {MISROUNDED} > 0) AS misrounded FROM bill_rows GROUP BY word"
    )


def _select(source: Source, number: int, hashed: str, sieve: str, kind: str) -> str:
    instants = dialects.select(source.found)
    contracted = source.found["contracted_cost"]
    same = contracted == source.found["cost"]  # nearly always: no second number to decode
    inner = {
        "line": source.line,
        "h": hashed,
        "hour": f"CAST({number_sql(instants['period_start'])} AS INTEGER)",
        "quantity": _digits(source, "quantity", kind),
        "cost": _digits(source, "cost", kind),
    }
    if not same:
        inner["contracted"] = _digits(source, "contracted_cost", kind)
    chosen = ", ".join(f"{sql} AS {name}" for name, sql in inner.items())
    # What is not counted in bytes has no unit here, what is not priced no price; both are few.
    priced = "w.line_type = 'usage' AND w.grain = 'hour' AND w.provider = 'aws'"
    words = (
        "SELECT k.h, w.word, w.billing_month, w.parts, w.scale,"
        " CASE WHEN w.exact THEN w.first_cell END AS first_cell,"
        f" CASE WHEN w.counts = '{Per.BYTES}' THEN w.unit_bytes ELSE 0 END AS unit_bytes,"
        f" CASE WHEN {priced} THEN w.room ELSE -1 END AS room,"
        f" CASE WHEN {priced} THEN w.unit_price END AS unit_price"
        f" FROM bill_keys k JOIN bill_words w USING (word) WHERE k.source = {number}"
    )
    return (
        f"SELECT line, hour, coalesce(quantity, 0) AS quantity, coalesce(cost, 0) AS cost,"
        f" {'cost' if same else 'contracted'} AS contracted, words.*"
        f" FROM (SELECT {chosen} FROM {source.relation} WHERE {sieve}) l"
        f" JOIN ({words}) words USING (h)"
    )


def _digits(source: Source, name: str, kind: str) -> str:
    """Return SQL of a number in printed digits; null if there is none.

    A double is turned into whole digits at once: it is the nearest to what the provider printed.
    """
    found = source.found[name]
    if kind == "BIGINT" and name in source.digits:
        return source.digits[name]
    parts = []
    for sql, of in found:
        if kind == "BIGINT" and of in ("DOUBLE", "FLOAT"):
            parts.append(f"TRY_CAST(round({sql} * 1e10) AS BIGINT)")
        else:
            parts.append(f"CAST({digits_sql(f'TRY_CAST({sql} AS DECIMAL(38,10))')} AS {kind})")
    return f"coalesce({', '.join(parts)})" if parts else f"CAST(NULL AS {kind})"


def _is_wide(con: DuckDBPyConnection, source: Source) -> bool:
    """Say whether a number of the source may not fit 64 bits; of most files the footer knows."""
    names = ("quantity", "cost", "contracted_cost")
    columns = {
        sql: of for name in names if name not in source.digits for sql, of in source.found[name]
    }
    tests = [
        f"EXISTS (FROM {source.relation}"
        f" WHERE {digits} IS NULL AND {dialects.select(source.found)[name]} IS NOT NULL)"
        for name, digits in source.digits.items()
    ]
    for sql, of in columns.items():
        number = sql if of in ("DOUBLE", "FLOAT") else f"TRY_CAST({sql} AS DECIMAL(38,10))"
        edges = f"max({number}) >= {WIDEST} OR min({number}) <= -{WIDEST}"
        tests.append(f"coalesce({edges}, false)")
    source_of = f" FROM {source.relation}" if columns else ""
    [(wide,)] = con.execute(f"SELECT {' OR '.join(tests)}{source_of}").fetchall()
    return bool(wide)


def _odd() -> str:
    fractional = fractional_sql("quantity", "unit_bytes", "bytes")
    misrounded = misrounded_sql("contracted", "quantity", "unit_price")
    return (
        f"CAST(CASE WHEN {fractional} THEN {FRACTIONAL} ELSE 0 END"
        f" + CASE WHEN {misrounded} THEN {MISROUNDED} ELSE 0 END AS UTINYINT)"
    )


def month_sql(words: str, hour: str) -> str:
    """Return SQL of the month that is invoiced: as the bill says, or that of the line."""
    return f"coalesce({words}.billing_month, CAST(date_trunc('month', {hour_sql(hour)}) AS DATE))"


def _wide(source: Source, sieve: str) -> str:
    chosen = ", ".join(f"{sql} AS {name}" for name, sql in dialects.select(source.found).items())
    return (
        f"SELECT {source.line} AS line, {source.file} AS source, {chosen}"
        f" FROM {source.relation} WHERE {sieve}"
    )


def _lines() -> str:
    of_row = {
        "line": "r.line",
        "billing_month": month_sql("w", "r.hour"),
        "bytes": f"CASE WHEN w.counts = '{Per.BYTES}' THEN r.bytes END",
        "cost": f"CAST(r.cost AS HUGEINT) * {DIGIT}",
        **{name: f"x.{name}" for name in ("period_start", "period_end", "quantity", "list_price")},
        **{name: f"x.{name}" for name in ("sku", "rate_code", "source")},
        **{
            name: f"{digits_sql(f'x.{name}')} * {DIGIT}"
            for name in ("list_cost", "contracted_cost", "effective_cost")
        },
    }
    chosen = ", ".join(
        f"CAST({of_row.get(column.name, f'w.{column.name}')} AS {DUCKDB_TYPES[column.type]})"
        f" AS {column.name}"
        for column in BILL_LINES
    )
    return (
        f"SELECT {chosen} FROM bill_rows r JOIN bill_words w USING (word)"
        " JOIN bill_wide x USING (line)"
    )
