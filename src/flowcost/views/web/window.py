"""The interval a question means, once it is known where the ledger begins and ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Struct

from flowcost import clock
from flowcost.ledger.levels import Retired
from flowcost.views.web.question import WHOLE, Question

PRESETS = (
    ("24h", "24 h"),
    ("7d", "7 days"),
    ("30d", "30 days"),
    ("month", "This month"),
    (WHOLE, "All"),
)
_UNITS = {"h": clock.HOUR, "d": clock.DAY}
_HOURLY = 8 * clock.DAY
_DAILY = 190 * clock.DAY


class Window(Struct, frozen=True, kw_only=True):
    """A half-open interval of whole UTC hours, the equal one before it, and how it is drawn."""

    start: datetime
    end: datetime
    before: datetime
    step: str

    @property
    def words(self) -> str:
        """Return the interval for people."""
        return f"{moment(self.start)} to {moment(self.end)} UTC"


def resolved(question: Question, span: tuple[datetime, datetime], retired: Retired) -> Window:
    """Return the interval of `question` over a ledger whose hours are `span`.

    Where hours were `retired` only days are left, so that is how they are drawn.
    """
    first, newest = span
    if question.last == "":
        start, end = question.start or first, question.end or newest
        end = max(end, start + clock.HOUR)
    elif question.last == WHOLE:
        start, end = first, newest
    elif question.last == "month":
        month = clock.month_of(newest - clock.HOUR)
        start, end = datetime(month.year, month.month, 1, tzinfo=UTC), newest
    else:
        length = int(question.last[:-1]) * _UNITS[question.last[-1]]
        start, end = newest - length, newest
        if length > _HOURLY:  # drawn by day: today and the days before it, whole
            start = clock.day_of(newest - clock.HOUR) + clock.DAY - length
    before = start - (end - start)
    if question.last == "month":
        last_month = clock.month_of(start - clock.HOUR)
        before = datetime(last_month.year, last_month.month, 1, tzinfo=UTC)
    return Window(
        start=start, end=end, before=before, step=_step(end - start, hours=not retired.has(start))
    )


def _step(span: timedelta, *, hours: bool) -> str:
    if hours and span <= _HOURLY:
        return "hour"
    return "day" if span <= _DAILY else "month"


def steps(window: Window) -> list[datetime]:
    """Return the start of every step in the interval, so that a gap shows as one."""
    found, at = [], window.start
    if window.step != "hour":
        at = at.replace(hour=0)
    if window.step == "month":
        at = at.replace(day=1)
    while at < window.end:
        found.append(at)
        at = following(at, window.step)
    return found


def following(at: datetime, step: str) -> datetime:
    """Return the start of the step after the one that starts at `at`."""
    if step == "month":
        return (at.replace(day=1) + timedelta(days=32)).replace(day=1)
    return at + (clock.HOUR if step == "hour" else clock.DAY)


def moment(instant: datetime) -> str:
    """Return an instant for people: `2 Nov 2026 10:00`; midnight is the day alone."""
    text = hour_of_day(instant)
    return text.removesuffix(" 00:00")


def hour_of_day(instant: datetime) -> str:
    """Return an hour for people: `2 Nov 2026 00:00`."""
    return f"{instant.day} {instant:%b %Y} {instant:%H:%M}"
