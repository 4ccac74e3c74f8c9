"""Questions about traffic as such: who sends how much where, each transmission once.

Enters: a tenant and what is visible of it, and the cuts that are asked. Leaves: `Sent` per cut, of
one state of the ledger. How a transmission is counted once is `once`; what was counted is kept
(`tally`), so that a question reads the hours that are new.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from flowcost import clock
from flowcost.ledger import once
from flowcost.ledger.filter import used
from flowcost.ledger.levels import Detail, detail_of
from flowcost.ledger.query import Selection
from flowcost.ledger.reread import reread
from flowcost.ledger.store import Ledger
from flowcost.ledger.tally import NEVER, Tally

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Cut(Struct, frozen=True, kw_only=True):
    """The fields of `Sent` to tell apart, in the hours from `start` on (None: from the first)."""

    by: tuple[str, ...]
    start: datetime | None = None

    @property
    def hourly_from(self) -> str:
        """Return the day from which hours must be told apart, an ISO instant."""
        start = self.start or clock.EARLIEST
        apart = "hour" in self.by or start != clock.day_of(start)
        return clock.iso(clock.day_of(start)) if apart else NEVER


class Sent(Struct, frozen=True, kw_only=True):
    """Bytes that were sent alike; what was not asked to be told apart is empty.

    `service` and `team` are the sender's, and the receiver's of what arrives from the internet.
    `dst_internet` says, where no path is proven, that the receiver is on the internet. `hour` is
    naive UTC, as the engine gives it.
    """

    path: str = ""
    hour: datetime | None = None
    service: str = ""
    team: str = ""
    src_zone: str = ""
    src_region: str = ""
    dst_zone: str = ""
    dst_region: str = ""
    dst_internet: bool = False
    bytes: int


@reread
def transmissions(ledger: Ledger, asker: Selection, *cuts: Cut) -> list[list[Sent]]:
    """Return what was sent, per cut; of `asker` only the tenant and what is visible count.

    Raises:
        ValueError: it names no tenant.
    """
    if not asker.tenant:
        raise ValueError("what no tenant sent")
    starts = [cut.start for cut in cuts]
    first = None if None in starts else clock.day_of(min(filter(None, starts)))
    names = detail_of(used(asker.within)).names or frozenset()
    detail = Detail((once.DETAIL.names or frozenset()) | names)
    held = ledger.shelves.chosen(first, None, tenant=asker.tenant, detail=detail)
    tally = ledger.tallies.of(asker.tenant, asker.within)
    con = ledger.engine.connect()
    try:
        with tally.lock:
            tally.update(
                con,
                ledger.shelves.contents(held),
                held,
                ledger.shelves.traffic.held(first, tenant=asker.tenant),
                first=clock.iso(first or clock.EARLIEST),
                hourly_from=min(cut.hourly_from for cut in cuts),
            )
            return [_sent(con, tally, cut) for cut in cuts]
    finally:
        con.close()
        ledger.tallies.trim()


def _sent(con: DuckDBPyConnection, tally: Tally, cut: Cut) -> list[Sent]:
    names = ", ".join(cut.by)
    rows: list[Any] = con.execute(
        f"SELECT {names}, CAST(sum(bytes) AS DECIMAL(38,0)) FROM ("
        f" SELECT kind, {'hour, ' if 'hour' in cut.by else ''}sum(bytes) AS bytes"
        f" FROM {tally.schema}.sent WHERE hour >= ? GROUP BY ALL"
        f") JOIN {tally.schema}.kinds USING (kind) GROUP BY {names} ORDER BY {names}",
        [(cut.start or clock.EARLIEST).replace(tzinfo=None)],
    ).fetchall()
    return [Sent(**dict(zip(cut.by, row[:-1], strict=True)), bytes=int(row[-1])) for row in rows]
