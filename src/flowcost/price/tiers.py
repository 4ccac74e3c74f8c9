"""What a quantity costs: at the marginal rate, or through the tiers of a payer's month.

The price of a month is a function f(T) of the bytes metered so far, so a slice costs
f(after) - f(before): exact, restartable, and independent of how the slice was batched. One
`Position` per payer and UTC month is all the state there is.

The 100 GB that AWS gives free each month are one pool over all regions of a payer. AWS does not
say which bytes it gives them to (bills show them on small regions while others already pay), so
here they go to the earliest hours, within an hour pro rata to bytes: the sum is right, the place
is modelled. Both readings of the pool are kept: inside the first tier (the default), or before it,
which shifts every tier bound by 100 GB ("beyond the global free tier" on AWS's own invoice lines).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from flowcost import money
from flowcost.model import Rate
from flowcost.price.book import NoRate, RateBook
from flowcost.price.validate import FREE_ALLOWANCE, GLOBAL_REGION


@dataclass(frozen=True)
class Segment:
    """A quantity at one rate; `rate` None is a quantity out of the free pool."""

    rate: Rate | None
    quantity: int

    @property
    def cost(self) -> int:
        """Return the money numerator over `money.ONE`."""
        return self.quantity * numerator(self.rate) if self.rate else 0


def numerator(rate: Rate) -> int:
    """Return the price of one quantity (a byte, an hour) as a numerator over `money.ONE`."""
    return money.price_numerator(rate.price, rate.unit_bytes)


def marginal(rates: tuple[Rate, ...]) -> Rate:
    """Return the rate of the first tier that is not free: what one more quantity costs at least.

    It is the default where no meter sees the whole account, and never grants a free tier or a
    cheaper one. Label it so.
    """
    return next((rate for rate in rates if rate.price), rates[0])


def segments(rates: tuple[Rate, ...], start: int, end: int) -> tuple[Segment, ...]:
    """Split the quantities [start, end) of a month at the tier bounds.

    Args:
        rates: contiguous tiers, lowest first, the last one open, as a book returns them.
        start: quantity metered before, in the month.
        end: quantity metered after; not below `start`.

    Raises:
        ValueError: `start` is negative, above `end`, or the tiers do not reach `end`.
    """
    if not 0 <= start <= end:
        raise ValueError(f"quantities must rise: {start} to {end}")
    found = []
    for rate in rates:
        low = max(start, rate.tier_from)
        high = end if rate.tier_to is None else min(end, rate.tier_to)
        if low < high:
            found.append(Segment(rate, high - low))
    if sum(segment.quantity for segment in found) != end - start:
        raise ValueError(f"the tiers do not cover {start} to {end}")
    return tuple(found)


def cost(rates: tuple[Rate, ...], total: int) -> int:
    """Return f(T): the money numerator of the first `total` quantities of a month."""
    return sum(segment.cost for segment in segments(rates, 0, total))


@dataclass(frozen=True)
class Position:
    """Where a payer's month stands: what was metered per region, and taken from the pool.

    Start each UTC month with `Position()`.
    """

    metered: Mapping[str, int] = field(default_factory=dict)
    free_taken: int = 0


def free_pool(book: RateBook, provider: str, on: date) -> int:
    """Return the bytes a payer gets free in the month of `on`; 0 where the book grants none."""
    found = book.lookup(provider=provider, usage_type=FREE_ALLOWANCE, region=GLOBAL_REGION, on=on)
    if isinstance(found, NoRate):
        return 0
    return sum((rate.tier_to or 0) - rate.tier_from for rate in found if not rate.price)


def account_meter(
    position: Position,
    hour: Mapping[str, int],
    rates: Mapping[str, tuple[Rate, ...]],
    *,
    pool: int = 0,
    free_tier_counts_in_tier: bool = True,
) -> tuple[dict[str, tuple[Segment, ...]], Position]:
    """Price one hour of a payer's internet egress, all regions at once.

    Args:
        position: the month before this hour.
        hour: bytes by region in this hour; hours must come in order of time.
        rates: the tiers of each of those regions.
        pool: bytes free per month (`free_pool`).
        free_tier_counts_in_tier: whether free bytes also use up the first tier.

    Returns:
        The segments of each region, which sum to its bytes, and the month after this hour.

    Raises:
        ValueError: a negative quantity.
    """
    regions = sorted(hour)
    quantities = [hour[region] for region in regions]
    free = min(max(pool - position.free_taken, 0), sum(quantities))
    shares = money.split(free, quantities)
    metered = dict(position.metered)
    split: dict[str, tuple[Segment, ...]] = {}
    for region, quantity, share in zip(regions, quantities, shares, strict=True):
        before = metered.get(region, 0)
        start = before + share if free_tier_counts_in_tier else before
        end = start + quantity - share
        given = (Segment(None, share),) if share else ()
        split[region] = given + segments(rates[region], start, end)
        if end:
            metered[region] = end
    return split, Position(metered, position.free_taken + free)
