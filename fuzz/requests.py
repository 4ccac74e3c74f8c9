"""Ask a whole server bent requests: `python -m fuzz.requests N [SEED]`.

It must not fail (5xx, except 503 with Retry-After), not grow, and tell nobody what is another's.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from pathlib import Path

from tests.api.bent import ask


def main() -> None:
    """Ask as many requests as wanted, and say what came back."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    logging.basicConfig(level=logging.ERROR)
    begun = time.monotonic()

    def tell(done: int, resident: int, statuses: dict[int, int], wrong: int) -> None:
        seconds = time.monotonic() - begun
        print(f"{done:>7} in {seconds:5.0f} s, {resident >> 20} MiB, {wrong} wrong, {statuses}")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory() as folder:
        statuses, wrong = ask(Path(folder), wanted, seed, tell)
    for number, sent, what in wrong[:20]:
        print(f"request {number} of seed {seed}: {what}\n  {sent}")
    if wrong:
        sys.exit(f"{len(wrong)} of {wanted} are wrong")
    print(f"{wanted} requests, none wrong: {dict(sorted(statuses.items()))}")


if __name__ == "__main__":
    main()
