"""A few hundred random worlds: the product and the oracle must agree on every line."""

from __future__ import annotations

import os

import pytest

from . import worlds
from .book import derive
from .engine import answer, difference
from .world import read

# FLOWCOST_WORLDS=5000 for a long night.
COUNT = int(os.environ.get("FLOWCOST_WORLDS", "320"))
TOGETHER = 16  # worlds to a run: most of a run is the engine's start


@pytest.mark.parametrize("first", range(0, COUNT, TOGETHER))
def test_random_worlds_cost_what_the_oracle_derives(first, tmp_path):
    seeds = range(first, min(first + TOGETHER, COUNT))
    if differs := differences(seeds, tmp_path):
        alone = {seed: differences([seed], tmp_path) for seed in seeds}
        shown = "\n".join(f"seed {seed}\n{text}" for seed, text in alone.items() if text)
        pytest.fail(shown or f"only together, seeds {seeds}\n{differs}")


def differences(seeds, folder) -> str:
    written = worlds.write(seeds, folder)
    return difference(derive(read(written)), answer(written).expected)
