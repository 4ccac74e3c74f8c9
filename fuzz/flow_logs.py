"""Compare the reader with the reference on damaged files: `python -m fuzz.flow_logs N [SEED]`.

Every file is in a format, form of delivery and state of damage of its own drawing. Files of one
format are read together, as a run reads small files.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

from tests.sources.compare import Batch, DifferenceError, kernel

TOGETHER = 400  # files of one format
LINES = 8


def main() -> None:
    """Check as many files as asked for."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    reader, begun, rows = kernel(), time.monotonic(), 0
    for done in range(0, wanted, TOGETHER):
        draw = random.Random(f"{seed}-{done}")
        with tempfile.TemporaryDirectory(prefix="flowcost-fuzz-") as folder:
            batch = Batch(draw)
            for _ in range(min(TOGETHER, wanted - done)):
                batch.add(draw, LINES)
            try:
                rows += batch.check(reader, Path(folder)).total()
            except DifferenceError as error:
                sys.exit(f"files from {done} of seed {seed}, fields {batch.names}:\n{error}")
        if done % (TOGETHER * 25) == 0:
            print(f"{done:>9} files, {rows} rows, {time.monotonic() - begun:.0f} s", flush=True)
    reader.close()
    print(f"{wanted} files with {rows} rows, no difference")


if __name__ == "__main__":
    main()
