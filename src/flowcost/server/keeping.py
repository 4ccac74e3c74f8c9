"""What the ledger keeps: closed hours are rolled up, hours and days outlive their time and go.

Runs in a thread of its own, seldom and unhurried: a question never waits for it, because what is
not rolled up yet is answered from the hours.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from flowcost import clock
from flowcost.errors import FlowcostError
from flowcost.ledger import Ledger
from flowcost.ledger.retention import prune
from flowcost.ledger.rollup import roll_up
from flowcost.server.settings import Retention

LOG = logging.getLogger("flowcost.server")
EVERY = timedelta(minutes=10)


class Keeping:
    """The upkeep of one ledger; `keep` is one pass.

    Ages are counted from the newest hour in the ledger or from now, whichever is earlier: a clock
    that jumps ahead prunes nothing.
    """

    def __init__(
        self,
        ledger: Ledger,
        retention: Retention,
        *,
        lateness: timedelta,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self._ledger, self._retention = ledger, retention
        self._lateness, self._now = lateness, now
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeping", daemon=True)
        self.trouble = ""

    def start(self) -> None:
        """Begin to pass."""
        self._thread.start()

    def close(self) -> None:
        """Finish the day at hand and stop."""
        self._stop.set()
        self._thread.join()

    def keep(self) -> None:
        """Roll up what has closed, then drop what is too old.

        Raises:
            LedgerError: a partition cannot be read or written; what was done stands.
        """
        now = self._now()
        closed = clock.hour_of(now - self._lateness)
        roll_up(self._ledger, closed_before=closed, stopped=self._stop.is_set)
        held = self._ledger.shelves.hours.held()
        if held and not self._stop.is_set():
            newest = max(one.partition.hour for one in held) + clock.HOUR
            edge, days = min(now, newest), self._retention.days
            prune(
                self._ledger,
                hours_before=edge - self._retention.hours,
                days_before=edge - days if days else None,
            )

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            pause = EVERY.total_seconds()
            try:
                self.keep()
                self.trouble = ""
            except (FlowcostError, OSError) as error:
                if str(error) != self.trouble:
                    LOG.error("upkeep of the ledger: %s", error)  # noqa: TRY400 - for the operator
                self.trouble = str(error)
            except Exception:
                self.trouble = "upkeep of the ledger failed; see the log"
                LOG.exception("upkeep of the ledger failed; the next pass tries again")
