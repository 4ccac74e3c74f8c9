"""The laws, as properties of the whole pipeline over random flows in one world."""

import hashlib
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.pipeline.attributing import attribute_flows
from tests.pipeline.worlds import flow_table

from flowcost import money
from flowcost.ledger import Ledger
from flowcost.resolve import declared, timeline

WORLD = """
[[network]]
cidr = "10.0.0.0/8"
cloud.provider = "aws"
cloud.account.id = "111111111111"
cloud.region = "us-east-1"
cloud.vpc_id = "vpc-a"
[[network]]
cidr = "10.1.0.0/16"
cloud.availability_zone = "use1-az1"
[[network]]
cidr = "10.2.0.0/16"
cloud.availability_zone = "use1-az2"
[[network]]
cidr = "52.216.0.0/15"
cloud.provider = "aws"
cloud.region = "us-east-1"
cloud.service = "S3"
kind = "service"
[[gateway]]
id = "nat-1"
kind = "nat_gateway"
addresses = ["10.1.0.220"]
cloud.provider = "aws"
cloud.account.id = "222222222222"
cloud.region = "us-east-1"
cloud.availability_zone = "use1-az1"
cloud.vpc_id = "vpc-a"
[[route]]
from = "vpc-a"
to = "0.0.0.0/0"
via = "nat-1"
[[route]]
from = "vpc-a"
to = "10.0.0.0/8"
via = "local"
"""
RESOLUTION = timeline.build([declared.parse(WORLD)])
START = datetime(2026, 11, 2, 10)  # noqa: DTZ001 - the engine's naive UTC
LOCALS = ["10.1.0.1", "10.1.0.2", "10.2.0.1", "10.3.0.1"]
REMOTES = [*LOCALS, "52.216.10.10", "8.8.8.8", "192.168.9.9", "224.0.0.1", "169.254.169.254"]

flow = st.fixed_dictionaries(
    {
        "local": st.sampled_from(LOCALS),
        "remote": st.sampled_from(REMOTES),
        "direction": st.sampled_from(["transmit", "receive"]),
        "observer_type": st.sampled_from(["node_agent", "interface"]),
        "bytes": st.integers(0, 1 << 50),
        "minute": st.integers(0, 119),
    }
).filter(lambda row: row["local"] != row["remote"])
flows = st.lists(flow, min_size=1, max_size=25)
quick = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def table(rows) -> pa.Table:
    return flow_table(
        [
            {
                "local_address": row["local"],
                "remote_address": row["remote"],
                "window_start": START + timedelta(minutes=row["minute"]),
                **{name: row[name] for name in ("direction", "observer_type", "bytes")},
            }
            for row in rows
        ]
    )


def post(rows, folder: Path, batches: int = 1) -> Ledger:
    ledger = Ledger.open(folder, create=True)
    with duckdb.connect() as con:
        parts = [table(rows[index::batches]) for index in range(batches)]
        con.register("flows", pa.concat_tables([part for part in parts if part.num_rows]))
        attribute_flows(con, RESOLUTION, ledger)
    return ledger


