"""The engine's split is `money.split`, pool by pool."""

import duckdb
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcost import money
from flowcost.bill.shares import first_of_two_sql, split_sql

pools = st.lists(
    st.tuples(st.integers(0, 10**16), st.lists(st.integers(0, 1 << 60), min_size=1, max_size=6)),
    min_size=1,
    max_size=8,
)


def split(groups):
    rows = [
        (pool, index, total, weight, sum(weights), len(weights))
        for pool, (total, weights) in enumerate(groups)
        for index, weight in enumerate(weights)
    ]
    columns = ("pool", "row", "total", "weight", "scale", "rows")
    arrow = pa.table(
        {name: pa.array([row[i] for row in rows]) for i, name in enumerate(columns)}
        | {"scale": pa.array([row[4] for row in rows], pa.decimal128(38, 0))}
    )
    with duckdb.connect() as con:
        con.register("given_rows", arrow)
        source = (
            "SELECT pool, row, total, weight, CAST(scale AS HUGEINT) AS scale, rows FROM given_rows"
        )
        found = con.execute(f"SELECT * FROM ({split_sql(source)}) ORDER BY pool, row").fetchall()
    parts = {}
    for pool, _, part in found:
        parts.setdefault(pool, []).append(int(part))
    return [parts[pool] for pool in range(len(groups))]


@settings(max_examples=60, deadline=None)
@given(pools)
def test_the_engine_splits_as_python_does(groups):
    for (total, weights), parts in zip(groups, split(groups), strict=True):
        if sum(weights):
            assert parts == money.split(total, weights)
        assert sum(parts) == total


def test_zero_weights_give_all_to_the_first_row():
    assert split([(7, [0, 0, 0])]) == [[7, 0, 0]]


def test_ties_go_to_the_smaller_row():
    assert split([(2, [1, 1, 1])]) == [[1, 1, 0]]


amounts = st.one_of(st.integers(0, 10**5), st.integers(0, 1 << 50), st.integers(0, 1 << 39))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(amounts, amounts, amounts, st.sampled_from([1, -1]))
        .filter(lambda row: row[1] + row[2] > 0),
        min_size=1,
    )
)  # fmt: skip
def test_the_first_of_two_parts_is_what_the_split_gives_it(rows):
    values = ", ".join(
        f"({sign * total}::BIGINT, {part}::BIGINT, {part + rest}::BIGINT)"
        for total, part, rest, sign in rows
    )
    with duckdb.connect() as con:
        found = con.execute(
            f"SELECT {first_of_two_sql('total', 'part', 'whole')}"
            f" FROM (VALUES {values}) v(total, part, whole)"
        ).fetchall()
    for (total, part, rest, sign), (share,) in zip(rows, found, strict=True):
        assert int(share) == sign * money.split(total, [part, rest])[0]
