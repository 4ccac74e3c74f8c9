"""Time enters here: UTC, half-open intervals, integer seconds at the edges."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

# Flows outside this range are a broken clock, not history: VPC flow logs began in 2015 and a
# record cannot come from the future. The upper bound leaves room for long-lived test fixtures.
EARLIEST = datetime(2010, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """Return the current UTC time; the only call to the wall clock in the package."""
    return datetime.now(UTC)


def parse(text: str) -> datetime:
    """Return the UTC instant of an ISO 8601 text; a text without offset is UTC.

    Raises:
        ValueError: the text is not ISO 8601.
    """
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def hour_of(instant: datetime) -> datetime:
    """Return the start of the UTC hour that holds `instant`."""
    return instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def day_of(instant: datetime) -> datetime:
    """Return the start of the UTC day that holds `instant`."""
    return hour_of(instant).replace(hour=0)


def seconds_of_hour_left() -> float:
    """Return the seconds until the next UTC hour begins, above 0."""
    present = now()
    return (hour_of(present) + HOUR - present).total_seconds()


def month_of(instant: datetime) -> date:
    """Return the first day of the UTC calendar month that holds `instant`."""
    return instant.astimezone(UTC).date().replace(day=1)


def iso(instant: datetime) -> str:
    """Return `instant` as `2026-11-20T13:00:00Z`."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
