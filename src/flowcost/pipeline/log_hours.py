"""Flow logs that `flowcost run` has read beside a ledger, by the hour."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from flowcost.pipeline.hour import NO_LOGS, Logs
from flowcost.pipeline.overlap import formats_of
from flowcost.pipeline.shelf import Entry, Shelf, folder_of


def logs_of(shelf: Shelf, entries: Sequence[Entry], assume_provider: str) -> Logs:
    """Return what an hour is made of beside segments."""
    return Logs(
        flows=shelf.relation(entries),
        inputs=tuple(sorted(entry.input for entry in entries)),
        formats=formats_of(entry.report for entry in entries),
        assume_provider=assume_provider if entries else "",
    )


class LogHours:
    """The shelf of flow logs of one ledger, looked at again when it has changed."""

    def __init__(self, ledger: Path, *, assume_provider: str = "aws") -> None:
        self._folder = folder_of(ledger)
        self._provider = assume_provider
        self._changed = 0
        self._shelf: Shelf | None = None
        self._hours: dict[datetime, list[Entry]] = {}

    def look(self) -> None:
        """Read the shelf again if it has changed."""
        try:
            changed = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if changed != self._changed:
            self._shelf = Shelf(self._folder)
            self._hours = self._shelf.by_hour()
            self._changed = changed

    def of(self, hour: datetime) -> Logs:
        """Return the partials that have flows in `hour`."""
        entries = self._hours.get(hour, ())
        return logs_of(self._shelf, entries, self._provider) if self._shelf else NO_LOGS
