"""The product's answer to a scenario folder, in the oracle's terms."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import duckdb

from flowcost import money
from flowcost.pipeline import scenario
from flowcost.price import RateBook

from .book import Charge, Expected

BEYOND = "beyond the gateway: "
CHARGES = """
SELECT path, usage_type, operation, payer_account, resource_id, direction, leg, provenance,
       sum(quantity)::HUGEINT, sum(list_cost)::DECIMAL(38, 0), unit,
       list_cost IS NULL AS unpriced
FROM charges GROUP BY ALL
"""


@dataclass(frozen=True)
class Answer:
    """What the product charges, and what it relied on."""

    expected: Expected
    rules: frozenset[str]
    rates: frozenset[tuple]  # (usage type, operation, region, second region, tier start, since)


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def answer(folder: Path, rates: RateBook | None = None) -> Answer:
    """Run the pipeline over `folder` and read its ledger."""
    with scenario.run(scenario.load(folder), rates) as outcome:
        con = _connection()
        outcome.ledger.attach(con)
        rows = con.execute(CHARGES).fetchall()
        carried = con.execute("SELECT coalesce(sum(bytes), 0)::HUGEINT FROM charges").fetchall()
        verdicts = con.execute(
            "SELECT rule, evidence FROM verdicts WHERE verdict_id IN"
            " (SELECT verdict_id FROM charges)"
        ).fetchall()
        used = con.execute(
            "SELECT usage_type, operation, region, to_region, tier_from::HUGEINT, effective_from"
            " FROM rates WHERE rate_id IN (SELECT rate_id FROM charges)"
        ).fetchall()
    charges = []
    for *words, quantity, cost, unit, _ in rows:
        assert unit == "bytes"
        amount = None if cost is None else Fraction(int(cost), money.ONE)
        charges.append(Charge(*words, int(quantity), amount))
    rules = {rule for rule, _ in verdicts} | {
        line.removeprefix(BEYOND)
        for _, evidence in verdicts
        for line in evidence
        if line.startswith(BEYOND)
    }
    return Answer(summed(int(carried[0][0]), charges), frozenset(rules), frozenset(used))


def summed(carried: int, charges: list[Charge]) -> Expected:
    """Return charges with their totals, in one order."""
    zero = Fraction(0)
    return Expected(
        bytes=carried,
        unpriced_bytes=sum(one.quantity for one in charges if one.cost is None),
        observed_cost=sum(
            (one.cost or zero for one in charges if one.provenance == "observed"), zero
        ),
        account_cost=sum((one.cost or zero for one in charges), zero),
        charges=tuple(sorted(charges, key=str)),
    )


def difference(expected: Expected, found: Expected) -> str:
    """Return what differs, line by line; empty if nothing does."""
    lines = [
        f"{name}: expected {getattr(expected, name)}, found {getattr(found, name)}"
        for name in ("bytes", "unpriced_bytes", "observed_cost", "account_cost")
        if getattr(expected, name) != getattr(found, name)
    ]
    wanted, given = set(expected.charges), set(found.charges)
    lines += [f"missing:  {one}" for one in sorted(wanted - given, key=str)]
    lines += [f"not due:  {one}" for one in sorted(given - wanted, key=str)]
    if len(given) != len(found.charges):
        lines.append("a charge stands twice")
    return "\n".join(lines)
