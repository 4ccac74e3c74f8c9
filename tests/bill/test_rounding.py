"""The rounding rule: a bill line is rounded twice, and its bytes come back exactly."""

from decimal import Decimal

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcost.bill.rounding import bytes_of, bytes_sql, cost_of, cost_sql, quantity_of
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


@pytest.mark.parametrize("sign", [1, -1])
def test_the_engine_rounds_as_python_does(sign):
    with duckdb.connect() as con:
        for size, price in ((1, "0.09"), (12345678901, "0.045"), (1 << 50, "0.0525"), (504, "0.1")):
            quantity = sign * quantity_of(size)
            typed = [f"'{quantity:f}'::DECIMAL(38,10)", f"'{price}'::DECIMAL(38,10)"]
            [(found, cost)] = con.execute(
                f"SELECT {bytes_sql(typed[0], str(GIB))}, {cost_sql(*typed)}"
            ).fetchall()
            assert found == sign * size
            assert Decimal(int(cost)).scaleb(-10) == cost_of(quantity, Decimal(price))
