"""A month priced by cumulative use: exact, restartable, independent of order."""

from datetime import date, datetime, timedelta

import duckdb
import pytest
from tests.pipeline.attributing import attribute_flows
from tests.pipeline.worlds import flow_table

from flowcost import money
from flowcost.ledger import Ledger
from flowcost.pipeline.tiering import settle
from flowcost.price import list_book
from flowcost.resolve import declared, timeline

WORLD = """
[[network]]
cidr = "10.0.0.0/8"
cloud.provider = "aws"
cloud.account.id = "111111111111"
cloud.region = "us-east-1"
cloud.availability_zone = "use1-az1"
cloud.vpc_id = "vpc-a"
[[network]]
cidr = "10.9.0.0/16"
cloud.provider = "aws"
cloud.account.id = "222222222222"
cloud.region = "sa-east-1"
cloud.availability_zone = "sae1-az1"
cloud.vpc_id = "vpc-s"
[[route]]
from = "vpc-a"
to = "0.0.0.0/0"
via = "internet_gateway"
[[route]]
from = "vpc-s"
to = "0.0.0.0/0"
via = "internet_gateway"
"""
RESOLUTION = timeline.build([declared.parse(WORLD)])
MONTH = date(2026, 11, 1)
START = datetime(2026, 11, 1)  # noqa: DTZ001 - the engine's naive UTC


def post(ledger: Ledger, rows: list[tuple[int, str, int]]) -> None:
    """Post (hour, local address, bytes) sent to the internet."""
    with duckdb.connect() as con:
        con.register(
            "flows",
            flow_table(
                [
                    {
                        "window_start": START + timedelta(hours=hour),
                        "local_address": local,
                        "remote_address": "8.8.8.8",
                        "direction": "transmit",
                        "bytes": size,
                    }
                    for hour, local, size in rows
                ]
            ),
        )
        attribute_flows(con, RESOLUTION, ledger)


def lines(ledger: Ledger):
    with duckdb.connect() as con:
        ledger.attach(con)
        return con.execute(
            "SELECT hour, local_id, quantity, bytes, list_cost FROM charges ORDER BY ALL"
        ).fetchall()


def total(ledger: Ledger) -> str:
    return money.exact(sum(int(m.totals.list_cost) for m in ledger.manifests()))


@pytest.mark.parametrize(
    ("gib", "dollars"),
    [
        (150, "4.5"),
        (1_024, "83.16"),
        (10_240, "912.6"),
        (20_480, "1783"),
        (61_440, "5111"),
        (200_000, "13882.2"),
    ],
)
def test_a_month_costs_what_the_tiers_say(gib, dollars, tmp_path):
    ledger = Ledger.open(tmp_path, create=True)
    size = gib * money.GIB
    post(
        ledger,
        [
            (0, "10.0.0.1", size // 3),
            (5, "10.0.0.2", size // 3),
            (5, "10.0.0.1", size - 2 * (size // 3)),
        ],
    )
    settle(ledger, list_book(), tenant="demo", month=MONTH)
    assert total(ledger) == dollars


def test_the_other_reading_of_the_free_pool_shifts_the_bounds(tmp_path):
    ledger = Ledger.open(tmp_path, create=True)
    post(ledger, [(0, "10.0.0.1", 20_480 * money.GIB)])
    settle(ledger, list_book(), tenant="demo", month=MONTH, free_tier_counts_in_tier=False)
    assert total(ledger) == "1783.5"


def test_hours_may_arrive_in_any_order_and_settling_may_be_repeated(tmp_path):
    rows = [
        (hour, f"10.0.0.{host}", (hour + host) * 700 * money.GIB)
        for hour in range(6)
        for host in (1, 2)
    ]
    one = Ledger.open(tmp_path / "one", create=True)
    post(one, rows)
    settle(one, list_book(), tenant="demo", month=MONTH)
    two = Ledger.open(tmp_path / "two", create=True)
    for hour in (4, 0, 5, 2, 1, 3):
        post(two, [row for row in rows if row[0] == hour])
        settle(two, list_book(), tenant="demo", month=MONTH)
    assert lines(one) == lines(two)
    assert settle(two, list_book(), tenant="demo", month=MONTH) == []
    assert two.verify() == []


def test_a_bound_inside_an_hour_splits_every_charge_of_it_and_loses_no_byte(tmp_path):
    ledger = Ledger.open(tmp_path, create=True)
    post(
        ledger,
        [
            (0, "10.0.0.1", 10_000 * money.GIB),
            (1, "10.0.0.1", 333 * money.GIB + 1),
            (1, "10.0.0.2", 777 * money.GIB + 2),
        ],
    )
    settle(ledger, list_book(), tenant="demo", month=MONTH)
    found = lines(ledger)
    assert sum(quantity for _, _, quantity, _, _ in found) == 11_110 * money.GIB + 3
    assert sum(size for _, _, _, size, _ in found) == 11_110 * money.GIB + 3
    first = 10_240 - 100
    rest = 11_110 * money.GIB + 3 - 10_240 * money.GIB
    expected = first * money.GIB * 90 + rest * 85  # thousandths of a dollar, per GiB
    assert sum(int(cost) for *_, cost in found) * 1000 == expected * money.ONE // money.GIB


def test_the_free_pool_is_one_for_all_regions_of_the_payer(tmp_path):
    ledger = Ledger.open(tmp_path, create=True)
    post(ledger, [(0, "10.9.0.1", 60 * money.GIB), (1, "10.0.0.1", 60 * money.GIB)])
    settle(ledger, list_book(), tenant="demo", month=MONTH)
    assert total(ledger) == "1.8"  # 20 GiB beyond the pool, in us-east-1 at $0.09
