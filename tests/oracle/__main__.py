"""`python -m tests.oracle [FOLDER]`: derive every `expected.toml` below FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from .write import write

DEFAULT = Path(__file__).parents[2] / "src" / "flowcost" / "scenarios"

for path in sorted(Path(sys.argv[1] if len(sys.argv) > 1 else DEFAULT).glob("*/scenario.toml")):
    if write(path.parent):
        sys.stdout.write(f"{path.parent.name}\n")
