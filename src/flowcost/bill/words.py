"""The distinct words of a bill: what its lines say besides when, how much and which.

Enters: sources. Leaves: `bill_words`, one row per distinct set of words with what was decided over
them, and `bill_keys`, which finds a line's words by a hash of its raw columns. Millions of lines
have some ten thousand sets of words, so text is compared and named once per set, in plain Python.
A hash stands for a set only after it was checked that no two sets share it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from flowcost import usage_types
from flowcost.bill import dialects, naming
from flowcost.bill.dialects import TEXTS, Found
from flowcost.bill.engine import unique
from flowcost.bill.hours import HOUR_BITS
from flowcost.bill.resources import resource_sql
from flowcost.bill.rounding import fraction_sql
from flowcost.bill.stage import Source, quoted
from flowcost.errors import BillError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# CUR line item types and FOCUS charge categories -> ours. Taxes, credits and discounts are set
# apart: only usage is reconciled.
LINE_TYPES = {
    "usage": ("Usage", "DiscountedUsage", "SavingsPlanCoveredUsage"),
    "credit": ("Credit",),
    "refund": ("Refund", "Adjustment"),
    "tax": ("Tax",),
    "discount": (
        "EdpDiscount",
        "BundledDiscount",
        "PrivateRateDiscount",
        "SppDiscount",
        "Discount",
        "SavingsPlanNegation",
    ),
    "fee": ("Fee", "RIFee", "SavingsPlanRecurringFee", "SavingsPlanUpfrontFee", "Purchase"),
}
_NAMED = tuple(field.name for field in msgspec.structs.fields(naming.Words))
# Columns that differ from line to line, or that no decision needs.
_NOT_WORDS = ("sku", "rate_code", "line_key", "line_interval")
_WORDS = (*(name for name in TEXTS if name not in _NOT_WORDS), "billing_start", "unit_price")
_SALTS = 4  # a second hash of a bill that needs a third one has not been seen
_HOUR = 3600


def gather(
    con: DuckDBPyConnection, sources: list[Source], sieves: list[str], payer: str
) -> list[str]:
    """Create `bill_words` and `bill_keys`; return each source's SQL of a line's hash.

    Lines that are no network lines, or another payer's, have no words there.
    """
    hashes = []
    selects = []
    for number, (source, sieve) in enumerate(zip(sources, sieves, strict=True)):
        found = _distinct(con, source, number, sieve)
        hashes.append(found[0])
        selects.append(found[1])
    con.execute(f"CREATE OR REPLACE TEMP TABLE bill_said AS {' UNION ALL '.join(selects)}")
    _name(con)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE bill_prices AS"
        f" SELECT unit_price, {fraction_sql('unit_price')}"
        " FROM (SELECT DISTINCT unit_price FROM bill_said)"
    )
    joined = " AND ".join(f"s.{key} = n.key_{key}" for key in _NAMED)
    of_payer = f"s.payer_account IN ('', {quoted(payer)})" if payer else "true"
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE bill_kept AS SELECT {_decided()}"
        f" FROM bill_said s JOIN bill_names n ON {joined}"
        " JOIN bill_prices p ON s.unit_price IS NOT DISTINCT FROM p.unit_price"
        f" WHERE {of_payer}"
    )
    con.execute(POINTS)
    con.execute(NUMBERED)
    con.execute("DROP TABLE bill_kept; DROP TABLE bill_prices")
    return hashes


def _distinct(con: DuckDBPyConnection, source: Source, number: int, sieve: str) -> tuple[str, str]:
    """Create `bill_said_N`; return SQL of a line's hash, and a SELECT of its normal form."""
    raw, chosen = _raw(source)
    aliased = ", ".join(f"{sql} AS {alias}" for alias, sql in raw.items())
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE bill_said_{number} AS"
        f" SELECT {aliased} FROM {source.relation} WHERE {sieve} GROUP BY ALL"
    )
    for salt in range(_SALTS):
        # First: after the columns it would leave two equal hashes equal.
        also = f"{salt}, " if salt else ""
        hashed = f"hash({also}{', '.join(raw)})"
        if unique(con, f"(SELECT {hashed} AS h FROM bill_said_{number})", "h"):
            break
    else:
        raise BillError("the hashes of this bill collide", hint="report this, with its columns")
    selected = dialects.select(chosen)
    normal = ", ".join(f"{selected[name]} AS {name}" for name in _WORDS)
    normal_form = (
        f"SELECT {number} AS source, {hashed} AS h, {normal}, seconds, unreadable"
        f" FROM bill_said_{number}"
    )
    return f"hash({also}{', '.join(raw.values())})", normal_form


def _raw(source: Source) -> tuple[dict[str, str], dict[str, Found]]:
    """Return alias -> SQL of the file's own columns, and what says our words in terms of them."""
    aliases: dict[str, str] = {}
    chosen: dict[str, Found] = {}
    for name in (*_WORDS, *(name for name in source.found if name not in _WORDS)):
        if name not in _WORDS:
            chosen[name] = []
            continue
        of: Found = []
        for sql, kind in source.found[name]:
            if not sql.startswith("'"):
                aliases.setdefault(sql, f"r{len(aliases)}")
            of.append((aliases.get(sql, sql), kind))
        chosen[name] = of
    instants = dialects.select(source.found)
    length = f"date_diff('second', {instants['period_start']}, {instants['period_end']})"
    raw = {alias: sql for sql, alias in aliases.items()}
    return {**raw, "seconds": length, "unreadable": source.unreadable}, chosen


