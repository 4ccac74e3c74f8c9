"""Spans of time in which somebody held an address: what is left of them, and who had it at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

Span = tuple[datetime, datetime]

# Pods that have one address at once for longer than windows overlap do not follow each other.
SHARED = timedelta(minutes=1)


def without(spans: Iterable[Span], holes: Iterable[Span]) -> Iterator[Span]:
    """Yield the parts of `spans` that lie in none of `holes`."""
    ordered = sorted(holes)
    for start, end in spans:
        at = start
        for first, last in ordered:
            if first >= end:
                break
            if at < first:
                yield at, first
            at = max(at, last)
        if at < end:
            yield at, end


def at_once(holders: Sequence[Iterable[Span]]) -> bool:
    """Return whether two of `holders` had an address at once, and not only one after the other.

    Windows of who follows whom overlap a little; short spans may overlap by half.
    """
    spans = sorted((*span, holder) for holder, held in enumerate(holders) for span in held)
    latest: dict[int, tuple[datetime, timedelta]] = {}  # of each holder: end and length
    for start, end, holder in spans:
        for other, (until, length) in latest.items():
            both = min(end, until) - start
            if other != holder and both > min(SHARED, length // 2, (end - start) // 2):
                return True
        if holder not in latest or latest[holder][0] < end:
            latest[holder] = end, end - start
    return False
