"""A few hundred random worlds: the product and the oracle must agree on every line."""

from __future__ import annotations

import os

import pytest

from . import worlds
from .book import derive
from .engine import answer, difference
from .world import read

# FLOWCOST_WORLDS=5000 for a long night.
COUNT = int(os.environ.get("FLOWCOST_WORLDS", "240"))


@pytest.mark.parametrize("first", range(0, COUNT, 20))
def test_random_worlds_cost_what_the_oracle_derives(first, tmp_path):
    for seed in range(first, min(first + 20, COUNT)):
        folder = worlds.write(seed, tmp_path)
        differs = difference(derive(read(folder)), answer(folder)[0])
        assert not differs, f"seed {seed}\n{differs}"
