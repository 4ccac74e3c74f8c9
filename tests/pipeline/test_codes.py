"""Numbers that rows compare: packing, distinct combinations, exact sums, whatever their size."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcost.errors import FlowcostError
from flowcost.pipeline import codes

BIG = 1 << 31
ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, BIG - 1), st.integers(0, 2), st.integers(0, 5)),
    max_size=40,
)


def columns(rows: list[tuple], sizes: tuple[int, ...]) -> list[codes.Digits]:
    return [
        (pa.array([row[place] for row in rows], pa.int32()), size)
        for place, size in enumerate(sizes)
    ]


@pytest.mark.parametrize("sizes", [(4, BIG, 3, 6), (BIG, BIG, BIG, BIG)])
@given(rows=ROWS)
def test_rows_are_alike_exactly_where_all_columns_are(sizes, rows):
    found = codes.distinct(columns(rows, sizes), len(rows))
    numbers = found.numbers.to_pylist()
    assert [rows[first] for first in found.firsts.to_pylist()] == list(dict.fromkeys(rows))
    assert list(zip(*(d.to_pylist() for d in found.digits()), strict=True)) == list(
        dict.fromkeys(rows)
    )
    assert [list(dict.fromkeys(rows))[number] for number in numbers] == rows


@given(rows=ROWS, chosen=ROWS)
def test_rows_are_found_among_others(rows, chosen):
    of = columns(rows, (BIG, BIG, BIG, BIG))
    others = [column for column, _ in columns(chosen, (BIG, BIG, BIG, BIG))]
    assert codes.among(of, len(rows), others).to_pylist() == [row in chosen for row in rows]


def test_columns_are_coded_with_null_as_a_value_of_its_own():
    numbers, size = codes.coded(pa.chunked_array([["a", None], ["b", "a"]]))
    found = numbers.to_pylist()
    assert (found[0], len(set(found)), size) == (found[3], 3, 3)


def test_slices_are_united_into_one_numbering():
    parts = [
        (pa.table({"kind": pa.array(kinds, pa.int32())}), pa.table({"word": words}))
        for kinds, words in (([0, 1], ["x", "y"]), ([1, 0], ["z", "y"]))
    ]
    rows, words = codes.united(parts, "kind")
    assert words["word"].take(rows["kind"]).to_pylist() == ["x", "y", "y", "z"]
    assert sorted(words["word"].to_pylist()) == ["x", "y", "z"]


def test_sums_are_exact_and_what_does_not_fit_is_refused():
    def table(sizes: list[int]) -> pa.Table:
        ones = pa.array([1] * len(sizes), pa.int32())
        return pa.table({"key": ones, "bytes": sizes, "packets": [1] * len(sizes)})

    half = 1 << 61
    assert codes.summed(table([half, half, half]), ("key",)).to_pylist() == [
        {"key": 1, "bytes": 3 * half, "packets": 3}
    ]
    with pytest.raises(FlowcostError, match="more than"):
        codes.summed(table([half] * 4), ("key",))
