"""A bill of any dialect becomes `bill_lines`: only its network lines, in one normal form.

Enters: files of a bill. Leaves: a temporary table with the columns of `schema.BILL_LINES` and a
`Bill` that says what it is. Rows never pass through Python: the engine reads, sieves and names
them; Python decides over the few distinct names. The law it keeps: quantities and costs are exact
decimals from the text or the double on, and every network line is kept, known or not.
"""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
from msgspec import Struct

from flowcost import usage_types
from flowcost.bill import cost_explorer, dialects, inspect, naming
from flowcost.bill.dialects import INSTANTS, NUMBERS, TEXTS
from flowcost.bill.files import BillFile, discover, unpack, without_copies
from flowcost.bill.rounding import DIGIT, bytes_sql, digits_sql
from flowcost.errors import BillError
from flowcost.model import Finding
from flowcost.schema import BILL_LINES, DUCKDB_TYPES

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
    "fee": (
        "Fee",
        "RIFee",
        "SavingsPlanRecurringFee",
        "SavingsPlanUpfrontFee",
        "Purchase",
    ),
}
_NAME_KEYS = tuple(field.name for field in msgspec.structs.fields(naming.Words))


class Bill(Struct, frozen=True, kw_only=True):
    """What a bill is; its lines are in the table `bill_lines`.

    `final` says whether every line carries an invoice. `months` are first days, ascending.
    """

    payer: str
    months: tuple[date, ...]
    currency: str
    lines: int
    final: bool
    files: tuple[str, ...]
    findings: tuple[Finding, ...]


def read(
    con: DuckDBPyConnection, paths: Sequence[Path], *, payer: str = "", month: date | None = None
) -> Bill:
    """Create the temporary table `bill_lines` from the bill at `paths`.

    Args:
        con: an engine; nothing else in it is touched.
        paths: files, manifests or folders.
        payer: keep only this payer account; needed where a bill holds several.
        month: keep only this billing month (its first day).

    Raises:
        BillError: the files are no bill, are damaged, lack columns, mix payers or currencies, or
            hold no network lines of the month.
    """
    files = discover(paths)
    with tempfile.TemporaryDirectory(prefix="flowcost-bill-") as folder, reported(files):
        kept, copies = without_copies(unpack(files, Path(folder)))
        kind = _stage(con, kept)
        try:
            _name(con)
            repeated = _keep(con, payer, month)
            found = inspect.inspect(con, month)
        finally:
            con.execute(f"DROP {kind} bill_raw")
    return Bill(
        payer=found.payer,
        months=found.months,
        currency=found.currency,
        lines=found.lines,
        final=found.final,
        files=tuple(str(file.path) for file in files),
        findings=(*copies, *repeated, *found.findings),
    )


@contextmanager
def reported(files: Sequence[BillFile]) -> Iterator[None]:
    """Turn the engine's errors into one that names the bill."""
    import duckdb  # noqa: PLC0415 - 60 ms that `--help` does not need

    try:
        yield
    except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException):
        raise  # ours, not the file's
    except duckdb.Error as error:
        named = ", ".join(str(file.path) for file in files[:3])
        first = str(error).splitlines()[0]
        raise BillError(
            f"{named}: cannot be read as a bill ({first})",
            hint="the file may be cut short or damaged: download it again",
        ) from None


def _stage(con: DuckDBPyConnection, files: Sequence[BillFile]) -> str:
    """Create `bill_raw`: the columns of `dialects`, sieved to what may be network.

    Columnar files are read again for each question, a few columns at a time; text is parsed once.
    Returns whether it is a VIEW or a TABLE.
    """
    selects = [_select_group(form, group) for form, group in _groups(con, files)]
    for number, file in enumerate(file for file in files if file.form == "json"):
        table = f"bill_answer_{number}"
        con.register(table, cost_explorer.read(file.path))
        columns = ", ".join((*TEXTS, *INSTANTS, *NUMBERS, "unreadable"))
        source = file.path.name.replace("'", "''")
        selects.append(f"SELECT {columns}, '{source}' AS source FROM {table}")
    kind = "VIEW" if all(file.form == "parquet" for file in files) else "TABLE"
    con.execute(f"CREATE OR REPLACE TEMP {kind} bill_raw AS {' UNION ALL BY NAME '.join(selects)}")
    return kind


Headers = tuple[tuple[str, str], ...]


def _groups(
    con: DuckDBPyConnection, files: Sequence[BillFile]
) -> Iterator[tuple[str, tuple[Headers, list[Path]]]]:
    """Yield (form, (columns, files)) for each set of files with the same columns."""
    groups: dict[tuple[str, Headers], list[Path]] = defaultdict(list)
    for file in files:
        if file.form == "csv":
            groups["csv", tuple((name, "VARCHAR") for name in _csv_header(file.path))].append(
                file.path
            )
        elif file.form == "parquet":
            groups["parquet", _parquet_columns(con, file.path)].append(file.path)
    for (form, columns), paths in groups.items():
        yield form, (columns, paths)


def _csv_header(path: Path) -> list[str]:
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.open(raw) if packed else raw as content:
                text = io.TextIOWrapper(content, encoding="utf-8-sig", newline="")
                header = next(csv.reader(text), [])
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise BillError(f"{path}: cannot be read ({error})", hint="download it again") from None
    if not header:
        raise BillError(f"{path}: is empty", hint="the report may not have been delivered yet")
    return header


