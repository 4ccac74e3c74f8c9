"""Which hours of flow logs need attribution, and from what."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from flowcost import clock
from flowcost.clock import HOUR
from flowcost.ledger import Input, Ledger, Partition
from flowcost.pipeline.agent_shelf import AGENTS, AgentShelf, Index
from flowcost.pipeline.shelf import Entry, Shelf
from flowcost.sources.kernel import Options

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Hours are attributed together up to this many flow aggregates, which bounds memory.
BATCH = 1_500_000


class Settings(Struct, frozen=True, kw_only=True):
    """What the operator chose.

    `start` and `end` bound the hours that are attributed, half-open; `again` attributes hours
    anew, and reads the given files again, although they have not changed (a better inventory,
    another book). `memory` is the engine's limit.
    """

    options: Options
    start: datetime | None = None
    end: datetime | None = None
    tiering: str = "marginal"
    assume_provider: str = "aws"  # VPC and transit gateway flow logs are AWS's
    memory: str = "512MB"
    again: bool = False


class Work:
    """Which hours need attribution, and from what."""

    def __init__(self, shelf: Shelf, ledger: Ledger, settings: Settings) -> None:
        self.shelf, self.ledger, self.settings = shelf, ledger, settings
        self.agents = AgentShelf(ledger.root)
        self.kept_from = ledger.shelves.retired().kept_from
        by_hour = shelf.by_hour()
        self.hours = {hour: by_hour[hour] for hour in by_hour if hour >= self.kept_from}
        start, end = settings.start, settings.end
        self.dirty = [
            hour
            for hour, entries in self.hours.items()
            if (start is None or hour >= clock.hour_of(start))
            and (end is None or hour < end)
            and (settings.again or self._changed(hour, entries))
        ]
        self.settled = [hour for hour in self.dirty if self._is_settled(hour)]
        self.dirty = [hour for hour in self.dirty if hour not in self.settled]

    def partition(self, hour: datetime) -> Partition:
        """Return the ledger's partition of an hour of flow logs."""
        return Partition(self.settings.options.tenant, "", hour)

    def seen_by_agents(self, hour: datetime) -> Index | None:
        """Return what agents posted for an hour, None if nothing."""
        return self.agents.index(self.settings.options.tenant, hour)

    def _is_settled(self, hour: datetime) -> bool:
        """Return whether an hour was made from segments that are gone: it cannot be made again."""
        tenant = self.settings.options.tenant
        if hour >= self.agents.dropped_before(tenant) or self.seen_by_agents(hour) is not None:
            return False
        made = self.ledger.manifests(hour, hour + HOUR, tenant=tenant)
        return any(one.name == AGENTS for manifest in made for one in manifest.inputs)

    def inputs(self, partition: Partition) -> list[Input]:
        """Return the files that an hour is made from."""
        return [entry.input for entry in self.hours[partition.hour]]

    def batches(self) -> Iterator[list[datetime]]:
        """Yield runs of dirty hours that fit in memory together."""
        batch: list[datetime] = []
        flows = 0
        for hour in self.dirty:
            size = sum(entry.hours[int(hour.timestamp())] for entry in self.hours[hour])
            if batch and flows + size > BATCH:
                yield batch
                batch, flows = [], 0
            batch.append(hour)
            flows += size
        if batch:
            yield batch

    def _changed(self, hour: datetime, entries: Sequence[Entry]) -> bool:
        expected = [entry.input for entry in entries]
        index = self.seen_by_agents(hour)
        if index is None:
            manifest = self.ledger.manifest(self.partition(hour))
            return manifest is None or list(manifest.inputs) != sorted(expected)
        expected.append(index.input)
        found = self.ledger.manifests(hour, hour + HOUR, tenant=index.tenant)
        return not found or any(list(one.inputs) != sorted(expected) for one in found)

    def entries(self, hours: Sequence[datetime]) -> Collection[Entry]:
        """Return the files that have flows in some of the hours."""
        return {entry.key: entry for hour in hours for entry in self.hours[hour]}.values()

    def view(self, con: DuckDBPyConnection, hours: Sequence[datetime]) -> None:
        """Create the view `logged`: the flows of all partials in some hours, in their order."""
        source = self.shelf.relation(self.entries(hours))
        wanted = ", ".join(f"TIMESTAMP '{hour:%Y-%m-%d %H:%M:%S}'" for hour in hours)
        first, last = (f"TIMESTAMP '{edge:%Y-%m-%d %H:%M:%S}'"
                       for edge in (hours[0], hours[-1] + HOUR))  # fmt: skip
        con.execute(
            f"CREATE OR REPLACE TEMP VIEW logged AS SELECT * FROM {source}"
            f" WHERE window_start >= {first} AND window_start < {last}"
            f" AND date_trunc('hour', window_start) IN ({wanted})"
        )
