"""Every scenario folder, three times over: the file, the oracle, the product."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from flowcost.classify import aws

from .book import Expected, derive
from .engine import answer, difference
from .world import read
from .write import text_of

FOLDER = Path(__file__).parents[2] / "src" / "flowcost" / "scenarios"
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/scenario.toml"))


@cache
def answered(name: str) -> tuple[Expected, set[str]]:
    return answer(FOLDER / name)


@pytest.mark.parametrize("name", NAMES)
def test_the_oracle_derives_what_the_folder_expects(name):
    expected = (FOLDER / name / "expected.toml").read_text()
    assert expected == text_of(derive(read(FOLDER / name))), (
        "review the figures, then run python -m tests.oracle"
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_product_charges_what_the_oracle_derives(name):
    found, _ = answered(name)
    differs = difference(derive(read(FOLDER / name)), found)
    assert not differs, f"{name}\n{differs}"


def test_every_rule_of_the_table_decides_some_scenario():
    decided = {rule for name in NAMES for rule in answered(name)[1]}
    assert [rule.id for rule in aws.RULES if rule.id not in decided] == []