def digest(ledger: Ledger) -> dict[str, str]:
    return {
        str(file.relative_to(ledger.root)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(ledger.root.rglob("*"))
        if file.is_file() and file.name != ".lock"
    }


def charges(ledger: Ledger, sql: str) -> list[tuple]:
    with duckdb.connect() as con:
        ledger.attach(con)
        return con.execute(sql).fetchall()


@quick
@given(flows)
def test_the_ledger_holds_every_booked_byte_once(rows):
    finest = {}
    for row in rows:
        key = (row["local"], row["minute"] // 60)
        rank = ("node_agent", "interface").index(row["observer_type"])
        finest[key] = min(finest.get(key, 9), rank)
    expected = sum(
        row["bytes"]
        for row in rows
        if ("node_agent", "interface").index(row["observer_type"])
        == finest[row["local"], row["minute"] // 60]
    )
    with tempfile.TemporaryDirectory() as folder:
        ledger = post(rows, Path(folder))
        [(found,)] = charges(ledger, "SELECT coalesce(sum(bytes), 0)::HUGEINT FROM charges")
        by_path = charges(ledger, "SELECT sum(bytes)::HUGEINT FROM charges GROUP BY path, local_id")
    assert found == expected
    assert sum(total for (total,) in by_path) == expected


@quick
@given(flows)
def test_a_charge_is_its_quantity_times_its_rate_and_the_sum_of_its_legs(rows):
    with tempfile.TemporaryDirectory() as folder:
        ledger = post(rows, Path(folder))
        lines = charges(
            ledger,
            "SELECT c.quantity, c.list_cost, r.numerator FROM charges c"
            " LEFT JOIN rates r USING (rate_id)",
        )
        totals = sum(int(m.totals.list_cost) for m in ledger.manifests())
        [(legs,)] = charges(ledger, "SELECT coalesce(sum(list_cost), 0) FROM charges")
        by_leg = charges(ledger, "SELECT coalesce(sum(list_cost), 0) FROM charges GROUP BY leg")
    for quantity, cost, rate in lines:
        assert cost in ((None, 0) if rate is None else (quantity * rate,))
    assert totals == int(legs) == sum(int(part) for (part,) in by_leg)


@quick
@given(flows, st.randoms(use_true_random=False), st.integers(2, 4))
def test_order_batching_and_splitting_change_nothing(rows, random, batches):
    shuffled = list(rows)
    random.shuffle(shuffled)
    cut = []
    for row in shuffled:
        part = random.randint(0, row["bytes"])
        cut += [{**row, "bytes": part}, {**row, "bytes": row["bytes"] - part}]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        assert digest(post(rows, Path(one))) == digest(post(cut, Path(two), batches))


@quick
@given(flows)
def test_running_again_touches_nothing(rows):
    with tempfile.TemporaryDirectory() as folder:
        ledger = post(rows, Path(folder))
        before = {file: file.stat().st_mtime_ns for file in ledger.root.rglob("manifest.json")}
        again = post(rows, Path(folder))
        after = {file: file.stat().st_mtime_ns for file in again.root.rglob("manifest.json")}
        assert before == after
        assert again.verify() == []


def test_a_million_kibibyte_flows_cost_what_one_flow_of_the_sum_costs():
    one = {
        "local": "10.1.0.1",
        "remote": "10.2.0.1",
        "direction": "transmit",
        "observer_type": "node_agent",
        "minute": 0,
    }
    with tempfile.TemporaryDirectory() as small, tempfile.TemporaryDirectory() as big:
        single = table([{**one, "bytes": 1024}])
        ledger = Ledger.open(small, create=True)
        with duckdb.connect() as con:
            con.register("single", single)
            con.execute("CREATE TABLE flows AS SELECT s.* FROM single s, range(1000000)")
            attribute_flows(con, RESOLUTION, ledger)
        whole = post([{**one, "bytes": 1024 * 10**6}], Path(big))
        [many] = ledger.manifests()
        [sum_] = whole.manifests()
    assert many.totals == sum_.totals
    assert many.files["charges"].sha256 == sum_.files["charges"].sha256
    # Out at the sender, and In at the receiver, which has no sensor here.
    assert money.exact(int(many.totals.list_cost)) == "0.019073486328125"


def test_no_column_of_any_file_is_a_float(tmp_path):
    rows = [
        {"local": local, "remote": remote, "direction": direction, "observer_type": "interface",
         "bytes": (1 << 53) + 1, "minute": minute}
        for local in LOCALS for remote in REMOTES for minute in (0, 61)
        for direction in ("transmit", "receive") if local != remote
    ]  # fmt: skip
    ledger = post(rows, tmp_path)
    files = list(ledger.root.rglob("*.parquet"))
    assert len(files) == 8
    for file in files:
        for field in pq.read_schema(file):
            assert not pa.types.is_floating(field.type), f"{file.name}: {field}"
    [(total,)] = charges(ledger, "SELECT sum(bytes)::HUGEINT FROM charges")
    assert total == sum(row["bytes"] for row in rows)


@pytest.mark.parametrize("remote", ["10.2.0.1", "8.8.8.8", "52.216.10.10"])
def test_both_directions_of_one_exchange_are_priced_apart(remote, tmp_path):
    rows = [
        {"local": "10.1.0.1", "remote": remote, "direction": direction,
         "observer_type": "node_agent", "bytes": money.GIB, "minute": 0}
        for direction in ("transmit", "receive")
    ]  # fmt: skip
    ledger = post(rows, tmp_path)
    found = charges(ledger, "SELECT DISTINCT direction FROM charges WHERE provenance = 'observed'")
    assert sorted(found) == [("receive",), ("transmit",)]
