"""`flowcost run --flow-logs s3://…` as a user calls it, over HTTP from moto's server."""

import pytest
from click.testing import CliRunner

pytest.importorskip("obstore", reason="the extra s3 is not installed")
pytest.importorskip("moto.server", reason="moto is not installed")

from tests.pipeline.flow_log_tree import charges, generate
from tests.sources.store import environment, serving

from flowcost.cli.run import command
from flowcost.ledger import Ledger
from flowcost.pipeline import reading
from flowcost.pipeline.flow_logs import located
from flowcost.pipeline.reading import Embedded, Gone, Read, Task
from flowcost.sources.kernel import Options
from flowcost.sources.knowledge import Knowledge

# The default format's header (VPC flow logs, version 2), and no record.
EMPTY = (
    b"version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes"
    b" start end action log-status\n"
)


@pytest.fixture(scope="module")
def store():
    with serving() as found:
        yield found


@pytest.fixture
def caller(store, tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in environment(store, tmp_path).items():
        monkeypatch.setenv(name, value)


def go(location, inventory, ledger, *more, status=0):
    words = ["--flow-logs", str(location), "--inventory", str(inventory), "--ledger", str(ledger)]
    done = CliRunner().invoke(command, [*words, *more])
    if status == 0:
        assert done.exit_code == 0, (done.output, done.exception)
    return done


@pytest.mark.parametrize("form", ["parquet", "text"])
def test_a_bucket_gives_the_charges_of_the_folder_it_was_copied_from(store, caller, tmp_path, form):
    generate(tmp_path / "made", form, rows=20_000)
    logs, inventory = tmp_path / "made" / "logs", tmp_path / "made" / "inventory"
    bucket = store.bucket(f"made-{form}")
    store.upload(bucket, logs, "some/prefix/")
    go(logs, inventory, tmp_path / "local")
    go(f"s3://{bucket}/some/prefix/", inventory, tmp_path / "ledger")
    assert charges(tmp_path / "ledger") == charges(tmp_path / "local")
    assert charges(tmp_path / "ledger")
    assert not (tmp_path / "ledger" / ".run" / "spool").exists()


def test_a_run_reads_only_the_objects_that_are_new_or_changed(store, caller, tmp_path):
    bucket = store.bucket("growing")
    generate(tmp_path / "made", "parquet", rows=2_000)
    store.upload(bucket, tmp_path / "made" / "logs")
    inventory, ledger = tmp_path / "made" / "inventory", tmp_path / "ledger"
    first = go(f"s3://{bucket}", inventory, ledger).output
    assert "files read, 0 known" in first
    assert "0 files read" in go(f"s3://{bucket}", inventory, ledger).output
    key = store.client.list_objects_v2(Bucket=bucket)["Contents"][0]["Key"]
    body = store.client.get_object(Bucket=bucket, Key=key)["Body"].read()
    late = key.replace("fl-", "fl-0f")
    store.client.put_object(Bucket=bucket, Key=late, Body=body)
    assert "1 files read" in go(f"s3://{bucket}", inventory, ledger).output


def test_what_an_interrupted_run_left_in_the_spool_is_removed(store, caller, tmp_path):
    bucket = store.bucket("left")
    store.client.put_object(Bucket=bucket, Key="a.log", Body=EMPTY)
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "half").write_bytes(b"half an object")
    with located([f"s3://{bucket}"], spool) as logs:
        assert len(logs.files) == 1
        assert not spool.exists()


def test_an_object_that_vanishes_while_it_is_read_is_a_finding_and_the_others_are_booked(
    store, caller, tmp_path
):
    bucket = store.bucket("vanishing")
    for name in ("a.log", "b.log", "c.log"):
        store.client.put_object(Bucket=bucket, Key=name, Body=EMPTY)
    with located([f"s3://{bucket}"], tmp_path / "spool") as logs:
        store.client.delete_object(Bucket=bucket, Key="b.log")
        tasks = [Task(file, tmp_path / f"{n}.parquet") for n, file in enumerate(logs.files)]
        done = list(Embedded(objects=logs.objects).read(tasks, Knowledge(), Options()))
    assert [type(one) for one in done] == [Read, Gone, Read]
    assert done[1].finding.code == "flow-log-gone"
    assert done[1].finding.subject == f"s3://{bucket}/b.log"
    assert not list(tmp_path.glob("1.parquet*"))


def test_fetched_objects_never_exceed_the_space_they_are_given(
    store, caller, tmp_path, monkeypatch
):
    bucket, size = store.bucket("large"), 40_000
    for number in range(12):
        body = EMPTY + b"2 1 eni-a - - - - - - - 1790000000 1790000060 - NODATA\n" * (size // 58)
        store.client.put_object(Bucket=bucket, Key=f"{number:02}.log", Body=body)
    monkeypatch.setattr(reading, "SPOOL", 2 * size + 2000)
    most = 0
    with located([f"s3://{bucket}"], tmp_path / "spool") as logs:
        fetch = logs.objects.fetch

        def watched(file):
            nonlocal most
            fetch(file)
            there = [path for path in (tmp_path / "spool").iterdir() if path.exists()]
            most = max(most, len(there))

        monkeypatch.setattr(logs.objects, "fetch", watched)
        tasks = [Task(file, tmp_path / f"{n}.parquet") for n, file in enumerate(logs.files)]
        done = list(Embedded(objects=logs.objects).read(tasks, Knowledge(), Options()))
        assert not list((tmp_path / "spool").iterdir())
    assert len(done) == 12
    assert 1 <= most <= 2


def test_denied_access_ends_the_run_with_the_object_and_the_permission(store, tmp_path, caller):
    bucket = store.bucket("closed")
    generate(tmp_path / "made", "parquet", rows=1_000)
    store.upload(bucket, tmp_path / "made" / "logs")
    inventory = tmp_path / "made" / "inventory"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in store.user("reader-not", "s3:ListBucket").items():
            patch.setenv(name, value)
        store.checked_from_now(True)
        try:
            done = go(f"s3://{bucket}", inventory, tmp_path / "ledger", status=3)
        finally:
            store.checked_from_now(False)
    assert done.exception.exit_code == 3
    assert f"s3://{bucket}/" in str(done.exception)
    assert "s3:GetObject" in str(done.exception)
    assert Ledger.open(tmp_path / "ledger").manifests() == []
    go(f"s3://{bucket}", inventory, tmp_path / "ledger")
    assert charges(tmp_path / "ledger")
