"""`expected.toml`: what a scenario must come out as, in a person's TOML."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path

from .book import Expected, derive
from .world import read


def money(amount: Fraction) -> str:
    """Return the exact decimal text of `amount`; every price per 2**30 bytes has one."""
    with localcontext() as context:
        context.prec = 100
        value = Decimal(amount.numerator) / Decimal(amount.denominator)
        if Fraction(value) != amount:
            raise ValueError(f"{amount} has no finite decimal expansion")
        text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def text_of(expected: Expected) -> str:
    """Return the TOML text of what is expected."""
    out = [
        "[total]",
        f"bytes = {expected.bytes}",
        f"unpriced_bytes = {expected.unpriced_bytes}",
        f'observed_cost = "{money(expected.observed_cost)}"',
        f'account_cost = "{money(expected.account_cost)}"',
    ]
    for one in expected.charges:
        out += [
            "",
            "[[charge]]",
            f'path = "{one.path}"',
            f'usage_type = "{one.usage_type}"',
            f'operation = "{one.operation}"',
            f'payer_account = "{one.payer_account}"',
            f'resource_id = "{one.resource_id}"',
            f'direction = "{one.direction}"',
            f'leg = "{one.leg}"',
            f'provenance = "{one.provenance}"',
            f"quantity = {one.quantity}",
            'unit = "bytes"',
        ]
        if one.cost is not None:
            out.append(f'list_cost = "{money(one.cost)}"')
    return "\n".join(out) + "\n"


def write(folder: Path) -> bool:
    """Write `expected.toml` of one folder; return whether it changed."""
    target = folder / "expected.toml"
    text = text_of(derive(read(folder)))
    if target.exists() and target.read_text() == text:
        return False
    target.write_text(text)
    return True
