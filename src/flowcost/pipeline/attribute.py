"""From flows to charges: the stages in order, for batch, server and demo alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from flowcost.ledger import Input, Ledger, Partition
from flowcost.model import Finding, Meter, Rate
from flowcost.pipeline.book import book
from flowcost.pipeline.decide import Decisions, decide
from flowcost.pipeline.fire import combinations_of, fire
from flowcost.pipeline.gather import gather
from flowcost.pipeline.observe import meet, observe
from flowcost.pipeline.overlap import Overlap
from flowcost.pipeline.parting import part
from flowcost.pipeline.partitions import Dimensions, put_hours, rate_rows, verdict_rows
from flowcost.pipeline.pieces import related
from flowcost.pipeline.post import post
from flowcost.pipeline.ways import find_ways
from flowcost.pipeline.world import World
from flowcost.price import NoRate, RateBook, marginal

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


class Attributed(Struct, frozen=True):
    """What one attribution left behind.

    `cross_checked` is (observer type, bytes) of observations that another sensor's booking
    covers; `facts_decided` counts the distinct combinations that were classified.
    """

    partitions: tuple[Partition, ...]
    findings: tuple[Finding, ...]
    cross_checked: tuple[tuple[str, int], ...]
    facts_decided: int

    def beside(self, overlap: Overlap) -> Attributed:
        """Return the same with the flow logs that another flow log covers."""
        if not overlap.bytes:
            return self
        return replace(
            self,
            findings=(*self.findings, *overlap.findings),
            cross_checked=(("flow_log", overlap.bytes), *self.cross_checked),
        )


def attribute(
    con: DuckDBPyConnection,
    world: World,
    rates: RateBook,
    ledger: Ledger,
    inputs: Callable[[Partition], Sequence[Input]],
    *,
    assume_provider: str = "",
    flows: Iterable[pa.Table] | None = None,
) -> Attributed:
    """Turn flows into ledger partitions: `flows` (`pieces`), by default of the relation `flows`.

    Every flow must lie within one hour; the sources split records that straddle. Partitions that
    come out as they already are stay untouched. A world serves any number of calls, so that a
    month can be attributed hour by hour in bounded memory.

    Raises:
        LedgerError: a partition cannot be written; hours written before it stand.
    """
    rows, given = gather(con, related(con, "flows") if flows is None else flows)
    rows, given = part(con, world, given, rows)
    rows, nears, fars = meet(given, rows)
    met = observe(con, world, given, nears, fars)
    rows, ways = find_ways(con, met, rows)
    booked = book(met, rows)
    del rows, given, nears, fars

    def price(provider: str, meter: Meter, on: date) -> Rate | None:
        found = rates.rates_of(provider, meter, on)
        return None if isinstance(found, NoRate) else marginal(found)

    used = set(combinations_of(booked))
    decisions = decide(world, met, ways, used, price, assume_provider=assume_provider)
    posted = fire(met, booked, decisions.fired, len(ways.combinations))
    checks = tuple(booked.cross_checked)
    del booked
    dimensions = Dimensions(
        identities=world.identity_rows,
        verdicts=verdict_rows(decisions.verdicts),
        rates=rate_rows(decisions.rates, rates.name),
    )
    changed = put_hours(
        con, ledger, post(con, world, met, posted, decisions.fired), dimensions, inputs
    )
    return Attributed(
        partitions=tuple(changed),
        findings=tuple(_unpriced(decisions)),
        cross_checked=checks,
        facts_decided=len(used),
    )


def _unpriced(decisions: Decisions) -> list[Finding]:
    """Return a finding per meter that no book prices: its bytes are kept and not priced."""
    return [
        Finding(
            code="no-rate",
            severity="warning",
            subject=f"{usage_type} {operation}".strip(),
            count=count,
            sample=region,
            hint="add a row to an operator book and name it with --book",
        )
        for (usage_type, operation, region), count in sorted(decisions.unpriced.items())
    ]
