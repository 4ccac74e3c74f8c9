"""Exact money: integer numerators over one denominator.

A price has at most ten decimals (AWS Price List), a billing unit is 2**30 bytes, 10**9 bytes or
one (an hour, a request). `ONE` is divisible by all of them, so `quantity * numerator(price)` is
an integer, a sum of charges is exact, and nothing is rounded before it is shown. DECIMAL(38,0)
holds such a numerator up to 4.7 * 10**12 dollars.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation, localcontext

GIB = 1 << 30
PRICE_PLACES = 10
PRICE_SCALE: int = 10**PRICE_PLACES
UNITS = (1, 10**9, GIB)

# lcm(2**30, 10**9) * 10**10: every price per every unit is a whole number of these.
ONE = GIB * 5**9 * PRICE_SCALE


def price_numerator(price: Decimal, unit: int) -> int:
    """Return the numerator of one quantity's price: `price` dollars per `unit` quantities.

    Raises:
        ValueError: `price` has more than ten decimals, is negative or not finite, or `unit` is
            not one of `UNITS`.
    """
    if unit not in UNITS:
        raise ValueError(f"unit {unit} is not one of {UNITS}")
    if not price.is_finite() or price < 0:
        raise ValueError(f"price {price} is not a finite non-negative number")
    scaled = price.scaleb(PRICE_PLACES)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"price {price} has more than {PRICE_PLACES} decimals")
    return int(scaled) * (ONE // PRICE_SCALE // unit)


def from_decimal(amount: Decimal) -> int:
    """Return the numerator of an amount with at most ten decimals (a printed bill line).

    Raises:
        ValueError: `amount` has more than ten decimals or is not finite.
    """
    if not amount.is_finite():
        raise ValueError(f"amount {amount} is not finite")
    with localcontext() as context:
        context.prec = 60
        scaled = amount.scaleb(PRICE_PLACES)
        if scaled != scaled.to_integral_value():
            raise ValueError(f"amount {amount} has more than {PRICE_PLACES} decimals")
        return int(scaled) * (ONE // PRICE_SCALE)


def exact(numerator: int) -> str:
    """Return the exact decimal string of a numerator: `0.01`, never an exponent.

    `ONE` is 2**40 * 5**19, so every numerator has a finite expansion of at most 40 decimals.
    """
    sign = "-" if numerator < 0 else ""
    whole, rest = divmod(abs(numerator), ONE)
    digits = str(rest * 10**40 // ONE).rjust(40, "0").rstrip("0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def numerator(text: str) -> int:
    """Return the numerator of an exact decimal string, as `exact` writes it.

    Raises:
        ValueError: the text is not such a number.
    """
    with localcontext() as context:
        context.prec = 100
        try:
            scaled = Decimal(text) * ONE
        except InvalidOperation:
            raise ValueError(f"{text!r} is not a decimal number") from None
        if not scaled.is_finite() or scaled != scaled.to_integral_value():
            raise ValueError(f"{text!r} is not an exact amount")
        return int(scaled)


def rounded(numerator: int, places: int = 2) -> str:
    """Return the amount rounded half up to `places` decimals, for display only."""
    with localcontext() as context:
        context.prec = 80
        amount = Decimal(numerator) / Decimal(ONE)
        step = Decimal(1).scaleb(-places)
        return f"{amount.quantize(step, rounding=ROUND_HALF_UP):f}"


def split(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` by `weights` so that the parts sum to `total` exactly (largest remainder).

    Ties go to the earlier weight, so the result is a function of the ordered weights alone.

    Raises:
        ValueError: no weights, a negative weight, or all weights zero with a non-zero total.
    """
    scale = sum(weights)
    if any(weight < 0 for weight in weights):
        raise ValueError("weights must not be negative")
    if scale == 0:
        if total:
            raise ValueError("cannot split a non-zero total over zero weights")
        return [0] * len(weights)
    parts = [total * weight // scale for weight in weights]
    remainders = [total * weight % scale for weight in weights]
    for index in sorted(range(len(weights)), key=lambda i: (-remainders[i], i))[
        : total - sum(parts)
    ]:
        parts[index] += 1
    return parts
