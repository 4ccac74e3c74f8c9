"""The provider's rounding: a bill line is rounded twice, in this order.

AWS prints `quantity = round(bytes / 2**30, 10 places)` and charges
`cost = round_half_up(printed quantity * price, 10 places)`. Found on the public FOCUS sample bill
of 2024-09 (FinOps-Open-Cost-and-Usage-Spec/FOCUS-Sample-Data): 276 of 276 priced network lines
obey, 269 if the cost is taken from unrounded bytes. The step is far below a byte, so the metered
bytes come back exactly. Costs here are counted in printed digits, whole numbers of 10**-10.
"""

from __future__ import annotations

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


def bytes_sql(quantity: str, unit_bytes: str) -> str:
    """Return SQL of `bytes_of`."""
    return f"CAST({_half_up(f'{digits_sql(quantity)} * {unit_bytes}')} AS BIGINT)"


def cost_sql(quantity: str, price: str) -> str:
    """Return SQL of `cost_of`, as a HUGEINT count of printed digits."""
    return _half_up(f"{digits_sql(quantity)} * {digits_sql(price)}")


def _half_up(scaled: str) -> str:
    """Divide by the scale, half away from zero (what HALF_UP means for a refund, too)."""
    half = PRICE_SCALE // 2
    return f"(sign({scaled}) * ((abs({scaled}) + {half}) // {PRICE_SCALE}))"
