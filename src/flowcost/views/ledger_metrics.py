"""The ledger as metrics: the largest of each kind and the rest in `(other)`, so that sums hold.

A ledger answers many scrapes from one reading: it is read again when its hours have changed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from typing import Any

from msgspec.structs import replace
from prometheus_client.core import Metric

from flowcost import clock
from flowcost.ledger import Ledger
from flowcost.ledger.levels import Detail
from flowcost.ledger.query import OTHER, Selection, costs, opened
from flowcost.ledger.reread import reread
from flowcost.ledger.state import state
from flowcost.ledger.totals import totals
from flowcost.views import series
from flowcost.views.answers import Answers

TOP = 100  # of each kind; the rest is one
SOURCES = 50
_ASKERS = 32  # whose last reading is kept
_NOBODY = "(none)"
_KEYS = tuple(keys[0] for _, keys in series.DIMENSIONS.values() if len(keys) == 1)
_MONEY = list(series.MEASURES).index("list_cost_usd")
_COARSE = Detail(frozenset())


class LedgerMetrics:
    """Reads a ledger for `/metrics`; may be asked from several threads."""

    def __init__(self, ledger: Ledger, now: Callable[[], datetime]) -> None:
        self.ledger = ledger
        self._now = now
        self._answers = Answers(_ASKERS)

    def families(self, selection: Selection, closed_until: datetime | None) -> tuple[Metric, ...]:
        """Return the ledger's metrics for one tenant, as far as `selection.within` lets see."""
        tenant, now = selection.tenant or "", self._now()
        start, end = _windows(now)["month"]

        def read() -> tuple[Metric, ...]:
            return (
                *self._sums(selection, now),
                *self._shares(selection, now),
                self._rates(selection, now),
                *self._hours(tenant, closed_until),
            )

        question = selection, end, closed_until, state(self.ledger, start, tenant=tenant)
        return self._answers.of(question, read)

    def _sums(self, selection: Selection, now: datetime) -> Iterator[Metric]:
        """Yield every cut of both windows; one question finds all but the conversations."""
        for window, (start, end) in _windows(now).items():
            chosen = replace(selection, start=start, end=end)
            rows = costs(self.ledger, chosen, by=_KEYS).rows
            for noun in series.NOUNS[window]:
                labels, keys = series.DIMENSIONS[noun]
                cut = (
                    _largest(rows, _KEYS.index(keys[0]))
                    if len(keys) == 1
                    else costs(self.ledger, chosen, by=keys, limit=TOP).rows
                )
                for place, one in enumerate(series.ledger_series(window, noun)):
                    yield one.family(_sample(selection, row, len(labels), place) for row in cut)

    def _shares(self, selection: Selection, now: datetime) -> Iterator[Metric]:
        start, end = _windows(now)["day"]
        day = totals(self.ledger, replace(selection, start=start, end=end))
        for one, part in (
            (series.UNKNOWN, day.unknown_bytes),
            (series.UNATTRIBUTED, day.bytes - day.attributed_bytes),
        ):
            share = [((selection.tenant or "",), Fraction(part, day.bytes))] if day.bytes else []
            yield one.family(share)

    @reread
    def _rates(self, selection: Selection, now: datetime) -> Metric:
        """Return since when each source of this month's rates was not read again."""
        start, end = _windows(now)["month"]
        with opened(self.ledger, replace(selection, start=start, end=end), _COARSE) as con:
            rows = con.execute(
                "SELECT book, source_url, min(checked_on) FROM rates GROUP BY ALL"
                f" ORDER BY 3, 1, 2 LIMIT {SOURCES}"
            ).fetchall()
        return series.RATE_CHECKED.family(
            (
                (selection.tenant or "", book, url),
                seconds(datetime.combine(checked, time(), tzinfo=UTC)),
            )
            for book, url, checked in rows
        )

    def _hours(self, tenant: str, closed_until: datetime | None) -> Iterator[Metric]:
        counts: Counter[tuple[str, str]] = Counter()
        hours = [manifest.partition for manifest in self.ledger.manifests(tenant=tenant)]
        for each in hours:
            closed = closed_until is not None and each.hour < closed_until
            counts[each.cluster or _NOBODY, "closed" if closed else "open"] += 1
        yield series.HOURS.family(((tenant, *key), count) for key, count in sorted(counts.items()))
        # Of a pruned day only its roll-up is left.
        oldest = self.ledger.shelves.chosen(None, None, tenant=tenant, detail=_COARSE)
        since = [min(held.partition.hour for held in oldest)] if oldest else []
        until = [max(each.hour for each in hours) + clock.HOUR] if hours else []
        for one, instants in ((series.SINCE, since), (series.UNTIL, until)):
            yield one.family(((tenant,), seconds(instant)) for instant in instants)


def _largest(rows: Iterable[tuple[Any, ...]], place: int) -> list[tuple[Any, ...]]:
    """Return the sums by the key at `place`: the dearest, and the rest as `(other)`."""
    sums: defaultdict[Any, list[int]] = defaultdict(lambda: [0] * len(series.MEASURES))
    for row in rows:
        sums[row[place]] = [a + b for a, b in zip(sums[row[place]], row[len(_KEYS) :], strict=True)]
    ranked = sorted(sums.items(), key=lambda each: (-each[1][1], -each[1][0], each[0]))
    found = [(key, *numbers) for key, numbers in ranked[:TOP]]
    rest = [sum(column) for column in zip(*(n for _, n in ranked[TOP:]), strict=True)]
    return [*found, (OTHER, *rest)] if any(rest) else found


def _sample(selection: Selection, row: tuple[Any, ...], labels: int, place: int) -> series.Sample:
    names = (selection.tenant or "", *(str(value or _NOBODY) for value in row[:labels]))
    number = row[labels + place]
    return names, series.usd(number) if place == _MONEY else number


def _windows(now: datetime) -> dict[str, tuple[datetime, datetime]]:
    end = clock.hour_of(now) + clock.HOUR
    month = datetime.combine(clock.month_of(now), time(), tzinfo=UTC)
    return {"day": (end - clock.DAY, end), "month": (month, end)}


def seconds(instant: datetime) -> int:
    """Return an instant as whole seconds since 1970."""
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
