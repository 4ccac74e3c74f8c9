"""What a server remembers of partitions never shows: it answers as one that reads them all."""

import gc
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from benchmarks.gen_ledger import START, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcost.ledger import Ledger, remembered
from flowcost.ledger.query import Selection, conversations, costs, trend
from flowcost.ledger.rates_used import rates_used
from flowcost.ledger.rollup import roll_up
from flowcost.ledger.totals import totals

HOURS = 54
END = START + timedelta(hours=HOURS)
ALL = Selection(tenant="default")


@pytest.fixture(autouse=True)
def everything_is_worth_it(monkeypatch):
    monkeypatch.setattr(remembered, "FEW", 0)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    root = tmp_path_factory.mktemp("ledger") / "original"
    write(root, pods=30, hours=HOURS)
    return root


@pytest.fixture
def server(original, tmp_path):
    shutil.copytree(original, tmp_path / "ledger")
    return Ledger(tmp_path / "ledger", shared=True)


def rewrite(ledger, hour, other):
    """Give an hour the charges of `other`'s, as late data does."""
    with ledger.engine.connect() as con:
        partition = next(one.partition for one in ledger.shelves.hours.held(hour))
        given = next(one for one in ledger.shelves.hours.held(other))
        tables = {
            table: f"SELECT * {moved(table, hour)} FROM read_parquet('{path}')"
            if (path := given.file(table))
            else None
            for table in ("charges", "identities", "verdicts", "rates")
        }
        assert ledger.put(con, partition, tables, given.manifest.inputs)


def moved(table, hour):
    return (
        f"REPLACE (TIMESTAMP '{hour.replace(tzinfo=None)}' AS hour)" if table == "charges" else ""
    )


def answers(ledger, selection=ALL):
    return [
        costs(ledger, selection),
        costs(ledger, selection, by=("owner.team", "path"), limit=3),
        costs(ledger, selection, by=("k8s.pod.name", "rule"), limit=3),
        conversations(ledger, selection, limit=4),
        trend(ledger, selection, step="hour", by=("path",)),
        totals(ledger, selection),
        rates_used(ledger, selection),
    ]


def tables(ledger):
    with ledger.engine.connect() as con:
        return con.execute(
            "SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'remembered%'"
        ).fetchall()[0][0]


def test_what_was_remembered_and_what_was_read_are_the_same(server):
    plain = answers(Ledger(server.root))
    assert answers(server) == plain
    assert tables(server) > 5
    before = tables(server)
    assert answers(server) == plain
    assert tables(server) == before


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.integers(0, HOURS - 1), st.integers(0, HOURS - 1)),
            st.just("drop"),
            st.just("roll up"),
        ),
        min_size=1,
        max_size=4,
    ),
    first=st.integers(0, 50),
)
def test_whatever_is_rewritten_added_rolled_up_or_gone_is_seen(
    original, tmp_path_factory, steps, first
):
    root = tmp_path_factory.mktemp("changing") / "ledger"
    shutil.copytree(original, root)
    server = Ledger(root, shared=True)
    window = Selection(
        tenant="default", start=START + timedelta(hours=first), where="path != unknown"
    )
    for step in steps:
        if step == "drop":
            server.drop(server.shelves.hours.held(listed=True)[-1].partition)
        elif step == "roll up":
            roll_up(server, closed_before=END - timedelta(hours=3))
        else:
            to, other = (START + timedelta(hours=number) for number in step)
            held = [one.partition.hour for one in server.shelves.hours.held(listed=True)]
            if to in held and other in held and to != other:
                rewrite(server, to, other)
        for selection in (ALL, window):
            assert answers(server, selection) == answers(Ledger(root), selection)


def test_many_threads_ask_at_once(server):
    plain = answers(Ledger(server.root))
    with ThreadPoolExecutor(8) as pool:
        assert all(found == plain for found in pool.map(lambda _: answers(server), range(16)))


def test_the_least_recently_used_is_forgotten_and_its_table_dropped(server, monkeypatch):
    monkeypatch.setattr(server, "_remembered", remembered.Remembered(server.engine, cells=2_000))
    plain = answers(Ledger(server.root))
    assert answers(server) == plain
    gc.collect()
    with server.engine.connect() as con:
        cells = con.execute(
            "SELECT coalesce(sum(estimated_size * column_count), 0) FROM duckdb_tables()"
            " WHERE table_name LIKE 'remembered%'"
        ).fetchall()[0][0]
    assert 0 < cells <= 2_000


def test_who_asks_once_remembers_nothing(server):
    plain = Ledger(server.root)
    answers(plain)
    assert tables(plain) == 0
