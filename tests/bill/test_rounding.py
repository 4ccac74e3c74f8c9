"""The rounding rule: a bill line is rounded twice, and its bytes come back exactly."""

from decimal import Decimal

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcost.bill.rounding import (
    bytes_of,
    bytes_sql,
    cost_of,
    digits_sql,
    fraction_sql,
    fractional_sql,
    misrounded_sql,
    printed_digits_sql,
    quantity_of,
)
from flowcost.money import GIB
from tests.bill.generator import SCALE, half_up

SIZES = st.integers(0, 1 << 56)
PRICES = st.integers(0, 10**10).map(lambda digits: Decimal(digits).scaleb(-10))


@given(SIZES)
def test_metered_bytes_come_back_from_the_printed_quantity(size):
    assert bytes_of(quantity_of(size)) == size


@given(SIZES, PRICES)
def test_quantity_and_cost_are_those_of_the_independent_twin(size, price):
    quantity = quantity_of(size)
    assert quantity == Decimal(half_up(size * SCALE, GIB)).scaleb(-10)
    digits = int(quantity.scaleb(10)) * int(price.scaleb(10))
    assert cost_of(quantity, price) == Decimal(half_up(digits, SCALE)).scaleb(-10)


def test_the_cost_is_rounded_from_the_rounded_quantity():
    # 7 bytes at $0.045: rounding once, from the bytes, would print another last digit.
    found = [
        size
        for size in range(1, 400)
        if cost_of(quantity_of(size), Decimal("0.045"))
        != Decimal(half_up(size * 45 * SCALE, GIB * 1000)).scaleb(-10)
    ]
    assert found
    assert cost_of(Decimal("0.0000000005"), Decimal("0.1")) == Decimal("0.0000000001")


WHOLE = st.one_of(
    st.integers(-(10**13), 10**13), st.integers(-(10**18), 10**18), st.integers(0, 10**6)
)
RATES = st.one_of(
    st.sampled_from([0, 9 * 10**8, 45 * 10**7, 525 * 10**6, 10**8, 1, 3 * 10**10]),
    st.integers(0, 10**12),
)


@pytest.mark.parametrize("kind", ["BIGINT", "HUGEINT"])
@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            WHOLE, RATES, st.sampled_from([GIB, 1, 10**9, 1 << 20, 1 << 40]), st.integers(-1, 1)
        ),
        min_size=1,
    )
)
def test_the_engine_rounds_as_python_does(kind, rows):
    rows = [row for row in rows if abs(row[0]) * row[2] < 10**28]
    values = []
    for digits, price, unit, off in [*rows, (0, 0, 1, 0)]:
        paid = Decimal(price).scaleb(-10)
        cost = int(cost_of(Decimal(digits).scaleb(-10), paid).scaleb(10)) + off
        values.append(f"({digits}::{kind}, '{paid:f}'::DECIMAL(38,10), {unit}::BIGINT, {cost})")
    given = f"(VALUES {', '.join(values)}) v(digits, price, unit, cost)"
    with duckdb.connect() as con:
        found = con.execute(
            "SELECT digits, price, unit, size,"
            f" {fractional_sql('digits', 'unit', 'size')}, cost,"
            f" {misrounded_sql('cost', 'digits', 'price')} FROM (SELECT *,"
            f" {bytes_sql('digits', 'unit')} AS size, {fraction_sql('price')} FROM {given})"
        ).fetchall()
    for digits, price, unit, size, fractional, cost, misrounded in found:
        quantity = Decimal(digits).scaleb(-10)
        assert size == bytes_of(quantity, unit)
        assert misrounded == (Decimal(cost).scaleb(-10) != cost_of(quantity, price))
        # Off by more than the half digit that printing may have cost.
        off = abs(digits * unit - size * SCALE)
        assert fractional == (off > unit // 2 + 1)


NUMBERS = st.one_of(
    st.decimals(-(10**9), 10**9, places=12).map("{:f}".format),
    st.integers(-(10**13), 10**13).map(lambda n: f"{Decimal(n).scaleb(-11):f}"),  # halves, too
    st.integers(0, 10**6).map(lambda n: f"{n}e-7"),
    st.sampled_from(["", " 1.5 ", "+2", ".5", "5.", "0x1", "1_000", "abc", "-", "1e3", "1e30",
                     "NaN", "922337203.6854775807", "922337203.6854775808",
                     "-922337203.6854775808"]),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1))
def test_the_digits_of_a_text_are_those_of_its_decimal(rows):
    def digits(*columns):
        number = f"coalesce({', '.join(f'TRY_CAST({c} AS DECIMAL(38,10))' for c in columns)})"
        return (
            f"{printed_digits_sql([(c, 'VARCHAR') for c in columns])},"
            f" TRY_CAST({digits_sql(number)} AS BIGINT)"
        )

    with duckdb.connect() as con:
        con.execute("CREATE TABLE texts (a VARCHAR, b VARCHAR)")
        con.executemany("INSERT INTO texts VALUES (?, ?)", rows)
        found = con.execute(f"SELECT {digits('a')}, {digits('a', 'b')}, a, b FROM texts").fetchall()
    for one, one_of_decimal, two, two_of_decimal, *texts in found:
        assert one == one_of_decimal, texts
        assert two == two_of_decimal, texts


@given(size=st.integers(0, 1 << 50))
def test_what_the_provider_prints_of_whole_bytes_is_never_fractional(size):
    digits = int(quantity_of(size).scaleb(10))
    off = abs(digits * GIB - size * SCALE)
    assert off <= GIB // 2
