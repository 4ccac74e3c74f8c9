"""The store writes an hour whole or not at all, and says when something is wrong."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from flowcost.errors import LedgerError
from flowcost.ledger import Input, Ledger, Partition
from flowcost.ledger.partition import STORED
from flowcost.schema import duckdb_columns

HOUR = Partition("t1", "prod/eu", datetime(2026, 11, 2, 10, tzinfo=UTC))
INPUTS = [Input("flows.csv", "abc")]


def queries(con, *, size=7, twice=False):
    """Return four result sets with one charge of `size` bytes."""
    for table, columns in STORED.items():
        con.execute(f"CREATE OR REPLACE TEMP TABLE {table}_given ({duckdb_columns(columns)})")
    con.execute(
        "INSERT INTO charges_given (hour, tenant, cluster, path, bytes, quantity, unit, list_cost,"
        " local_id, remote_id) VALUES"
        f" (TIMESTAMP '2026-11-02 10:00:00', 't1', 'prod/eu', 'cross_az', {size}, {size},"
        " 'bytes', 12345678901234567890123456789012345678, 1, 1)"
    )
    for name in ["cart", "checkout"] if twice else ["cart"]:
        con.execute(
            f"INSERT INTO identities_given (identity_id, k8s_pod_name) VALUES (1, '{name}')"
        )
    return {table: f"SELECT * FROM {table}_given" for table in STORED}


def put(ledger, **choices):
    with duckdb.connect() as con:
        return ledger.put(con, HOUR, queries(con, **choices), INPUTS)


def read(ledger, sql="SELECT bytes, list_cost FROM charges"):
    with duckdb.connect() as con:
        ledger.attach(con)
        return con.execute(sql).fetchall()


def test_what_is_put_is_read_back_to_the_last_digit(tmp_path):
    ledger = Ledger.open(tmp_path, create=True)
    assert put(ledger)
    [(size, cost)] = read(ledger)
    assert (size, int(cost)) == (7, 12345678901234567890123456789012345678)
    [manifest] = ledger.manifests()
    assert manifest.partition == HOUR
    assert manifest.totals.list_cost == "12345678901234567890123456789012345678"


def test_putting_the_same_again_changes_nothing(tmp_path):
    ledger = Ledger.open(tmp_path, create=True)
    put(ledger)
    before = sorted((f.name, f.stat().st_mtime_ns) for f in tmp_path.rglob("manifest.json"))
    assert not put(ledger)
    assert before == sorted((f.name, f.stat().st_mtime_ns) for f in tmp_path.rglob("manifest.json"))


def test_a_new_hour_replaces_the_old_and_leaves_no_file_of_it(tmp_path):
    ledger = Ledger.open(tmp_path, create=True)
    put(ledger)
    assert put(ledger, size=8)
    assert [size for size, _ in read(ledger)] == [8]
    assert ledger.verify() == []
    assert len(list((tmp_path / HOUR.folder).iterdir())) == 5


def test_an_id_that_stands_for_two_contents_is_refused_and_nothing_is_written(tmp_path):
    ledger = Ledger.open(tmp_path, create=True)
    put(ledger)
    with pytest.raises(LedgerError, match="stands for two contents"):
        put(ledger, size=9, twice=True)
    assert [size for size, _ in read(ledger)] == [7]


def test_an_empty_ledger_answers_with_no_rows(tmp_path):
    assert read(Ledger.open(tmp_path, create=True)) == []


def test_a_ledger_that_is_not_there_is_named(tmp_path):
    with pytest.raises(LedgerError, match="no ledger there"):
        Ledger.open(tmp_path / "missing")


def test_dropping_an_hour_removes_its_files(tmp_path):
    ledger = Ledger.open(tmp_path, create=True)
    put(ledger)
    ledger.drop(HOUR)
    assert read(ledger) == []
    assert not list((tmp_path / HOUR.folder).iterdir())


def test_verify_names_missing_altered_and_stray_files(tmp_path):
    ledger = Ledger.open(tmp_path, create=True)
    put(ledger)
    folder = tmp_path / HOUR.folder
    names = {path.name.partition("-")[0]: path for path in folder.glob("*.parquet")}
    names["rates"].unlink()
    names["verdicts"].write_bytes(b"other")
    (folder / "stray.parquet").write_bytes(b"")
    wrong = "\n".join(ledger.verify())
    assert "rates" in wrong
    assert "missing" in wrong
    assert "differs" in wrong
    assert "stray.parquet: not in the manifest" in wrong


@pytest.mark.parametrize("text", ["", "{}", '{"version": 1}', "not json"])
def test_a_broken_manifest_is_named(tmp_path, text):
    ledger = Ledger.open(tmp_path, create=True)
    put(ledger)
    path = tmp_path / HOUR.folder / "manifest.json"
    path.write_text(text)
    with pytest.raises(LedgerError, match=r"manifest\.json"):
        ledger.manifests()


def test_a_manifest_of_a_later_version_is_refused(tmp_path):
    ledger = Ledger.open(tmp_path, create=True)
    put(ledger)
    path = tmp_path / HOUR.folder / "manifest.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 99'))
    with pytest.raises(LedgerError, match="version 99"):
        ledger.manifests()


def test_manifests_are_selected_by_half_open_interval_and_tenant(tmp_path):
    ledger = Ledger.open(tmp_path, create=True)
    put(ledger)
    start, end = datetime(2026, 11, 2, 10, tzinfo=UTC), datetime(2026, 11, 2, 11, tzinfo=UTC)
    assert len(ledger.manifests(start, end)) == 1
    assert ledger.manifests(end) == []
    assert ledger.manifests(None, start) == []
    assert ledger.manifests(tenant="t2") == []


WRITER = textwrap.dedent(
    """
    import sys
    import duckdb
    from pathlib import Path
    sys.path.insert(0, sys.argv[2])
    from tests.ledger.test_store import HOUR, INPUTS, queries
    from flowcost.ledger import Ledger
    ledger = Ledger.open(sys.argv[1], create=True)
    with duckdb.connect() as con:
        for size in range(1, 1000):
            ledger.put(con, HOUR, queries(con, size=size), INPUTS)
            print(size, flush=True)
    """
)


@pytest.mark.parametrize("delay_ms", [0, 7, 19, 41, 83])
def test_a_writer_killed_at_any_instant_leaves_a_whole_hour(tmp_path, delay_ms):
    root = Path(__file__).parents[2]
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), str(root)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        first = int(writer.stdout.readline())
        time.sleep(delay_ms / 1000)
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait(timeout=10)
        writer.stdout.close()
    ledger = Ledger.open(tmp_path)
    [(size, _)] = read(ledger)
    assert size >= first
    [manifest] = ledger.manifests()
    assert manifest.totals.bytes == size
    put(ledger, size=size)
    assert put(ledger, size=size + 1)
    assert ledger.verify() == []
