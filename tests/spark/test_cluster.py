"""`flowcost run --engine spark://…` on a real standalone Spark: the ledger of one machine."""

import os
import shutil
import signal
import subprocess
import sys
import time
import venv

import pytest

pytest.importorskip("pyspark", reason="PySpark is not installed: `make spark` does")
if shutil.which("java") is None:
    pytest.skip("no Java runtime (Debian: default-jre-headless)", allow_module_level=True)

from tests.pipeline.flow_log_tree import charges, digest, generate
from tests.sources.store import environment, serving
from tests.spark.standalone import standalone

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with standalone(tmp_path_factory.mktemp("spark")) as found:
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return generated logs, Parquet and text in one tree."""
    folder = tmp_path_factory.mktemp("made")
    sizes = generate(folder, "parquet", rows=250_000, hours=2)
    assert sizes["rows"] >= 200_000
    generate(folder / "text", "text", rows=60_000, hours=1, seed=8)
    shutil.move(folder / "text" / "logs", folder / "logs" / "text")
    return folder


@pytest.fixture(scope="module")
def alone(made, tmp_path_factory):
    """Return the ledger that this machine makes of all of it."""
    ledger = tmp_path_factory.mktemp("alone") / "ledger"
    finished(made / "logs", made / "inventory", ledger)
    return ledger


def started(logs, inventory, ledger, *more, cwd=None, **variables):
    words = ["--flow-logs", logs, "--inventory", inventory, "--ledger", ledger, *more]
    return subprocess.Popen(
        [sys.executable, "-m", "flowcost", "run", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, **variables},
    )


def finished(*words, status=0, within=240, **variables):
    with started(*words, **variables) as run:
        try:
            out, err = run.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            run.kill()
            raise
    assert run.returncode == status, err[-3000:]
    return out if status == 0 else err


def on(cluster):
    return "--engine", cluster.master


def test_two_runs_on_a_cluster_leave_the_ledger_of_one_machine_byte_for_byte(
    cluster, made, alone, tmp_path
):
    inventory, ledger = made / "inventory", tmp_path / "ledger"
    seen = tmp_path / "hidden"
    shutil.move(made / "logs" / "text", seen)
    try:
        out = finished(made / "logs", inventory, ledger, *on(cluster), **cluster.environment)
        first = len(list((made / "logs").rglob("*.parquet")))
        assert f"{first} files read, 0 known" in out
        assert digest(ledger) != digest(alone)
    finally:
        shutil.move(seen, made / "logs" / "text")
    out = finished(made / "logs", inventory, ledger, *on(cluster), **cluster.environment)
    late = len(list((made / "logs" / "text").rglob("*.gz")))
    assert f"{late} files read, {first} known" in out
    assert digest(ledger) == digest(alone)
    assert charges(ledger)
    assert partials(ledger) == partials(alone)


def partials(ledger):
    return {path.name: path.read_bytes() for path in (ledger / ".run").glob("*.*")}


def test_a_worker_that_is_killed_in_the_middle_changes_nothing(made, alone, tmp_path):
    ledger = tmp_path / "ledger"
    with standalone(tmp_path / "spark") as cluster:
        words = made / "logs", made / "inventory", ledger, *on(cluster)
        with started(*words, **cluster.environment) as run:
            until = time.monotonic() + 120
            executor = tmp_path / "spark" / "work-0"
            while not list(executor.glob("app-*/*/stdout")) and time.monotonic() < until:
                time.sleep(0.1)
            time.sleep(3)
            cluster.workers[0].send_signal(signal.SIGKILL)
            _, err = run.communicate(timeout=240)
        assert run.returncode == 0, err[-3000:]
    assert digest(ledger) == digest(alone)


def test_objects_are_read_by_workers_that_hold_no_credentials(cluster, tmp_path):
    with serving() as store:
        generate(tmp_path, "parquet", rows=5_000)
        bucket = store.bucket("logs")
        store.upload(bucket, tmp_path / "logs")
        finished(tmp_path / "logs", tmp_path / "inventory", tmp_path / "local")
        finished(
            f"s3://{bucket}",
            tmp_path / "inventory",
            tmp_path / "ledger",
            *on(cluster),
            **cluster.environment,
            **environment(store, tmp_path),
        )
    assert charges(tmp_path / "ledger") == charges(tmp_path / "local")
    assert charges(tmp_path / "ledger")


def test_a_file_that_workers_cannot_see_is_named(cluster, tmp_path):
    generate(tmp_path, "parquet", rows=1_000)
    said = finished(
        "/proc/self/cwd/logs",  # each process sees its own
        tmp_path / "inventory",
        tmp_path / "ledger",
        *on(cluster),
        cwd=tmp_path,
        status=2,
        **cluster.environment,
    )
    assert "/proc/self/cwd/logs/AWSLogs/" in said
    assert "not on the Spark worker" in said
    assert "Traceback" not in said


def test_a_python_without_the_libraries_on_the_workers_is_named(cluster, made, tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    bare = str(tmp_path / "bare" / "bin" / "python")
    said = finished(
        made / "logs",
        made / "inventory",
        tmp_path / "ledger",
        *on(cluster),
        status=3,
        PYSPARK_PYTHON=bare,
        **cluster.environment,
    )
    assert f"({bare}) has no module" in said
    assert "PYSPARK_PYTHON" in said


@pytest.mark.parametrize(
    ("engine", "variables", "words"),
    [
        ("spark://127.0.0.1:9", {}, "no Spark master there"),
        ("spark://127.0.0.1:9", {"JAVA_HOME": "/none"}, "JAVA_HOME=/none has none"),
    ],
)
def test_what_is_missing_is_said_before_spark_starts(made, tmp_path, engine, variables, words):
    where = made / "logs", made / "inventory", tmp_path / "ledger", "--engine", engine
    said = finished(*where, status=3, within=30, **variables)
    assert words in said
    assert "Traceback" not in said
