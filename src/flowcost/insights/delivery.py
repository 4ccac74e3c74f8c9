"""Deliveries: each signal to each destination, at least once, however long that takes.

A message stays in the outbox until its destination has taken it. An Alertmanager is told how
things stand instead of what happened, every round: it forgets what it is not told again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from flowcost.errors import FlowcostError
from flowcost.insights.destinations import (
    Alertmanager,
    Post,
    Signals,
    Slack,
    Webhook,
    alerts,
    ends_at,
    message,
)
from flowcost.insights.incidents import DestinationState
from flowcost.insights.signal_store import Delivery, SignalStore

if TYPE_CHECKING:
    import httpx2

_log = logging.getLogger(__name__)
_TIMEOUT_S = 10
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=10), timedelta(hours=1)
_TOLD_OVER = timedelta(minutes=15)  # how long an Alertmanager is told that an alert is over


class Outcome(Struct, frozen=True):
    """What became of a POST: `trouble` is empty if it was taken."""

    trouble: str = ""
    retry_after: timedelta = timedelta(0)


class Deliveries:
    """Empties the outbox, and keeps count."""

    def __init__(self, settings: Signals, store: SignalStore, now: Callable[[], datetime]) -> None:
        self.settings = settings
        self.store = store
        self.now = now
        self._messages = {each.name: each for each in settings.messages}
        self._counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
        self._troubles: dict[str, str] = {}
        self._client: httpx2.Client | None = None
        store.keep_only(list(self._messages))

    def to_tell(self, tenant: str) -> list[str]:
        """Return the destinations that get each signal of a tenant as a message."""
        return [name for name, to in self._messages.items() if to.tenant == tenant]

    def states(self, tenant: str) -> list[DestinationState]:
        """Return how the deliveries of a tenant's signals fare, by destination."""
        waiting = Counter(each.destination for each in self.store.waiting())
        return [
            DestinationState(
                name=each.name,
                waiting=waiting[each.name],
                delivered=self._counts[True][each.name],
                failed=self._counts[False][each.name],
                trouble=self._troubles.get(each.name, ""),
            )
            for each in (*self.settings.messages, *self.settings.alertmanagers)
            if each.tenant == tenant
        ]

    def deliver(self) -> None:
        """Make the deliveries that are due, and tell every Alertmanager how things stand."""
        for delivery in self.store.due(self.now()):
            to = self._messages[delivery.destination]
            outcome = self._told(to, partial(message, to, delivery.signal, self.now()))
            if outcome.trouble:
                pause = max(_pause(delivery), min(outcome.retry_after, _LONGEST_PAUSE))
                self.store.postpone(delivery, self.now() + pause, outcome.trouble)
            else:
                self.store.delivered(delivery)
        since = self.now() - _TOLD_OVER
        for manager in self.settings.alertmanagers:
            standing = [
                (incident, earlier)
                for incident, earlier in self.store.standing(manager.tenant, since)
                if ends_at(incident) >= since
            ]
            if standing:
                self._told(manager, partial(alerts, manager, standing))

    def _told(self, to: Webhook | Slack | Alertmanager, made: Callable[[], Post]) -> Outcome:
        try:
            outcome = self._send(made())
        except FlowcostError as error:  # a secret is not where it is said to be
            outcome = Outcome(error.message)
        except ValueError as error:
            outcome = Outcome(str(error))
        if outcome.trouble and outcome.trouble != self._troubles.get(to.name):
            _log.warning("signals to %s: %s", to.name, outcome.trouble)
        self._troubles[to.name] = outcome.trouble
        self._counts[not outcome.trouble][to.name] += 1
        return outcome

    def _send(self, post: Post) -> Outcome:
        """Make a POST; no trouble tells the address, which may be a secret."""
        import httpx2  # noqa: PLC0415 - 100 ms that a server without destinations does not need

        if self._client is None:
            # It would log every address, and some are secrets.
            logging.getLogger("httpx2").setLevel(logging.WARNING)
            logging.getLogger("httpcore2").setLevel(logging.WARNING)
            self._client = httpx2.Client(timeout=_TIMEOUT_S, follow_redirects=False)
        headers = {"content-type": "application/json", **post.headers}
        try:
            with self._client.stream(
                "POST", post.url, headers=headers, content=post.body
            ) as answer:  # its body is nothing to us, and might have no end
                if answer.is_success:
                    return Outcome()
                if answer.is_redirect:
                    return Outcome(f"HTTP {answer.status_code}: redirects are not followed")
                after = answer.headers.get("retry-after", "")
                seconds = int(after) if after.isdecimal() and len(after) < 7 else 0
                return Outcome(f"HTTP {answer.status_code}", timedelta(seconds=seconds))
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return Outcome(type(error).__name__)

    def close(self) -> None:
        """Close connections; what was not delivered waits in the outbox."""
        if self._client:
            self._client.close()


def _pause(delivery: Delivery) -> timedelta:
    """Return how long to wait after a failed attempt: ever longer, an hour at most."""
    return min(_FIRST_PAUSE * (1 << min(delivery.attempts, 20)), _LONGEST_PAUSE)
