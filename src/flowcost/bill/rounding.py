"""The provider's rounding: a bill line is rounded twice, in this order.

AWS prints `quantity = round(bytes / 2**30, 10 places)` and charges
`cost = round_half_up(printed quantity * price, 10 places)`. Found on the public FOCUS sample bill
of 2024-09 (FinOps-Open-Cost-and-Usage-Spec/FOCUS-Sample-Data): 276 of 276 priced network lines
obey, 269 if the cost is taken from unrounded bytes. The step is far below a byte, so the metered
bytes come back exactly. Costs here are counted in printed digits, whole numbers of 10**-10.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal, localcontext

from flowcost.money import GIB, ONE, PRICE_PLACES, PRICE_SCALE

STEP = Decimal(1).scaleb(-PRICE_PLACES)
DIGIT = ONE // PRICE_SCALE  # numerators over money.ONE in one printed digit


def printed(amount: Decimal) -> Decimal:
    """Return an amount as a bill prints it: ten places, half up."""
    with localcontext() as context:
        context.prec = 60
        return amount.quantize(STEP, rounding=ROUND_HALF_UP)


def quantity_of(metered: int, unit_bytes: int = GIB) -> Decimal:
    """Return the printed quantity of metered bytes."""
    with localcontext() as context:
        context.prec = 60
        return printed(Decimal(metered) / unit_bytes)


def cost_of(quantity: Decimal, price: Decimal) -> Decimal:
    """Return the cost of a line from its printed quantity and its price per unit."""
    with localcontext() as context:
        context.prec = 60
        return printed(quantity * price)


def bytes_of(quantity: Decimal, unit_bytes: int = GIB) -> int:
    """Return the bytes that were metered as `quantity`; exact for what `quantity_of` printed."""
    with localcontext() as context:
        context.prec = 60
        return int((quantity * unit_bytes).to_integral_value(rounding=ROUND_HALF_UP))


def digits_sql(amount: str) -> str:
    """Return SQL of a DECIMAL(38,10) as a HUGEINT count of printed digits."""
    return f"CAST({amount} * {PRICE_SCALE} AS HUGEINT)"


def printed_digits_sql(choices: Sequence[tuple[str, str]]) -> str:
    """Return SQL of the first of these texts that is a number, in printed digits of 64 bits.

    It is null where none is, or 64 bits do not hold it. Moving the point of the text is three times
    cheaper than to turn a decimal into a whole number; what it cannot read goes the long way.
    """
    number = f"coalesce({', '.join(f'TRY_CAST({sql} AS DECIMAL(38,10))' for sql, _ in choices)})"
    plain = choices[0][0] if len(choices) == 1 else f"CAST({number} AS VARCHAR)"
    return (
        f"coalesce(TRY_CAST({plain} || 'e+{PRICE_PLACES}' AS BIGINT),"
        f" TRY_CAST({digits_sql(number)} AS BIGINT))"
    )


# 2**30 / 10**10 = _TIMES / _PER, so that a GiB's bytes stay within 64 bits.
_TIMES, _PER = GIB // math.gcd(GIB, PRICE_SCALE), PRICE_SCALE // math.gcd(GIB, PRICE_SCALE)
_ROOM = 1 << 62
_GIBS = _ROOM // _TIMES - _PER  # digits of 440 GiB: what is less needs one division of 64 bits
_FINEST = 10**6  # a price of six places, as all are that are asked of many lines
_COSTS = _ROOM // (2 * _FINEST)  # digits of $230


def _fast(digits: str, unit_bytes: str) -> str:
    return f"{unit_bytes} = {GIB} AND {digits} BETWEEN 0 AND {_GIBS}"


def bytes_sql(digits: str, unit_bytes: str) -> str:
    """Return SQL of `bytes_of`, from a quantity in printed digits."""
    return (
        f"CASE WHEN {_fast(digits, unit_bytes)}"
        f" THEN CAST(({digits} * {2 * _TIMES} + {_PER}) // {2 * _PER} AS BIGINT)"
        f" ELSE CAST({_half_up(f'CAST({digits} AS HUGEINT) * {unit_bytes}')} AS BIGINT) END"
    )


def fractional_sql(digits: str, unit_bytes: str, size: str) -> str:
    """Return SQL: a quantity that no whole number of bytes prints as; half a digit is rounding.

    `size` is the quantity's `bytes_sql`.
    """
    off = f"CAST({digits} AS HUGEINT) * {unit_bytes} - CAST({size} AS HUGEINT) * {PRICE_SCALE}"
    return (
        f"CASE WHEN {_fast(digits, unit_bytes)}"
        f" THEN abs({digits} * {_TIMES} - {size} * {_PER}) > {_TIMES // 2}"
        f" ELSE abs({off}) > {unit_bytes} // 2 + 1 END"
    )


def fraction_sql(price: str) -> str:
    """Return SQL of a price as a reduced fraction, and up to which digits it fits 64 bits.

    Three columns, `parts`, `scale` and `room`; `room` is -1 where there is no such fraction.
    """
    digits = digits_sql(price)
    common = f"gcd({digits}, {PRICE_SCALE}::HUGEINT)"
    fits = (
        f"{price} IS NOT NULL AND {digits} // {common} BETWEEN 0 AND {1 << 40}"
        f" AND {PRICE_SCALE} // {common} <= {_FINEST}"
    )
    return (
        f"CASE WHEN {fits} THEN CAST({digits} // {common} AS BIGINT) ELSE 0 END AS parts,"
        f" CASE WHEN {fits} THEN CAST({PRICE_SCALE} // {common} AS BIGINT) ELSE 1 END AS scale,"
        f" CASE WHEN {fits} THEN {_ROOM} // (2 * parts + 1) ELSE -1 END AS room"
    )


def misrounded_sql(cost: str, digits: str, price: str) -> str:
    """Return SQL: a cost in printed digits is not `cost_of` quantity and price.

    The quantity is in digits, the price a decimal beside its `fraction_sql`; null without price.
    """
    off = f"{digits} * (2 * parts) + scale - {cost} * (2 * scale)"
    return (
        f"CASE WHEN {digits} BETWEEN 0 AND room AND {cost} BETWEEN 0 AND {_COSTS}"
        f" THEN {off} NOT BETWEEN 0 AND 2 * scale - 1"
        f" ELSE {cost} <> {_half_up(f'CAST({digits} AS HUGEINT) * {digits_sql(price)}')} END"
    )


def _half_up(scaled: str) -> str:
    """Divide by the scale, half away from zero (what HALF_UP means for a refund, too)."""
    half = PRICE_SCALE // 2
    return f"(sign({scaled}) * ((abs({scaled}) + {half}) // {PRICE_SCALE}))"
