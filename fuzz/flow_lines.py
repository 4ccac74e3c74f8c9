"""Compare the reader with the reference on many damaged lines: `python -m fuzz.flow_lines N`."""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.sources.mutate import NAMES, line
from tests.sources.reference import expected

from flowcost.sources.discover import describe
from flowcost.sources.kernel import Kernel
from flowcost.sources.knowledge import Knowledge

FILE = 5000


def check(kernel: Kernel, path: Path, lines: list[str]) -> None:
    """Read `lines` with both readers; raise AssertionError with the seed's lines if they differ."""
    path.write_text(" ".join(NAMES) + "\n" + "\n".join(lines) + "\n", encoding="utf-8")
    file = describe(path.as_posix(), path, size=path.stat().st_size, version="1")
    assert file is not None
    partial = kernel.partial(file)
    fates, sizes = expected(lines, NAMES)
    found: Counter[tuple[int, str]] = Counter()
    for row in partial.table.select(["window_start", "direction", "bytes"]).to_pylist():
        found[int(row["window_start"].timestamp()), row["direction"]] += row["bytes"]
    counted = {fate: tally.rows for fate, tally in partial.report.fates.items()}
    assert partial.report.error == "", partial.report.error
    assert counted == dict(fates), (counted, dict(fates))
    assert +found == +sizes


def main() -> None:
    """Check as many lines as asked for, in files of `FILE`."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    kernel = Kernel(Knowledge())
    with tempfile.TemporaryDirectory() as folder:
        for number in range(0, wanted, FILE):
            draw = random.Random(f"{seed}-{number}")
            try:
                check(kernel, Path(folder) / "a.log", [line(draw) for _ in range(FILE)])
            except AssertionError as error:
                sys.exit(f"file {number // FILE} of seed {seed}: {error}")
    kernel.close()
    print(f"{wanted} lines, no difference")


if __name__ == "__main__":
    main()
