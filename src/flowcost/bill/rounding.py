"""The provider's rounding: a bill line is rounded twice, in this order.

AWS prints `quantity = round(bytes / 2**30, 10 places)` and charges
`cost = round_half_up(printed quantity * price, 10 places)`. Found on the public FOCUS sample bill
of 2024-09 (FinOps-Open-Cost-and-Usage-Spec/FOCUS-Sample-Data): 276 of 276 priced network lines
obey, 269 if the cost is taken from unrounded bytes. The step is far below a byte, so the metered
bytes come back exactly. Costs here are counted in printed digits, whole numbers of 10**-10.
"""

from __future__ import annotations

import math
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


# 2**30 / 10**10 = _TIMES / _PER, so that a GiB's bytes stay within 64 bits.
_TIMES, _PER = GIB // math.gcd(GIB, PRICE_SCALE), PRICE_SCALE // math.gcd(GIB, PRICE_SCALE)
_ROOM = 1 << 62


def bytes_sql(digits: str, unit_bytes: str) -> str:
    """Return SQL of `bytes_of`, from a quantity in printed digits."""
    rest = f"{digits} % {PRICE_SCALE} * {2 * _TIMES} + {_PER}"
    return (
        f"CASE WHEN {unit_bytes} = {GIB} AND {digits} >= 0"
        f" THEN CAST({digits} // {PRICE_SCALE} * {GIB} + ({rest}) // {2 * _PER} AS BIGINT)"
        f" ELSE CAST({_half_up(f'CAST({digits} AS HUGEINT) * {unit_bytes}')} AS BIGINT) END"
    )


def fractional_sql(digits: str, unit_bytes: str) -> str:
    """Return SQL: a quantity that no whole number of bytes prints as; half a digit is rounding."""
    rest = f"({digits} % {PRICE_SCALE} * {_TIMES} % {_PER})"
    slow = f"abs(CAST({digits} AS HUGEINT) * {unit_bytes}) % {PRICE_SCALE}"
    return (
        f"CASE WHEN {unit_bytes} = {GIB} AND {digits} >= 0"
        f" THEN {rest} BETWEEN {_TIMES // 2 + 1} AND {_PER - _TIMES // 2 - 1}"
        f" ELSE least({slow}, {PRICE_SCALE} - {slow}) > {unit_bytes} // 2 + 1 END"
    )


def fraction_sql(price: str) -> str:
    """Return SQL of a price as a reduced fraction, and up to which digits it fits 64 bits.

    Three columns, `parts`, `scale` and `room`; `room` is -1 where there is no such fraction.
    """
    digits = digits_sql(price)
    common = f"gcd({digits}, {PRICE_SCALE}::HUGEINT)"
    fits = f"{price} IS NOT NULL AND {digits} // {common} BETWEEN 0 AND {1 << 40}"
    return (
        f"CASE WHEN {fits} THEN CAST({digits} // {common} AS BIGINT) ELSE 0 END AS parts,"
        f" CASE WHEN {fits} THEN CAST({PRICE_SCALE} // {common} AS BIGINT) ELSE 1 END AS scale,"
        f" CASE WHEN {fits} THEN {_ROOM} // (2 * parts + 1) ELSE -1 END AS room"
    )


def misrounded_sql(cost: str, digits: str, price: str) -> str:
    """Return SQL: a cost in printed digits is not `cost_of` quantity and price.

    The quantity is in digits, the price a decimal beside its `fraction_sql`; null without price.
    """
    return (
        f"CASE WHEN {digits} BETWEEN 0 AND room"
        f" THEN {cost} <> ({digits} * 2 * parts + scale) // (2 * scale)"
        f" ELSE {cost} <> {_half_up(f'CAST({digits} AS HUGEINT) * {digits_sql(price)}')} END"
    )


def _half_up(scaled: str) -> str:
    """Divide by the scale, half away from zero (what HALF_UP means for a refund, too)."""
    half = PRICE_SCALE // 2
    return f"(sign({scaled}) * ((abs({scaled}) + {half}) // {PRICE_SCALE}))"
