"""Money is exact: no float, no rounding before display."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcost import money

prices = st.decimals(min_value=0, max_value=1000, places=10, allow_nan=False)
quantities = st.integers(min_value=0, max_value=1 << 62)


def fraction(numerator: int) -> Fraction:
    return Fraction(numerator, money.ONE)


@given(prices, quantities, st.sampled_from(money.UNITS))
def test_a_charge_is_quantity_times_price_per_unit_exactly(price, quantity, unit):
    numerator = quantity * money.price_numerator(price, unit)
    assert fraction(numerator) == Fraction(price) * quantity / unit


@given(prices, quantities, st.sampled_from(money.UNITS))
def test_the_printed_decimal_is_the_exact_amount(price, quantity, unit):
    numerator = quantity * money.price_numerator(price, unit)
    printed = money.exact(numerator)
    assert Fraction(printed) == fraction(numerator)
    assert "E" not in printed
    assert "e" not in printed


@given(prices)
def test_a_million_kibibyte_flows_cost_what_one_flow_of_the_sum_costs(price):
    per_byte = money.price_numerator(price, money.GIB)
    assert sum(1024 * per_byte for _ in range(1000)) * 1000 == 1024 * 10**6 * per_byte


@given(
    st.integers(min_value=0, max_value=10**30),
    st.lists(st.integers(min_value=0, max_value=10**15), min_size=1, max_size=40),
)
def test_a_split_sums_to_its_total_and_is_within_one_of_its_share(total, weights):
    if sum(weights) == 0:
        weights[0] = 1
    parts = money.split(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(total * weight, sum(weights))) < 1


def test_one_gibibyte_at_one_cent_prints_one_cent():
    assert money.exact(money.GIB * money.price_numerator(Decimal("0.01"), money.GIB)) == "0.01"


def test_a_negative_amount_keeps_its_sign_and_fraction():
    assert money.exact(money.from_decimal(Decimal("-1.25"))) == "-1.25"
    assert money.rounded(money.from_decimal(Decimal("0.005"))) == "0.01"


@pytest.mark.parametrize("price", ["0.00000000001", "-0.01", "NaN", "Infinity"])
def test_a_price_that_cannot_be_held_exactly_is_refused(price):
    with pytest.raises(ValueError, match="price"):
        money.price_numerator(Decimal(price), money.GIB)


def test_a_split_over_nothing_is_refused():
    with pytest.raises(ValueError, match="zero weights"):
        money.split(1, [0, 0])
    with pytest.raises(ValueError, match="negative"):
        money.split(1, [2, -1])


def test_a_small_amount_is_written_out_without_an_exponent():
    assert money.rounded(0, 8) == "0.00000000"
    assert money.rounded(money.ONE // 10**9, 9) == "0.000000001"


@given(st.integers(-(10**37), 10**37))
def test_an_exact_text_is_read_back(numerator):
    assert money.numerator(money.exact(numerator)) == numerator


@pytest.mark.parametrize("text", ["", "x", "NaN", "Infinity", "0." + "0" * 40 + "1", "1e-60"])
def test_what_is_no_exact_amount_is_refused(text):
    with pytest.raises(ValueError, match="is not"):
        money.numerator(text)
