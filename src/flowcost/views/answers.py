"""Answers that are still true: what the ledger said of hours that have not changed since.

A reader goes down and up again, and many readers ask the same. An answer is kept under its
question and the state of the hours it is about, so a rewritten hour is asked anew, and a question
of another tenant or scope is another question.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")
MOST = 256  # answers, of at most a thousand rows each


class Answers:
    """The last `most` answers, safe to ask from several threads."""

    def __init__(self, most: int = MOST) -> None:
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._most = most
        self._lock = Lock()

    def of(self, question: Hashable, ask: Callable[[], T]) -> T:
        """Return the kept answer to `question`, or ask and keep it."""
        with self._lock:
            if question in self._kept:
                self._kept.move_to_end(question)
                known: T = self._kept[question]
                return known
        found = ask()
        with self._lock:
            self._kept[question] = found
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return found
