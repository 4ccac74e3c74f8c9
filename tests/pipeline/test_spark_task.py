"""What a Spark worker does with one file, run here; and what the driver makes of failures."""

import itertools
import json
import sys

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.pipeline.flow_log_tree import generate
from tests.resolve.loopback import serving

from flowcost.cli.run import command
from flowcost.errors import NotSupportedError, UnreachableError, UsageError
from flowcost.pipeline import spark, spark_session, spark_task
from flowcost.pipeline.spark_task import FAILED, Common, Errand, perform
from flowcost.sources.discover import describe, local
from flowcost.sources.kernel import Kernel, Options
from flowcost.sources.knowledge import Interface, Knowledge, NatGateway
from flowcost.sources.report import FileReport

KNOWLEDGE = Knowledge(
    gateways=(NatGateway(id="nat-1", addresses=frozenset({bytes(16)}), regional=True),),
    interfaces=(Interface(id="eni-1", blocks=((bytes(16), bytes(16)),), forwards=True),),
    peering_attachments=frozenset({"tgw-attach-1"}),
    changes=frozenset({(bytes(16), 1_790_000_000)}),
)
COMMON = msgspec.msgpack.encode(Common(KNOWLEDGE, Options(tenant="t")))


@pytest.fixture(autouse=True)
def one_kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(spark_task.tempfile, "tempdir", None)
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path))
    monkeypatch.setattr(spark_task.time, "sleep", lambda _: None)
    yield
    for kernel in spark_task._KERNELS.values():
        kernel.close()
    spark_task._KERNELS.clear()


def rows(errands):
    batches = (pa.RecordBatch.from_pydict({"id": [n]}) for n in range(len(errands)))
    return [row for batch in perform(batches, errands, COMMON) for row in batch.to_pylist()]


@pytest.fixture
def files(tmp_path):
    generate(tmp_path / "made", "text", rows=3_000)
    return list(local(tmp_path / "made" / "logs"))


def test_what_all_tasks_share_survives_the_way_to_the_workers():
    assert msgspec.msgpack.decode(COMMON, type=Common) == Common(KNOWLEDGE, Options(tenant="t"))


def test_a_task_gives_the_bytes_that_this_process_writes(files, tmp_path, monkeypatch):
    monkeypatch.setattr(spark_task, "PIECE_BYTES", 1000)
    found = rows([Errand(file) for file in files])
    kernel = Kernel(KNOWLEDGE, Options(tenant="t"))
    for number, file in enumerate(files):
        here = kernel.partial(file, tmp_path / "here.parquet")
        mine = [row for row in found if row["number"] == number]
        data = b"".join(row["data"] for row in mine if row["kind"] == "piece")
        assert data == here.path.read_bytes()
        assert msgspec.json.decode(mine[-1]["text"], type=FileReport) == here.report
    kernel.close()
    assert max(len(row["data"]) for row in found) <= 1000
    assert sum(pq.read_metadata(pa.BufferReader(data)).num_rows for data in [data]) > 0


def test_an_object_is_fetched_by_its_url_after_transient_failures(files):
    body, failures = files[0].path.read_bytes(), itertools.count()

    def answer(path, headers):
        assert headers["If-Match"] == '"tag"'
        return (503, {}, b"") if next(failures) < 2 else (200, {}, body)

    with serving(answer) as url:
        name = f"s3://logs/{files[0].path.name}"
        file = describe(name, files[0].path.parent / "x", size=len(body), version='"tag"')
        found = rows([Errand(file, f"{url}/object")])
    assert [row["kind"] for row in found] == ["piece", "report"]
    assert found == [{**row, "number": 0} for row in found]
    assert msgspec.json.decode(found[-1]["text"], type=FileReport).rows > 0


@pytest.mark.parametrize(("status", "why"), [(404, "no longer there"), (412, "replaced")])
def test_an_object_that_is_gone_is_said_to_be(files, status, why):
    with serving(lambda *_: (status, {}, b"")) as url:
        [row] = rows([Errand(files[0], f"{url}/object")])
    assert row["kind"] == "gone"
    assert why in row["text"]


def test_a_failure_names_file_host_and_cause(files):
    with (
        serving(lambda *_: (403, {}, b"")) as url,
        pytest.raises(RuntimeError, match=FAILED.strip()) as failed,
    ):
        rows([Errand(files[0], f"{url}/object")])
    found = json.loads(str(failed.value).removeprefix(FAILED))
    assert found["file"] == files[0].name
    assert "403" in found["cause"]
    told = spark._operators(f"Traceback\nRuntimeError: {failed.value}\n more", ["x"])
    assert isinstance(told, UnreachableError)
    assert files[0].name in told.message


def test_a_file_that_is_not_on_the_worker_is_the_users_to_share(files, tmp_path):
    lost = msgspec.structs.replace(files[0], path=tmp_path / "none")
    with pytest.raises(RuntimeError) as failed:
        rows([Errand(lost)])
    told = spark._operators(str(failed.value), ["x"])
    assert isinstance(told, UsageError)
    assert files[0].name in told.message


def test_a_failure_without_our_words_names_the_files_it_may_be():
    told = spark._operators("\nExecutorLost (exit code 137)\n at x", [f"f{n}" for n in range(9)])
    assert told.message == (
        "Spark gave up on one of f0, f1, f2 and 6 more: ExecutorLost (exit code 137)"
    )


def test_jobs_are_bounded_by_files_and_by_bytes(files, tmp_path, monkeypatch):
    monkeypatch.setattr(spark, "JOB_BYTES", 250)
    file = files[0]
    tasks = [
        spark.Task(msgspec.structs.replace(file, size=size), tmp_path)
        for size in [100, 100, 100, 900, 1, *[0] * 40]
    ]
    jobs = list(spark._jobs(tasks))
    assert [len(job) for job in jobs] == [2, 1, 1, 16, 16, 9]
    assert [task for job in jobs for task in job] == tasks


@pytest.mark.parametrize("engine", ["polars", "spark://", "local-cluster[2]", "yarn"])
def test_an_unknown_engine_is_refused_before_anything_is_read(tmp_path, engine):
    (tmp_path / "a.log").write_text("")
    (tmp_path / "declared.toml").write_text("")
    done = CliRunner().invoke(
        command,
        ["--flow-logs", str(tmp_path), "--inventory", str(tmp_path / "declared.toml"),
         "--ledger", str(tmp_path / "ledger"), "--engine", engine],
    )  # fmt: skip
    assert isinstance(done.exception, UsageError)
    assert "no such engine" in done.exception.message


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with (
        pytest.raises(NotSupportedError) as missing,
        spark_session.session("spark://127.0.0.1:9"),
    ):
        pass
    assert "flowcost[spark]" in missing.value.hint