def sieve(con: DuckDBPyConnection, source: Source) -> str:
    """Return SQL that is true on lines which may be network: decided over distinct words."""
    names = ("usage_type", "category", "description")
    chosen = dialects.select(source.found)
    columns = [sql for name in names for sql, _ in source.found[name] if not sql.startswith("'")]
    if not columns:
        return "true"
    texts = ", ".join(chosen[name] for name in names)
    one = len(columns) == 1
    key = columns[0] if one else f"hash({', '.join(columns)})"
    grouped = f"SELECT {', '.join(columns)} FROM {source.relation} GROUP BY ALL"
    rows = con.execute(f"SELECT {key}, {texts} FROM ({grouped})").fetchall()
    wanted = {row[0] for row in rows if naming.may_be_network(*row[1:])}
    # A hash that another set of words shares lets a few lines more through: names decide again.
    literals = [quoted(str(value)) if one else str(value) for value in wanted]
    return f"{key} IN ({', '.join(sorted(literals))})" if wanted else "false"


def _name(con: DuckDBPyConnection) -> None:
    """Create `bill_names`: what each distinct set of words meters."""
    keys = ", ".join(_NAMED)
    rows = con.execute(f"SELECT DISTINCT {keys} FROM bill_said").fetchall()
    kept = list(_kept(rows))
    columns: dict[str, pa.Array] = {
        f"key_{key}": pa.array([row[index] for row, _ in kept], pa.string())
        for index, key in enumerate(_NAMED)
    }
    for field in msgspec.structs.fields(naming.Named):
        kind = pa.int64() if field.type is int else pa.string()
        columns[field.name] = pa.array([getattr(found, field.name) for _, found in kept], kind)
    columns["named_provider"] = pa.array(
        [naming.provider_of(row[0]) for row, _ in kept], pa.string()
    )
    con.register("bill_names_arrow", pa.table(columns))
    con.execute("CREATE OR REPLACE TEMP TABLE bill_names AS SELECT * FROM bill_names_arrow")
    con.unregister("bill_names_arrow")


def _kept(rows: list[tuple[str, ...]]) -> Iterator[tuple[tuple[str, ...], naming.Named]]:
    for row in rows:
        found = naming.name(naming.Words(*row))
        if found is not None:
            yield row, found


def _decided() -> str:
    """Return the columns of `bill_kept`: the words in our terms, and what follows from them."""
    whens = " ".join(
        f"WHEN s.line_type IN ({', '.join(map(quoted, words))}) THEN '{kind}'"
        for kind, words in LINE_TYPES.items()
    )
    columns = {
        "provider": "n.named_provider",
        "usage_type": "coalesce(nullif(s.usage_type, ''), s.description)",
        **{name: f"n.{name}" for name in ("metered_as", "meter", "counts", "unit_bytes")},
        **{name: f"n.{name}" for name in ("region", "to_region")},
        **{name: f"s.{name}" for name in ("payer_account", "account", "resource_id", "operation")},
        **{name: f"s.{name}" for name in ("unit", "currency", "invoice", "unit_price")},
        # A correction of an earlier period is a refund.
        "line_type": f"CASE WHEN s.line_class = 'Correction' THEN 'refund' {whens}"
        " ELSE 'other' END",
        "grain": f"CASE WHEN s.seconds IS NULL OR s.seconds <= {_HOUR} THEN 'hour'"
        f" WHEN s.seconds <= {24 * _HOUR} THEN 'day' ELSE 'month' END",
        "billing_month": "CAST(date_trunc('month', s.billing_start) AS DATE)",
        "resource": resource_sql("s.resource_id"),
        "unreadable": "s.unreadable",
        "source": "s.source",
        "h": "s.h",
    }
    named = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    return f"{named}, p.parts, p.scale, p.room"


# A point is where a meter counts: a resource of an account on one usage type and operation.
POINTS = """
CREATE OR REPLACE TEMP TABLE points AS
SELECT row_number() OVER (ORDER BY account, resource, usage_type, operation) AS point, * FROM (
    SELECT DISTINCT account, resource, metered_as AS usage_type, operation FROM bill_kept
)
"""
# Files of different columns may say the same words: they are one set, found by several hashes.
NUMBERED = f"""
CREATE OR REPLACE TEMP TABLE bill_words AS
SELECT w.*, p.point, p.point << {HOUR_BITS} AS first_cell,
       line_type = 'usage' AND counts = '{usage_types.Per.BYTES}' AND grain = 'hour'
           AND w.account <> '' AND w.resource <> '' AND w.operation <> '' AS exact
FROM (
    SELECT CAST(min(n) AS INTEGER) AS word, * EXCLUDE (n, source, h), list((source, h)) AS keys
    FROM (SELECT row_number() OVER () AS n, * FROM bill_kept) GROUP BY ALL
) w
JOIN points p ON p.account = w.account AND p.resource = w.resource
    AND p.usage_type = w.metered_as AND p.operation = w.operation;

CREATE OR REPLACE TEMP TABLE bill_keys AS
SELECT word, key[1] AS source, key[2] AS h FROM (SELECT word, unnest(keys) AS key FROM bill_words);

ALTER TABLE bill_words DROP COLUMN keys
"""
