"""From flows to charges: the stages in order, for batch, server and demo alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from flowcost.ledger import Input, Ledger, Partition
from flowcost.model import Finding, Meter, Rate
from flowcost.pipeline.book import book, cross_checked
from flowcost.pipeline.decide import Decisions, decide
from flowcost.pipeline.gather import gather
from flowcost.pipeline.observe import observe
from flowcost.pipeline.overlap import Overlap
from flowcost.pipeline.parting import part
from flowcost.pipeline.partitions import Dimensions, put_hours, rate_rows, verdict_rows
from flowcost.pipeline.post import post
from flowcost.pipeline.ways import find_ways
from flowcost.pipeline.world import World
from flowcost.price import NoRate, RateBook, marginal

if TYPE_CHECKING:
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
) -> Attributed:
    """Turn the relation `flows` (columns of `schema.FLOWS`) into ledger partitions.

    Every flow must lie within one hour; the sources split records that straddle. Partitions that
    come out as they already are stay untouched. A world serves any number of calls, so that a
    month can be attributed hour by hour in bounded memory.

    Raises:
        LedgerError: a partition cannot be written; hours written before it stand.
    """
    gather(con)
    part(con, world)
    observe(con, world)
    radix = find_ways(con, world)
    book(con)

    def price(provider: str, meter: Meter, on: date) -> Rate | None:
        found = rates.rates_of(provider, meter, on)
        return None if isinstance(found, NoRate) else marginal(found)

    decisions = decide(con, world, radix, price, assume_provider=assume_provider)
    dimensions = Dimensions(
        identities=world.identity_rows,
        verdicts=verdict_rows(decisions.verdicts),
        rates=rate_rows(decisions.rates, rates.name),
    )
    changed = put_hours(con, ledger, post(con, world), dimensions, inputs)
    return Attributed(
        partitions=tuple(changed),
        findings=tuple(_unpriced(decisions)),
        cross_checked=tuple(cross_checked(con)),
        facts_decided=len({fired.combination for fired in decisions.fired}),
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
