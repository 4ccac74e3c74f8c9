"""Generated logs, all sensors at once, against the truth they were generated from: no byte off."""

import argparse
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmarks import gen_logs

from flowcost.address import unpack
from flowcost.pipeline.knowledge import knowledge_of
from flowcost.resolve import inventory, timeline
from flowcost.sources import discover, text
from flowcost.sources import kernel as kernels
from flowcost.sources.kernel import Kernel
from flowcost.sources.report import Fate

ARGUMENTS = {
    "rows": 40_000, "pods": 1500, "prefixes": 300, "conversations": 0, "hours": 2,
    "slot_minutes": 40, "seed": 7,
}  # fmt: skip


@pytest.fixture(scope="module", params=["parquet", "text"])
def generated(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("generated") / "all"
    gen_logs.generate(out, argparse.Namespace(**ARGUMENTS, format=request.param))
    return out


@pytest.fixture(scope="module")
def partials(generated):
    resolution = timeline.build(inventory.read(generated / "inventory"))
    kernel = Kernel(knowledge_of(resolution))
    try:
        return [kernel.partial(file) for file in discover.local(generated / "logs")]
    finally:
        kernel.close()


def test_every_sensor_saw_what_was_sent_hour_by_hour(generated, partials):
    flows = pa.concat_tables([partial.table for partial in partials], promote_options="permissive")
    addresses = pa.table(
        {
            "packed": (distinct := flows["local_address"].unique().to_pylist()
                       + flows["remote_address"].unique().to_pylist()),
            "text": [unpack(address) for address in distinct],
        }
    ).group_by(["packed", "text"]).aggregate([])  # fmt: skip
    truth = pq.read_table(generated / "truth.parquet")  # noqa: F841 - DuckDB reads it by name
    with duckdb.connect() as con:
        con.register("flows", flows)
        con.register("addresses", addresses)
        wrong = con.execute("""
WITH found AS (
    SELECT date_trunc('hour', window_start) AS hour, observer_type, direction,
           l.text AS local_address, r.text AS remote_address, sum(bytes) AS bytes,
           sum(packets) AS packets
    FROM flows f JOIN addresses l ON l.packed = f.local_address
    JOIN addresses r ON r.packed = f.remote_address GROUP BY ALL
),
sent AS (
    SELECT hour::TIMESTAMP AS hour, observer_type, direction, local_address, remote_address,
           sum(bytes) AS bytes, sum(packets) AS packets
    FROM truth GROUP BY ALL
)
SELECT * FROM found FULL JOIN sent
    USING (hour, observer_type, direction, local_address, remote_address)
WHERE (found.bytes, found.packets) IS DISTINCT FROM (sent.bytes, sent.packets)
    AND (coalesce(sent.bytes, 0) > 0 OR coalesce(found.bytes, 0) > 0) LIMIT 5
""").fetchall()
        kinds = con.execute("SELECT DISTINCT observer_type FROM flows ORDER BY ALL").fetchall()
    assert wrong == []
    assert kinds == [("gateway",), ("interface",), ("tgw_attachment",)]


def test_every_row_of_every_file_is_accounted_for(generated, partials):
    written = int(pq.read_table(generated / "truth.parquet").num_rows > 0) and sum(
        partial.report.rows for partial in partials
    )
    by_fate = {fate: sum(p.report.tally(fate).rows for p in partials) for fate in Fate}
    assert sum(by_fate.values()) == written > 30_000
    assert by_fate[Fate.BROKEN] == by_fate[Fate.UNORIENTED] == by_fate[Fate.NO_BYTES] == 0
    assert min(by_fate[f] for f in (Fate.NODATA, Fate.REJECT, Fate.UNSOLICITED, Fate.TRANSIT)) > 0


def test_no_flow_leaves_its_utc_hour(partials):
    for partial in partials:
        for row in partial.table.select(["window_start", "window_end"]).to_pylist():
            start: datetime = row["window_start"]
            assert start.replace(minute=0, second=0) <= start < row["window_end"]
            assert (row["window_end"] - start.replace(minute=0, second=0)).seconds in (0, 3600)


def test_the_same_arguments_generate_the_same_files(generated, tmp_path):
    kind = "parquet" if any(generated.rglob("*.log.parquet")) else "text"
    gen_logs.generate(tmp_path / "again", argparse.Namespace(**ARGUMENTS, format=kind))
    first = {p.relative_to(generated): p.read_bytes() for p in generated.rglob("*") if p.is_file()}
    again = {
        p.relative_to(tmp_path / "again"): p.read_bytes()
        for p in (tmp_path / "again").rglob("*")
        if p.is_file()
    }
    assert first.keys() == again.keys()
    assert [path for path in first if first[path] != again[path]] == []


def test_a_file_read_in_many_pieces_is_the_same_file(generated, partials, monkeypatch):
    # What a row is may depend on the file's other rows: a stranger at a gateway is one whom no
    # client of the file talks to.
    monkeypatch.setattr(kernels, "PIECE", 500)
    monkeypatch.setattr(kernels, "TEXT_PIECE", 500)
    monkeypatch.setattr(text, "LARGE", 0)
    monkeypatch.setattr(text, "PIECE", 50_000)
    resolution = timeline.build(inventory.read(generated / "inventory"))
    kernel = Kernel(knowledge_of(resolution))
    try:
        again = [kernel.partial(file) for file in discover.local(generated / "logs")]
    finally:
        kernel.close()
    assert sum(one.report.tally(Fate.UNSOLICITED).rows for one in again) > 0
    for whole, pieces in zip(partials, again, strict=True):
        assert pieces.report == whole.report
        assert sums(pieces.table) == sums(whole.table)


def sums(flows: pa.Table) -> list[dict]:
    """Return each distinct flow once."""
    keys = [name for name in flows.column_names if name not in ("bytes", "packets")]
    with duckdb.connect() as con:
        con.register("flows", flows)
        found = con.sql(
            f"SELECT {', '.join(keys)}, sum(bytes) AS bytes, sum(packets) AS packets"
            " FROM flows GROUP BY ALL ORDER BY ALL"
        )
        return found.to_arrow_table().to_pylist()
