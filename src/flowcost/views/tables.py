"""Rows become text or a file: one writer per format, for every command that prints rows.

Enters: columns (`schema.Column`) and rows of plain values. Leaves: text, or bytes for Parquet.
Machine formats are exact: bytes are integers, money a decimal string, times ISO 8601 UTC. Only
`table` is for eyes, and only there numbers are rounded. Nothing passes through a float.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime

from flowcost import address, clock, money
from flowcost.schema import Column

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
NUMBERS = frozenset({"int", "small", "exact", "bytes", "money"})

Row = Sequence[object]


def render(columns: Sequence[Column], rows: Iterable[Row], form: str) -> str | bytes:
    """Return `rows` in `form`, one of `FORMATS`; Parquet is bytes, all others text."""
    return FORMATS[form](columns, rows)


def plain(column: Column, value: object) -> object:
    """Return `value` as machines read it: int, str, bool, list or None; exact."""
    match value:
        case int() if column.type == "money":
            shown: object = money.exact(value)
        case None | bool() | int() | str():
            shown = value
        case datetime():
            shown = clock.iso(value if value.tzinfo else value.replace(tzinfo=UTC))
        case date():
            shown = value.isoformat()
        case bytes():
            shown = address.unpack(value)
        case list() | tuple():
            shown = list(value)
        case _:
            raise TypeError(f"column {column.name} holds {value!r}, which no format can carry")
    return shown


def human(column: Column, value: object) -> str:
    """Return `value` as people read it: `1.50 GiB`, `$0.02`; rounded half up."""
    if isinstance(value, int) and column.type == "bytes":
        return binary(value)
    if isinstance(value, int) and column.type == "money":
        return dollars(value)
    if value is None and column.type == "money":
        return "unpriced"
    shown = plain(column, value)
    if isinstance(shown, list):
        return "; ".join(str(item) for item in shown)
    return "" if shown is None else str(shown)


def binary(count: int) -> str:
    """Return a byte count in binary units with two decimals, rounded half up."""
    sign, size = ("-", -count) if count < 0 else ("", count)
    power = min(max(size.bit_length() - 1, 0) // 10, len(UNITS) - 1)
    if power == 0:
        return f"{sign}{size} B"
    unit = 1 << (10 * power)
    hundredths = (size * 100 + unit // 2) // unit
    return f"{sign}{hundredths // 100:,}.{hundredths % 100:02d} {UNITS[power]}"


def dollars(numerator: int) -> str:
    """Return an amount in dollars: cents, and more places where cents would show nothing."""
    sign, amount = ("-", -numerator) if numerator < 0 else ("", numerator)
    for places in (2, 4, 6):
        text = money.rounded(amount, places)
        if text.strip("0."):
            whole, _, rest = text.partition(".")
            return f"{sign}${int(whole):,}.{rest}"
    return "$0.00" if amount == 0 else f"{sign}<$0.000001"


def share(part: int, whole: int) -> str:
    """Return `part` of `whole` as a percentage with one decimal; `100 %` and `0 %` are exact.

    A share that would round to either bound without being it shows the nearest tenth inside.
    """
    if whole == 0:
        return "n/a"
    tenths = (part * 2000 + whole) // (2 * whole)
    if part and not tenths:
        return "<0.1 %"
    if part != whole and tenths == 1000:
        return ">99.9 %"
    return f"{tenths // 10} %" if tenths % 10 == 0 else f"{tenths // 10}.{tenths % 10} %"


def _table(columns: Sequence[Column], rows: Iterable[Row]) -> str:
    from rich import box  # noqa: PLC0415 - 40 ms that machine formats do not need
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        number = column.type in NUMBERS
        shown.add_column(column.name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        shown.add_row(
            *(Text(human(column, value)) for column, value in zip(columns, row, strict=True))
        )
    out = io.StringIO()
    Console(file=out, force_terminal=False, width=_width()).print(shown)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _width() -> int:
    import shutil  # noqa: PLC0415
    import sys  # noqa: PLC0415

    # Without a terminal a table is read later, in an editor or a log: do not fold it at 80.
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 200


def _json(columns: Sequence[Column], rows: Iterable[Row]) -> str:
    objects = [
        {column.name: plain(column, value) for column, value in zip(columns, row, strict=True)}
        for row in rows
    ]
    return json.dumps(objects, indent=1, ensure_ascii=False) + "\n"


def _csv(columns: Sequence[Column], rows: Iterable[Row]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(column.name for column in columns)
    for row in rows:
        cells = (plain(column, value) for column, value in zip(columns, row, strict=True))
        writer.writerow(";".join(cell) if isinstance(cell, list) else cell for cell in cells)
    return out.getvalue()


def _markdown(columns: Sequence[Column], rows: Iterable[Row]) -> str:
    lines = [
        _line(column.name for column in columns),
        _line("---:" if column.type in NUMBERS else "---" for column in columns),
    ]
    for row in rows:
        cells = (plain(column, value) for column, value in zip(columns, row, strict=True))
        lines.append(_line(_cell(cell) for cell in cells))
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _parquet(columns: Sequence[Column], rows: Iterable[Row]) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - 200 ms that text formats do not need
    import pyarrow.parquet as pq  # noqa: PLC0415

    kept = [list(row) for row in rows]
    arrays = [
        pa.array(
            [plain(column, row[index]) for row in kept],
            type={
                "int": pa.int64(),
                "small": pa.int32(),
                "bytes": pa.int64(),
                "flag": pa.bool_(),
                "list": pa.list_(pa.string()),
            }.get(column.type, pa.string()),
        )
        for index, column in enumerate(columns)
    ]
    table = pa.Table.from_arrays(arrays, names=[column.name for column in columns])
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


FORMATS: dict[str, Callable[[Sequence[Column], Iterable[Row]], str | bytes]] = {
    "table": _table,
    "json": _json,
    "csv": _csv,
    "parquet": _parquet,
    "markdown": _markdown,
}