def _parquet_columns(con: DuckDBPyConnection, path: Path) -> Headers:
    import duckdb  # noqa: PLC0415

    try:
        rows = con.execute(
            f"DESCRIBE SELECT * FROM read_parquet({_quoted(str(path))}, hive_partitioning = false)"
        ).fetchall()
    except duckdb.Error as error:
        raise BillError(
            f"{path}: not a complete Parquet file ({str(error).splitlines()[0]})",
            hint="download it again",
        ) from None
    return tuple((row[0], row[1]) for row in rows)


def _select_group(form: str, group: tuple[Headers, list[Path]]) -> str:
    columns, paths = group
    kinds = dict(columns)
    dialect = dialects.dialect_of(list(kinds), str(paths[0]))
    chosen = dialects.select(dialect, kinds)
    listed = ", ".join(_quoted(str(path)) for path in paths)
    if form == "parquet":
        source = f"read_parquet([{listed}], hive_partitioning = false, filename = 'bill_file')"
    else:
        # Everything as text: a type guessed from a sample would lose zeros and digits.
        source = (
            f"read_csv([{listed}], header = true, all_varchar = true, delim = ',', quote = '\"',"
            " escape = '\"', filename = 'bill_file', null_padding = false, strict_mode = false)"
        )
    wanted = ", ".join(f"{sql} AS {name}" for name, sql in chosen.items())
    sieve = " OR ".join(f"contains({chosen['usage_type']}, '{part}')" for part in naming.SIEVE)
    if dialect is dialects.FOCUS:
        # Without usage types only words can sieve; the names decide later.
        sieve += (
            f" OR {chosen['category']} ILIKE '%network%' OR {chosen['category']} ILIKE 'bandwidth%'"
            f" OR {chosen['description']} ILIKE '%data transfer%'"
            f" OR {chosen['description']} ILIKE '%nat gateway%'"
            f" OR {chosen['description']} ILIKE '%public ipv4%'"
            f" OR {chosen['description']} ILIKE '%load%balancer%'"
        )
    return f"SELECT {wanted}, parse_filename(bill_file) AS source FROM {source} WHERE {sieve}"


def _name(con: DuckDBPyConnection) -> None:
    """Create `bill_names`: what each distinct set of words meters."""
    keys = ", ".join(_NAME_KEYS)
    rows = con.execute(f"SELECT DISTINCT {keys} FROM bill_raw").fetchall()
    named = [(row, naming.name(naming.Words(*row))) for row in rows]
    kept = [(row, found) for row, found in named if found is not None]
    columns: dict[str, pa.Array] = {
        f"key_{key}": pa.array([row[index] for row, _ in kept], pa.string())
        for index, key in enumerate(_NAME_KEYS)
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


def _keep(con: DuckDBPyConnection, payer: str, month: date | None) -> list[Finding]:
    """Create `bill_lines` from `bill_raw` and `bill_names`; return lines left out as repeated."""
    source, repeated = inspect.without_repeats(con)
    joined = " AND ".join(f"r.{key} = n.key_{key}" for key in _NAME_KEYS)
    wanted = {
        "line": "row_number() OVER ()",
        "billing_month": "CAST(date_trunc('month', coalesce(r.billing_start, r.period_start))"
        " AS DATE)",
        "provider": "n.named_provider",
        "grain": "CASE WHEN r.period_end IS NULL OR r.period_end - r.period_start"
        " <= INTERVAL 1 HOUR THEN 'hour' WHEN r.period_end - r.period_start <= INTERVAL 1 DAY"
        " THEN 'day' ELSE 'month' END",
        "line_type": _line_type(),
        "bytes": f"CASE WHEN n.counts = '{usage_types.Per.BYTES}' THEN"
        f" {bytes_sql('r.quantity', 'n.unit_bytes')} END",
        **{name: f"n.{name}" for name in ("metered_as", "meter", "counts", "unit_bytes")},
        **{name: f"n.{name}" for name in ("region", "to_region")},
        **{
            name: f"CAST({digits_sql(f'r.{name}')} * {DIGIT} AS DECIMAL(38,0))"
            for name in ("cost", "list_cost", "contracted_cost", "effective_cost")
        },
        "usage_type": "coalesce(nullif(r.usage_type, ''), r.description)",
    }
    chosen = ", ".join(
        f"CAST({wanted.get(column.name, f'r.{column.name}')} AS {DUCKDB_TYPES[column.type]})"
        f" AS {column.name}"
        for column in BILL_LINES
    )
    where = ["true"]
    if payer:
        where.append(f"r.payer_account IN ('', {_quoted(payer)})")
    if month:
        where.append(f"{wanted['billing_month']} = DATE '{month}'")
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE bill_lines AS SELECT {chosen}"
        f" FROM {source} r JOIN bill_names n ON {joined}"
        f" WHERE {' AND '.join(where)}"
    )
    return repeated


def _line_type() -> str:
    """Return SQL of our line type; a correction of an earlier period is a refund."""
    whens = " ".join(
        f"WHEN r.line_type IN ({', '.join(map(_quoted, words))}) THEN '{kind}'"
        for kind, words in LINE_TYPES.items()
    )
    return f"CASE WHEN r.line_class = 'Correction' THEN 'refund' {whens} ELSE 'other' END"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
