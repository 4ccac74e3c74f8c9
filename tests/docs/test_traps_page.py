"""docs/traps.md: every trap is there, and every proof it names exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "traps.md").read_text()
SCENARIOS = ROOT / "src" / "flowcost" / "scenarios"
ENTRIES = {
    int(number): " ".join(text.split())
    for number, text in re.findall(r"^\*\*(\d+)\. (.*?)\n\n", PAGE, re.M | re.S)
}
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.M)
}


def test_all_fifty_five_traps_are_told():
    assert sorted(ENTRIES) == list(range(1, 56))


@pytest.mark.parametrize("number", ENTRIES)
def test_an_entry_has_a_source_and_a_proof_or_an_owner(number):
    text = ENTRIES[number]
    links = re.findall(r"\[([^\]]+)\]", text)
    assert links
    assert [link for link in links if f"\n[{link}]: https://" not in PAGE] == []
    assert "Proof: `" in text or "Room: " in text


@pytest.mark.parametrize("number", ENTRIES)
def test_every_proof_exists(number):
    named = re.findall(r"`([^`]+)`", ENTRIES[number])
    missing = [
        name
        for name in named
        if name not in TESTS and not (SCENARIOS / name / "scenario.toml").is_file()
    ]
    assert missing == []


def test_every_trap_that_a_scenario_claims_is_on_the_page():
    claimed = {
        number
        for path in SCENARIOS.glob("*/scenario.toml")
        for number in tomllib.loads(path.read_text()).get("traps", ())
    }
    assert claimed <= set(ENTRIES)
    assert len(claimed) > 35
