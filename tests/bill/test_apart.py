"""Cells are compared as sums, however many rows either side has in one."""

from dataclasses import replace

import pytest

from tests.bill import generator as made
from tests.bill.test_reconcile import reconciled, residuals, unbilled

USE = replace(
    made.world(61, uses=1)[0], usage_type="DataTransfer-Regional-Bytes",
    operation="InterZone-Out", resource="i-1", region="us-east-1", to_region="", bytes=1000,
)  # fmt: skip
OTHER = replace(USE, resource="i-2")


def booked(*sizes):
    return [replace(USE, bytes=size, owner=made.OWNERS[i]) for i, size in enumerate(sizes)] + [
        OTHER
    ]


def apart(con):
    return con.execute("SELECT billed, booked FROM cells_apart").fetchall()


def test_equal_cells_are_not_written_down_and_still_asked_for():
    with reconciled(made.bill_of([USE, OTHER], hours=False), [USE, OTHER]) as con:
        assert apart(con) == []
        assert con.execute("SELECT billed, booked FROM cells").fetchall() == [(1000, 1000)] * 2


@pytest.mark.parametrize(
    ("sizes", "left", "beyond"),
    [
        ((600, 400), {}, {}),
        ((1000, 400), {}, {"more_than_billed": 400}),  # the first alone would be equal
        ((600, 300), {"sensor_difference": 100}, {}),
    ],
)
def test_charges_of_one_cell_are_added_up(sizes, left, beyond):
    with reconciled(made.bill_of([USE, OTHER], hours=False), booked(*sizes)) as con:
        assert (residuals(con), unbilled(con)) == (left, beyond)
        assert apart(con) == [(1000, sum(sizes))] * bool(left or beyond)


@pytest.mark.parametrize(("size", "left"), [(2000, {}), (1000, {"sensor_difference": 1000})])
def test_lines_of_one_cell_are_added_up(size, left):
    lines = made.bill_of([USE, OTHER], hours=False)
    flipped = replace(lines[0], price=lines[0].price / 2, cost=lines[0].cost / 2)
    seen = [replace(USE, bytes=size), OTHER]
    with reconciled([*lines, flipped], seen) as con:
        assert (residuals(con), unbilled(con)) == (left, {})
