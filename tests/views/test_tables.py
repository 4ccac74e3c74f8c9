"""Tables: machine formats are exact, `table` is for eyes."""

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcost import address, money
from flowcost.schema import Column
from flowcost.views.tables import FORMATS, binary, dollars, plain, render, share

COLUMNS = (
    Column("team", "text", "who"),
    Column("hour", "instant", "when"),
    Column("end", "address", "where"),
    Column("bytes", "bytes", "how much"),
    Column("list_cost", "money", "what it costs"),
    Column("evidence", "list", "why"),
)
HOUR = datetime(2026, 11, 20, 13, tzinfo=UTC).replace(tzinfo=None)  # as DuckDB returns it
BIG = 9007199254740993  # 2**53 + 1: the first integer a double cannot hold
CENT = money.from_decimal(Decimal("0.01"))
ROWS = [
    ("pay|ments", HOUR, address.pack("10.0.1.5"), BIG, CENT + 1, ["az known", "rate"]),
    ("шоп", HOUR, None, 0, None, []),
]


def test_json_prints_bytes_as_integers_and_money_as_decimal_strings():
    first, second = json.loads(render(COLUMNS, ROWS, "json"))
    assert first["bytes"] == BIG
    assert first["list_cost"] == money.exact(CENT + 1)
    assert first["hour"] == "2026-11-20T13:00:00Z"
    assert first["end"] == "10.0.1.5"
    assert second["list_cost"] is None
    assert second["team"] == "шоп"


def test_csv_and_markdown_carry_the_same_exact_figures():
    records = list(csv.DictReader(io.StringIO(render(COLUMNS, ROWS, "csv"))))
    assert records[0]["bytes"] == str(BIG)
    assert records[0]["list_cost"] == money.exact(CENT + 1)
    markdown = render(COLUMNS, ROWS, "markdown").splitlines()
    assert markdown[0] == "| team | hour | end | bytes | list_cost | evidence |"
    assert "pay\\|ments" in markdown[2]
    assert f"| {BIG} | {money.exact(CENT + 1)} |" in markdown[2]


def test_parquet_keeps_every_digit_and_has_no_float_column():
    table = pq.read_table(io.BytesIO(render(COLUMNS, ROWS, "parquet")))
    assert [str(field.type) for field in table.schema] == [
        "string",
        "string",
        "string",
        "int64",
        "string",
        "list<element: string>",
    ]
    assert table.column("bytes").to_pylist() == [BIG, 0]
    assert table.column("list_cost").to_pylist() == [money.exact(CENT + 1), None]


def test_a_table_is_rounded_and_never_folds_numbers_into_floats():
    text = render(COLUMNS, ROWS, "table")
    assert "8.00 PiB" in text
    assert "$0.01" in text


@pytest.mark.parametrize("form", FORMATS)
def test_no_rows_are_a_table_without_rows(form):
    assert render(COLUMNS, [], form)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (6 * money.GIB, "6.00 GiB"),
        (12 * money.GIB + money.GIB // 4, "12.25 GiB"),
        (-1024, "-1.00 KiB"),
        (5000 << 60, "5,000.00 EiB"),
    ],
)
def test_bytes_read_in_binary_units(count, expected):
    assert binary(count) == expected


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("0", "$0.00"),
        ("0.02", "$0.02"),
        ("0.0049", "$0.0049"),
        ("0.00004", "$0.000040"),
        ("0.0000000001", "<$0.000001"),
        ("1234567.891", "$1,234,567.89"),
        ("-3.5", "-$3.50"),
    ],
)
def test_an_amount_shows_places_until_it_shows_something(amount, expected):
    assert dollars(money.from_decimal(Decimal(amount))) == expected


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        (0, 0, "n/a"),
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (1, 10**6, "<0.1 %"),
        (10**6 - 1, 10**6, ">99.9 %"),
        (1, 3, "33.3 %"),
    ],
)
def test_a_share_never_rounds_to_a_bound_it_is_not(part, whole, expected):
    assert share(part, whole) == expected


def test_a_float_is_a_defect_not_a_figure():
    with pytest.raises(TypeError, match=r"bytes holds 1\.5"):
        plain(COLUMNS[3], 1.5)


@given(st.integers(0, 1 << 70))
def test_binary_units_stay_within_half_a_hundredth(count):
    number, unit = binary(count).replace(",", "").split()
    size = 1 << (10 * ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB").index(unit))
    assert abs(Decimal(number) * size - count) * 200 <= size


def test_dates_are_iso():
    assert plain(Column("day", "day", ""), date(2026, 11, 1)) == "2026-11-01"
    assert plain(Column("hour", "instant", ""), datetime(2026, 1, 1, tzinfo=UTC)) == (
        "2026-01-01T00:00:00Z"
    )
