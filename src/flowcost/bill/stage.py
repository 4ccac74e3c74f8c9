"""Files of a bill become sources: Parquet of one schema each, with what its columns mean.

Columnar files stay where they are and are read a few columns at a time. Text is parsed once: the
columns of its network lines are written as Parquet beside the engine's other temporary files, as
they are, and with what a question would parse in every line again, instants and numbers.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flowcost.bill import cost_explorer, dialects, naming
from flowcost.bill.dialects import INSTANTS, Found
from flowcost.bill.engine import scratch
from flowcost.bill.files import BillFile
from flowcost.bill.footer import constants
from flowcost.bill.rounding import printed_digits_sql
from flowcost.errors import BillError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Source:
    """Parquet files with the same columns.

    `found` maps our column to the SQL of those of the file that say it; `line` and `file` are
    SQL of a line's number in the whole bill and of the file it came from. `digits` are columns that
    hold a number of ours in printed digits already, null where 64 bits do not hold them.
    """

    relation: str
    found: dict[str, Found]
    line: str
    file: str
    unreadable: str
    digits: Mapping[str, str] = field(default_factory=dict)


def stage(con: DuckDBPyConnection, files: Sequence[BillFile]) -> list[Source]:
    """Return the sources of a bill's files, in the order of their lines.

    Raises:
        BillError: a file is no bill, is damaged or lacks columns.
    """
    texts: dict[Headers, list[Path]] = defaultdict(list)
    tables: dict[Headers, list[Path]] = defaultdict(list)
    for file in files:
        if file.form == "csv":
            texts[tuple((name, "VARCHAR") for name in _csv_header(file.path))].append(file.path)
        elif file.form == "parquet":
            tables[_parquet_columns(con, file.path)].append(file.path)
    answers = [file.path for file in files if file.form == "json"]
    sources: list[Source] = []
    before = 0
    for headers, paths in tables.items():
        found = dialects.found(
            _dialect(headers, paths), dict(headers), constants(con, _listed(paths))
        )
        numbers, counted = _numbers(con, paths, before)
        before += counted
        names = ", ".join(quoted(path.name) for path in paths)
        sources.append(
            Source(
                relation=_relation(paths),
                found=found,
                line=numbers,
                file=f"[{names}][{_FILE}]",
                unreadable=dialects.unreadable(found, "quantity", "cost"),
            )
        )
    folder = scratch(con) if texts or answers else Path()
    for number, (columns, paths) in enumerate(texts.items()):
        path = folder / f"text-{number}.parquet"
        sources.append(_parsed(con, columns, paths, path, before))
        before += sum(_counts(con, [path]))
    staged = [folder / f"answer-{number}.parquet" for number in range(len(answers))]
    for path, answer in zip(staged, answers, strict=True):
        con.register("bill_answer", cost_explorer.read(answer))
        _copy(con, f"SELECT *, {quoted(answer.name)} AS source FROM bill_answer", path)
        con.unregister("bill_answer")
    if staged:
        ours = dict(_parquet_columns(con, staged[0]))
        sources.append(
            Source(
                relation=_relation(staged),
                found=dialects.found(dialects.STAGED, ours, constants(con, _listed(staged))),
                line=_numbers(con, staged, before)[0],
                file="source",
                unreadable="unreadable",
            )
        )
    return sources


_FILE = "CAST(file_index AS INTEGER) + 1"


def _dialect(headers: Headers, paths: Sequence[Path]) -> dialects.Dialect:
    return dialects.dialect_of([name for name, _ in headers], str(paths[0]))


def _listed(paths: Sequence[Path]) -> str:
    return f"[{', '.join(quoted(str(path)) for path in paths)}]"


def _relation(paths: Sequence[Path]) -> str:
    return f"read_parquet({_listed(paths)}, hive_partitioning = false)"


def _numbers(con: DuckDBPyConnection, paths: Sequence[Path], before: int) -> tuple[str, int]:
    """Return SQL of a line's number in the bill, and how many lines the files have."""
    counts = _counts(con, paths)
    first = [before + sum(counts[:index]) + 1 for index in range(len(counts))]
    start = str(first[0]) if len(first) == 1 else f"{first}[{_FILE}]"
    return f"{start} + file_row_number", sum(counts)


def _counts(con: DuckDBPyConnection, paths: Sequence[Path]) -> list[int]:
    """Return how many rows each file has, by its footer."""
    rows = con.execute(
        f"SELECT file_name, num_rows FROM parquet_file_metadata({_listed(paths)})"
    ).fetchall()
    of = dict(rows)
    return [int(of[str(path)]) for path in paths]


def _copy(con: DuckDBPyConnection, query: str, path: Path) -> None:
    con.execute(f"COPY ({query}) TO {quoted(str(path))} (FORMAT parquet)")


def _parsed(
    con: DuckDBPyConnection, columns: Headers, paths: Sequence[Path], staged: Path, before: int
) -> Source:
    """Write the network lines of text files of the same columns to `staged`, and return them."""
    dialect = _dialect(columns, paths)
    found = dialects.found(dialect, dict(columns))
    numbers = [name for name in _COUNTED if found[name]]
    if found["contracted_cost"] == found["cost"]:
        numbers.remove("contracted_cost")
    instants = {name: dialects.select(found)[name] for name in INSTANTS if found[name]}
    raw = {sql for of in found.values() for sql, _ in of if not sql.startswith("'")}
    digits = {name: printed_digits_sql(found[name]) for name in numbers}
    parsed = [f"{sql} AS {_own(name)}" for name, sql in (instants | digits).items()]
    bad = " OR ".join(
        f"CASE WHEN {_own(name)} IS NULL THEN {dialects.unreadable(found, name)} ELSE false END"
        if len(found[name]) == 1
        else dialects.unreadable(found, name)
        for name in ("quantity", "cost")
    )
    sieve = naming.sieve_sql(*(_text(found, name) for name in _DECIDING))
    listed = ", ".join(quoted(str(path)) for path in paths)
    # Everything as text: a type guessed from a sample would lose zeros and digits.
    lines = (
        f"SELECT {', '.join([*sorted(raw), *parsed])}, bill_file FROM read_csv([{listed}],"
        " header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"',"
        " filename = 'bill_file', null_padding = false, strict_mode = false)"
        f" WHERE {sieve}"
    )
    _copy(con, f"SELECT *, {bad} AS {_own('unreadable')} FROM ({lines})", staged)
    found = dialects.found(dialect, dict(columns), constants(con, _listed([staged])))
    return Source(
        relation=_relation([staged]),
        found=found | {name: [(_own(name), "TIMESTAMP")] for name in instants},
        line=_numbers(con, [staged], before)[0],
        file="parse_filename(bill_file)",
        unreadable=_own("unreadable"),
        digits={name: _own(name) for name in digits},
    )


_COUNTED = ("quantity", "cost", "contracted_cost")
_DECIDING = ("usage_type", "category", "description")


def _own(name: str) -> str:
    return f'"parsed {name}"'


def _text(found: Mapping[str, Found], name: str) -> str:
    """Return SQL of a text, which may be null where one column says it: cheaper in every line."""
    of = found[name]
    return of[0][0] if len(of) == 1 else dialects.select(found)[name]


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
            f"DESCRIBE SELECT * FROM read_parquet({quoted(str(path))}, hive_partitioning = false)"
        ).fetchall()
    except duckdb.Error as error:
        raise BillError(
            f"{path}: not a complete Parquet file ({str(error).splitlines()[0]})",
            hint="download it again",
        ) from None
    return tuple((row[0], row[1]) for row in rows)


def quoted(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
