"""Receipts are a set of sequences, kept as runs."""

import sqlite3
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flowcost.server import inbox_schema
from flowcost.server.receipts import receive, receive_run


def empty():
    con = sqlite3.connect(":memory:", isolation_level=None)
    con.executescript(inbox_schema.SCHEMA)
    return con


@given(st.lists(st.integers(0, 40), max_size=120))
def test_receipts_are_a_set_whatever_the_order(sequences):
    con = empty()
    seen = set()
    for one in sequences:
        assert receive(con, 1, one) is (one not in seen)
        seen.add(one)
    runs = con.execute("SELECT first, last FROM runs ORDER BY first").fetchall()
    assert {n for first, last in runs for n in range(first, last + 1)} == seen
    assert all(before[1] + 1 < after[0] for before, after in pairwise(runs))
    con.close()


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)), max_size=20),
    st.lists(st.integers(0, 40), max_size=20),
)
def test_receipts_that_are_learnt_join_those_that_are_there(learnt, sequences):
    con = empty()
    for one in sequences:
        receive(con, 1, one)
    for first, length in learnt:
        receive_run(con, 1, first, first + length)
    expected = set(sequences) | {
        n for first, more in learnt for n in range(first, first + more + 1)
    }
    runs = con.execute("SELECT first, last FROM runs ORDER BY first").fetchall()
    assert {n for first, last in runs for n in range(first, last + 1)} == expected
    con.close()
