"""A question that is asked while an hour is rewritten is asked again.

Rewriting replaces a manifest and deletes the files of the one before. A reader that has listed
those, and not opened them yet, finds them gone; listed anew, the hour is there, whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

TIMES = 8
_PAUSE_MS = 20


def reread(ask: Callable[P, T]) -> Callable[P, T]:
    """Let `ask`, which reads the ledger and changes nothing, see files vanish and ask again."""

    @wraps(ask)
    def asked(*args: P.args, **kwargs: P.kwargs) -> T:
        import duckdb  # noqa: PLC0415 - 60 ms that `--help` does not need

        for attempt in range(TIMES - 1):
            try:
                return ask(*args, **kwargs)
            except duckdb.IOException:
                time.sleep(timedelta(milliseconds=_PAUSE_MS << attempt).total_seconds())
        return ask(*args, **kwargs)

    return asked
