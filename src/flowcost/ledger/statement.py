"""A question as one SQL statement that DuckDB answers in the ledger's folder, without Flowcost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from urllib.parse import quote

from flowcost import clock
from flowcost.ledger import keys
from flowcost.ledger.partition import IDS
from flowcost.ledger.query import MEASURES, Selection, scanned


def statement(selection: Selection, *, by: Sequence[str], sort: str = "-list_cost") -> str:
    """Return the SQL of `query.costs`, its values written in.

    Run it in the folder of the ledger. It reads hours, so not what was pruned to days. Money is
    numerators over `money.ONE`.

    Raises:
        UsageError: an unknown key or sort.
        FilterError: the selection's filter cannot be read.
    """
    found = [keys.find(name, selection.attribute_by) for name in by]
    scan = scanned(selection, found)
    columns = [
        *(f'{key.sql} AS "{key.name}"' for key in found),
        *(f"{sql} AS {column.name}" for column, sql in zip(MEASURES, scan.measures, strict=True)),
    ]
    name = keys.canonical(sort.removeprefix("-")) or sort.removeprefix("-")
    direction = "DESC" if sort.startswith("-") else "ASC"
    lines = [
        "-- DuckDB, in the folder of the ledger; money / (2**40 * 5**19) is dollars",
        f"WITH charges AS ({_table(selection, 'charges')} WHERE {_hours(selection)})",
        *(
            f", {table} AS ({_table(selection, table)})"
            for table in IDS
            if re.search(rf"\b{table}\b", keys.joins(*columns, scan.where))
        ),
        "SELECT " + ",\n  ".join(columns),
        f"FROM charges AS c {keys.joins(*columns, scan.where)}".rstrip(),
        f"WHERE {_written(scan.where, scan.values)}",
        f"GROUP BY {', '.join(str(index + 1) for index in range(len(found)))}" if found else "",
        f'ORDER BY "{name}" {direction} NULLS LAST, bytes DESC',
    ]
    return "\n".join(filter(None, lines))


def _table(selection: Selection, table: str) -> str:
    tenant = quote(selection.tenant, safe="") if selection.tenant else "*"
    files = f"tenant={tenant}/cluster=*/day=*/hour=*/{table}-*.parquet".replace("'", "''")
    once = f"DISTINCT ON ({IDS[table]}) " if table in IDS else ""
    return f"SELECT {once}* FROM read_parquet('{files}', hive_partitioning = false)"


def _hours(selection: Selection) -> str:
    bounds = [
        f"hour {sign} {_literal(instant)}"
        for sign, instant in ((">=", selection.start), ("<", selection.end))
        if instant is not None
    ]
    return " AND ".join(bounds) or "TRUE"


def _written(condition: str, values: Sequence[object]) -> str:
    """Return a condition with its values in place of `?`; our own SQL has no other `?`."""
    first, *rest = condition.split("?")
    return first + "".join(_literal(value) + part for value, part in zip(values, rest, strict=True))


def _literal(value: object) -> str:
    match value:
        case datetime():
            utc = value if value.tzinfo else value.replace(tzinfo=UTC)
            return f"TIMESTAMP '{clock.iso(utc)[:-1]}'"
        case date():
            return f"DATE '{value.isoformat()}'"
        case bytes():
            return f"from_hex('{value.hex()}')"
        case int():
            return str(value)
        case _:
            escaped = str(value).replace("'", "''")
            return f"'{escaped}'"
