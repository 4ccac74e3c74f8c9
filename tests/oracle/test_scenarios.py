"""Every scenario folder, three times over: the file, the oracle, the product.

And the proof that the comparison bites: each rule of the product's table is altered, on that side
only, and must be noticed. `test_altered_rates` does the same with prices, on either side.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from pathlib import Path

import msgspec
import pytest

from flowcost.classify import aws
from flowcost.model import Facts, Meter
from flowcost.model import Path as BillingPath

from .book import derive
from .engine import Answer, answer, difference
from .world import read
from .write import text_of

FOLDER = Path(__file__).parents[2] / "src" / "flowcost" / "scenarios"
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/scenario.toml"))
# Rows that only say why, or how surely: without them a later row charges the same.
EXPLANATORY = {"aws.global_accelerator", "aws.ipv6.other_vpc"}


@cache
def answered(name: str) -> Answer:
    return answer(FOLDER / name)


@cache
def derived(name: str):
    return derive(read(FOLDER / name))


@pytest.mark.parametrize("name", NAMES)
def test_the_oracle_derives_what_the_folder_expects(name):
    expected = (FOLDER / name / "expected.toml").read_text()
    assert expected == text_of(derived(name)), "review the figures, then run python -m tests.oracle"


@pytest.mark.parametrize("name", NAMES)
def test_the_product_charges_what_the_oracle_derives(name):
    differs = difference(derived(name), answered(name).expected)
    assert not differs, f"{name}\n{differs}"


def test_every_rule_of_the_table_decides_some_scenario():
    decided = {rule for name in NAMES for rule in answered(name).rules}
    assert [rule.id for rule in aws.RULES if rule.id not in decided] == []


def _always(facts: Facts) -> tuple[Meter, ...]:
    return (Meter(usage_type="NatGateway-Bytes", operation="NatGateway", region="us-east-1"),)


def mutants() -> list[tuple[str, aws.Rule, aws.Rule | None]]:
    """Return (what was done, rule, altered rule or None if it is gone)."""
    day = timedelta(days=1)
    found = []
    for rule in aws.RULES:
        other = BillingPath.SAME_ZONE if rule.path is BillingPath.UNKNOWN else BillingPath.UNKNOWN
        found.append(("path", rule, msgspec.structs.replace(rule, path=other)))
        if rule.priced:
            fewer = rule.meters[:-1] if rule.meters else (_always,)
            found.append(("meters", rule, msgspec.structs.replace(rule, meters=fewer)))
        else:
            found.append(("priced", rule, msgspec.structs.replace(rule, priced=True)))
        if rule.id not in EXPLANATORY and rule is not aws.RULES[-1]:
            found.append(("gone", rule, None))
        if rule.since != aws.RULES[-1].since:
            found.append(("since", rule, msgspec.structs.replace(rule, since=rule.since + day)))
        if rule.until != aws.RULES[-1].until:
            found.append(("until", rule, msgspec.structs.replace(rule, until=rule.until - day)))
    return found


@pytest.mark.parametrize(
    ("rule", "altered"),
    [pytest.param(rule, altered, id=f"{rule.id}-{what}") for what, rule, altered in mutants()],
)
def test_an_altered_rule_of_the_product_is_noticed(rule, altered, monkeypatch):
    decided = _nearest(name for name in NAMES if rule.id in answered(name).rules)
    table = tuple(altered if row is rule else row for row in aws.RULES)
    monkeypatch.setattr(aws, "RULES", tuple(row for row in table if row is not None))
    assert any(difference(derived(name), answer(FOLDER / name).expected) for name in decided)


def _nearest(names) -> list[str]:
    """The smallest folders first: most mutants die in the first."""
    return sorted(names, key=lambda name: len((FOLDER / name / "flows.csv").read_bytes()))
