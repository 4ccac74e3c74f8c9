"""Our own flow table as CSV: the columns of `schema.FLOWS`, addresses and times as text.

The format of scenarios and of hand-made input. Unlike a provider's logs it is written by people
for Flowcost, so a bad value is the operator's error, named by file, row and field.

A sampled row says how many packets each of its own stands for, `sampling_rate`: it is scaled here,
once, and `sampled` keeps the rate that was applied.
"""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from flowcost import clock
from flowcost.address import pack
from flowcost.errors import SourceError
from flowcost.model import Direction, Initiator, ObserverType
from flowcost.schema import FLOWS, Column

Value = str | int | bytes | datetime | None

_REQUIRED = (
    "window_start",
    "window_end",
    "direction",
    "local_address",
    "remote_address",
    "bytes",
)
_RATE = "sampling_rate"
_SCALED = ("bytes", "packets", "retransmitted_bytes")
DEFAULTS: dict[str, Value] = {
    "tenant": "demo",
    "observer": "sensor",
    "observer_type": "node_agent",
    "transport": 6,
    "initiator": "unknown",
    "sampled": 1,
    "dialed_address": None,
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "direction": tuple(Direction),
    "observer_type": tuple(ObserverType),
    "initiator": tuple(Initiator),
}
ARROW_TYPES = {
    "int": pa.int64(),
    "small": pa.int32(),
    "text": pa.string(),
    "address": pa.binary(),
    "instant": pa.timestamp("us"),
}


def read(path: Path) -> pa.Table:
    """Read a CSV of flows: header of `schema.FLOWS` names, addresses and times as text.

    Raises:
        SourceError: a required column is missing, a column is unknown, or a value is out of its
            range; the message names file, row and field.
    """
    columns = {column.name: column for column in FLOWS}
    try:
        rows = _rows(path, columns)
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path}: not a CSV file ({error})", hint="save it as UTF-8") from None
    return pa.table(
        {
            name: pa.array([row[name] for row in rows], ARROW_TYPES[column.type])
            for name, column in columns.items()
        }
    )


def _rows(path: Path, columns: dict[str, Column]) -> list[dict[str, Value]]:
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        header = reader.fieldnames or ()
        missing = [name for name in _REQUIRED if name not in header]
        unknown = [name for name in header if name not in columns and name != _RATE]
        if missing or unknown:
            what = f"missing column {missing[0]}" if missing else f"unknown column {unknown[0]}"
            raise SourceError(
                f"{path}: {what}",
                hint=f"required: {', '.join(_REQUIRED)}; the rest as in the flows table",
            )
        return [_row(path, number, raw, columns) for number, raw in enumerate(reader, start=2)]


def _row(
    path: Path, number: int, raw: dict[str | None, str], columns: dict[str, Column]
) -> dict[str, Value]:
    if None in raw:  # where `csv` keeps the fields beyond the header's
        raise SourceError(f"{path}: row {number}: more fields than the header has")
    row: dict[str, Value] = {}
    for name, column in columns.items():
        text = (raw.get(name) or "").strip()
        try:
            row[name] = _value(column, text)
        except (ValueError, OverflowError) as error:
            raise SourceError(f"{path}: row {number}: {name}: {error}") from None
    try:
        _scale(row, (raw.get(_RATE) or "").strip())
    except ValueError as error:
        raise SourceError(f"{path}: row {number}: {_RATE}: {error}") from None
    try:
        _check_window(row)
    except ValueError as error:
        raise SourceError(f"{path}: row {number}: window_end: {error}") from None
    return row


def _value(column: Column, text: str) -> Value:
    name = column.name
    if not text:
        if name in _REQUIRED:
            raise ValueError("missing")
        return DEFAULTS.get(name, "" if column.type == "text" else 0)
    match column.type:
        case "address":
            return pack(text)
        case "instant":
            instant = clock.parse(text)
            if not clock.EARLIEST <= instant < clock.LATEST:
                raise ValueError(f"{text} is out of range")
            return instant.replace(tzinfo=None)
        case "int" | "small":
            number = int(text)
            if not 0 <= number < (1 << 63 if column.type == "int" else 1 << 31):
                raise ValueError(f"{number} is out of range")
            return number
    if name in _CHOICES and text not in _CHOICES[name]:
        raise ValueError(f"{text!r} is not one of {', '.join(_CHOICES[name])}")
    return text


def _scale(row: dict[str, Value], text: str) -> None:
    """Scale a sampled row; one without a rate is as it was counted."""
    rate = int(text or 1)
    if not 1 <= rate < 1 << 31:
        raise ValueError(f"{rate} is out of range")
    if rate == 1:
        return
    if row["sampled"] != 1:
        raise ValueError("sampled says that a rate was applied already")
    row["sampled"] = rate
    for name in _SCALED:
        counted = row[name]
        assert isinstance(counted, int)  # noqa: S101 - narrows the type; `_value` made it so
        if counted * rate >= 1 << 63:
            raise ValueError(f"{name} is out of range")
        row[name] = counted * rate


def _check_window(row: dict[str, Value]) -> None:
    start, end = row["window_start"], row["window_end"]
    assert isinstance(start, datetime)  # noqa: S101 - narrows the type; `_value` made it so
    assert isinstance(end, datetime)  # noqa: S101
    if end <= start:
        raise ValueError("not after window_start")
    if end > start.replace(minute=0, second=0, microsecond=0) + clock.HOUR:
        raise ValueError("the window straddles an hour")
