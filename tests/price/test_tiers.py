"""Tiers: exact at every bound, whatever the batching, order or restart."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcost import money
from flowcost.price import list_book
from flowcost.price.tiers import (
    Position,
    account_meter,
    cost,
    free_pool,
    marginal,
    numerator,
    segments,
)
from flowcost.usage_types import usage_type

GB = 2**30
DAY = date(2026, 11, 20)
POOL = 100 * GB


def egress(region):
    return list_book().lookup(
        provider="aws",
        usage_type=usage_type("DataTransfer-Out-Bytes", region),
        region=region,
        on=DAY,
    )


US, BRAZIL, TOKYO = egress("us-east-1"), egress("sa-east-1"), egress("ap-northeast-1")
RATES = {"us-east-1": US, "sa-east-1": BRAZIL, "ap-northeast-1": TOKYO}
quantity = st.integers(0, 400_000 * GB)


def month(hours, position=None, **options):
    """Price hours one after another; return total cost and the final position."""
    position = position or Position()
    total = 0
    for hour in hours:
        split, position = account_meter(position, hour, RATES, **options)
        total += sum(segment.cost for found in split.values() for segment in found)
    return total, position


# Requirements 7.4: the free 100 GB inside the first tier.
@pytest.mark.parametrize(
    ("gigabytes", "dollars"),
    [
        (150, "4.5"),
        (1_024, "83.16"),
        (10_240, "912.6"),
        (20_480, "1783"),
        (61_440, "5111"),
        (200_000, "13882.2"),
    ],
)
def test_the_check_values_of_a_us_east_month(gigabytes, dollars):
    total, _ = month([{"us-east-1": gigabytes * GB}], pool=POOL)
    assert money.exact(total) == dollars


def test_bounds_beyond_the_free_tier_shift_by_100_gigabytes():
    total, _ = month([{"us-east-1": 20_480 * GB}], pool=POOL, free_tier_counts_in_tier=False)
    assert money.exact(total) == "1783.5"


def test_the_book_grants_100_gigabytes_since_december_2021_and_none_to_other_clouds():
    assert free_pool(list_book(), "aws", DAY) == POOL
    assert free_pool(list_book(), "aws", date(2021, 11, 30)) == 0
    assert free_pool(list_book(), "gcp", DAY) == 0


def test_the_marginal_rate_is_the_first_that_is_not_free():
    assert marginal(US).price == Decimal("0.09")
    free = list_book().lookup(
        provider="aws", usage_type="DataTransfer-In-Bytes", region="us-east-1", on=DAY
    )
    assert marginal(free).price == 0
    assert numerator(marginal(US)) * 5 * GB == money.from_decimal(Decimal("0.45"))


def test_a_flow_over_a_bound_is_split_there():
    split = segments(US, 10_239 * GB, 10_241 * GB)
    assert [(segment.rate.price, segment.quantity) for segment in split] == [
        (Decimal("0.09"), GB),
        (Decimal("0.085"), GB),
    ]


def test_trap_21_tiers_are_per_region_and_each_starts_anew():
    total, _ = month([{"us-east-1": 10_240 * GB, "sa-east-1": 10_240 * GB}])
    assert total == cost(US, 10_240 * GB) + cost(BRAZIL, 10_240 * GB)


def test_trap_22_the_pool_is_shared_by_all_regions_and_used_once():
    split, position = account_meter(
        Position(), {"us-east-1": 300 * GB, "sa-east-1": 100 * GB}, RATES, pool=POOL
    )
    free = {region: found[0].quantity for region, found in split.items()}
    assert free == {"us-east-1": 75 * GB, "sa-east-1": 25 * GB}
    split, _ = account_meter(position, {"ap-northeast-1": GB}, RATES, pool=POOL)
    assert [segment.rate for segment in split["ap-northeast-1"]] == [TOKYO[0]]


def test_an_hour_without_bytes_changes_nothing():
    split, position = account_meter(Position(), {"us-east-1": 0}, RATES, pool=POOL)
    assert split == {"us-east-1": ()}
    assert position == Position()
    assert account_meter(position, {}, RATES, pool=POOL) == ({}, position)


@pytest.mark.parametrize(("start", "end"), [(-1, 0), (2, 1)])
def test_a_quantity_that_falls_is_refused(start, end):
    with pytest.raises(ValueError, match="quantities must rise"):
        segments(US, start, end)


def test_tiers_that_end_too_early_are_refused():
    with pytest.raises(ValueError, match="do not cover"):
        segments(US[:1], 0, 10_241 * GB)
    with pytest.raises(ValueError, match="negative"):
        account_meter(Position(), {"us-east-1": -1, "sa-east-1": 5}, RATES)


@given(quantity, quantity)
def test_cost_is_monotone(one, other):
    low, high = sorted((one, other))
    assert cost(US, low) <= cost(US, high)


@given(st.sampled_from([rate.tier_from for rate in US]), st.integers(-3, 3))
def test_cost_is_continuous_at_and_around_every_bound(bound, offset):
    at = max(bound + offset, 0)
    step = cost(US, at + 1) - cost(US, at)
    assert min(map(numerator, US)) <= step <= max(map(numerator, US))


@given(st.lists(st.integers(0, 60_000 * GB), max_size=8), st.randoms(use_true_random=False))
def test_one_region_costs_the_same_in_any_batches_and_any_order(parts, random):
    shuffled = parts.copy()
    random.shuffle(shuffled)
    hours = [{"us-east-1": part} for part in parts]
    whole, end = month([{"us-east-1": sum(parts)}], pool=POOL)
    assert month(hours, pool=POOL) == (whole, end)
    assert month([{"us-east-1": part} for part in shuffled], pool=POOL) == (whole, end)
    assert whole == cost(US, sum(parts)) - cost(US, min(sum(parts), POOL))


hours_of_regions = st.lists(
    st.dictionaries(st.sampled_from(sorted(RATES)), st.integers(0, 20_000 * GB)), max_size=6
)


@given(hours_of_regions, st.integers(0, 6), st.booleans())
def test_a_restart_between_two_hours_changes_nothing(hours, cut, counts):
    options = {"pool": POOL, "free_tier_counts_in_tier": counts}
    whole, end = month(hours, **options)
    first, position = month(hours[:cut], **options)
    second, resumed = month(
        hours[cut:], Position(dict(position.metered), position.free_taken), **options
    )
    assert (first + second, resumed) == (whole, end)


@given(hours_of_regions, st.booleans())
def test_every_byte_is_in_one_segment_and_the_pool_is_given_once(hours, counts):
    position, given_free = Position(), 0
    for hour in hours:
        split, position = account_meter(
            position, hour, RATES, pool=POOL, free_tier_counts_in_tier=counts
        )
        for region, found in split.items():
            assert sum(segment.quantity for segment in found) == hour[region]
            given_free += sum(segment.quantity for segment in found if segment.rate is None)
    total = sum(sum(hour.values()) for hour in hours)
    assert given_free == position.free_taken == min(POOL, total)


@given(hours_of_regions)
def test_the_order_of_regions_within_an_hour_changes_nothing(hours):
    backwards = [dict(reversed(hour.items())) for hour in hours]
    assert month(hours, pool=POOL) == month(backwards, pool=POOL)


def test_many_small_flows_over_a_bound_cost_what_one_flow_of_the_sum_costs():
    start, steps, size = 10_240 * GB - 5_000 * 1024, 10_000, 1024
    small = sum(
        segment.cost
        for step in range(steps)
        for segment in segments(US, start + step * size, start + (step + 1) * size)
    )
    assert small == sum(segment.cost for segment in segments(US, start, start + steps * size))
