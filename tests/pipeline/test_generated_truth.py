"""From generated logs to the ledger: every pod's bytes on every path, with address reuse."""

import argparse

import duckdb
from benchmarks import gen_logs
from click.testing import CliRunner

from flowcost.cli import main

CHARGED = """
WITH charges AS (
    FROM read_parquet('{ledger}/*/*/*/*/charges-*.parquet', hive_partitioning = false)
),
ends AS (
    SELECT DISTINCT identity_id, k8s_pod_uid AS uid
    FROM read_parquet('{ledger}/*/*/*/*/identities-*.parquet', hive_partitioning = false)
),
found AS (
    SELECT hour, observer_type, direction, path, l.uid AS local_uid, r.uid AS remote_uid,
           sum(bytes) AS bytes
    FROM charges c JOIN ends l ON l.identity_id = c.local_id
    JOIN ends r ON r.identity_id = c.remote_id
    WHERE observer_type IN ('interface', 'gateway') GROUP BY ALL HAVING sum(bytes) > 0
),
sent AS (
    SELECT hour::TIMESTAMP AS hour, observer_type, direction, path, local_uid, remote_uid,
           sum(bytes) AS bytes
    FROM '{truth}' WHERE finest AND observer_type IN ('interface', 'gateway')
    GROUP BY ALL HAVING sum(bytes) > 0
)
SELECT count(*) FILTER (found.bytes IS DISTINCT FROM sent.bytes), count(*),
       sum(found.bytes)::BIGINT, sum(sent.bytes)::BIGINT
FROM found FULL JOIN sent USING (hour, observer_type, direction, path, local_uid, remote_uid)
"""


def test_each_pod_is_charged_its_own_bytes_on_the_right_path(tmp_path):
    gen_logs.generate(
        tmp_path / "g",
        argparse.Namespace(
            rows=40_000, pods=1500, prefixes=300, conversations=0, hours=2, slot_minutes=40,
            seed=11, format="parquet",
        ),
    )  # fmt: skip
    ledger = tmp_path / "ledger"
    result = CliRunner().invoke(
        main,
        [
            "run", "--flow-logs", f"{tmp_path}/g/logs", "--inventory", f"{tmp_path}/g/inventory",
            "--ledger", str(ledger),
        ],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    with duckdb.connect() as con:
        wrong, groups, found, sent = con.execute(
            CHARGED.format(ledger=ledger, truth=tmp_path / "g/truth.parquet")
        ).fetchall()[0]
    assert groups > 3000
    assert (wrong, found) == (0, sent)
