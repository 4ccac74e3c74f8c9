"""Costs by the minute: the hour attributed again, from its rows as they were posted.

A minute's bytes are decided and priced by the stages that made the hour, with the minute where a
flow names its source. So the minutes of an hour add up to what its agents observed in it, to the
last digit, and every question to a ledger can be asked of them.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from flowcost.clock import HOUR, hour_of
from flowcost.errors import UsageError
from flowcost.ledger import Ledger
from flowcost.ledger.query import Selection, Table, costs
from flowcost.pipeline.agent_shelf import AgentShelf, Index, scan
from flowcost.pipeline.attribute import attribute
from flowcost.pipeline.columns import columns_of
from flowcost.pipeline.hour import Engine, LayersFor, resolution_of
from flowcost.pipeline.world import World
from flowcost.price import RateBook
from flowcost.schema import FLOWS, Column

LONGEST = timedelta(hours=6)
MINUTE = Column("minute", "text", "start of the UTC minute")

_AS_POSTED = ", ".join(
    "strftime(window_start, '%Y-%m-%dT%H:%M:00Z') AS source"
    if column.name == "source"
    else column.name
    for column in FLOWS
)


class Minutes:
    """Answers for the hours of one shelf whose rows as posted are still kept."""

    def __init__(
        self, shelf: AgentShelf, engine: Engine, layers: LayersFor, rates: RateBook
    ) -> None:
        self._shelf, self._engine, self._layers, self._rates = shelf, engine, layers, rates
        self._one = threading.Lock()  # each question takes the engine's memory

    def costs(self, selection: Selection, by: Sequence[str]) -> Table:
        """Return costs by minute and then by `by`; a flow is in the minute its window starts in.

        `selection` names its tenant, `start` and `end`. Only what agents observed is in it.

        Raises:
            UsageError: the interval is open or too long, or `by` is no use for minutes.
        """
        start, end = selection.start, selection.end
        if not selection.tenant or start is None or end is None or not start < end:
            raise UsageError("minutes need a start and an end", hint="as from= and to=")
        if end - start > LONGEST:
            raise UsageError(
                f"{end - start} by the minute; at most {LONGEST}", hint="ask by the hour for more"
            )
        with self._one, self._ledger(selection.tenant, start, end) as ledger:
            whole = replace(selection, start=hour_of(start), end=None)
            table = costs(ledger, whole, by=("source", *by))
        return Table((MINUTE, *table.columns[1:]), tuple(sorted(table.rows)))

    @contextmanager
    def _ledger(self, tenant: str, start: datetime, end: datetime) -> Iterator[Ledger]:
        """Yield a passing ledger of the minutes in `[start, end)`."""
        with tempfile.TemporaryDirectory(prefix="flowcost-minutes-") as folder:
            ledger = Ledger.open(Path(folder), create=True)
            hour = hour_of(start)
            while hour < end:
                index = self._shelf.index(tenant, hour)
                if index is not None and index.of("flows"):
                    self._attribute(ledger, index, start, end)
                hour += HOUR
            yield ledger

    def _attribute(self, ledger: Ledger, index: Index, start: datetime, end: datetime) -> None:
        with self._engine.connect() as con:
            layers = self._layers(index.tenant, index.hour)
            resolution = resolution_of(con, self._shelf, index, layers)
            edges = [f"TIMESTAMP '{edge:%Y-%m-%d %H:%M:%S}'" for edge in (start, end)]
            con.execute(
                f"CREATE TEMP VIEW flows AS SELECT {_AS_POSTED}"
                f" FROM {scan(self._shelf.paths(index, 'flows'))}"
                f" WHERE window_start >= {edges[0]} AND window_start < {edges[1]}"
            )
            attribute(con, World(con, columns_of(resolution)), self._rates, ledger, lambda _: ())
