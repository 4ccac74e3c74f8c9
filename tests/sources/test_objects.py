"""Flow logs in an object store, read over HTTP from moto's server."""

import sys

import pytest

from flowcost.errors import (
    NotPermittedError,
    NotSupportedError,
    SourceError,
    UnreachableError,
    UsageError,
)
from flowcost.sources import aws_credentials
from flowcost.sources.object_errors import GoneError
from flowcost.sources.objects import Access, Objects, split

pytest.importorskip("obstore", reason="the extra s3 is not installed")
pytest.importorskip("moto.server", reason="moto is not installed")

from tests.sources.store import environment, serving

_VARIABLES = ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3")


@pytest.fixture(scope="module")
def store():
    with serving() as found:
        yield found


@pytest.fixture
def caller(store, tmp_path, monkeypatch):
    """Set the environment of the store's owner; return a function that changes it."""

    def become(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    become(**environment(store, tmp_path))
    return become


@pytest.fixture(scope="module")
def many(store):
    bucket = store.bucket("many")
    for number in range(1203):
        store.client.put_object(Bucket=bucket, Key=f"logs/{number:04}.log", Body=b"x" * number)
    for key in ("logs-old/a.log", "logs/notes.md", "logs/_temporary/a", "logs/empty/"):
        store.client.put_object(Bucket=bucket, Key=key, Body=b"")
    return bucket


def objects(tmp_path, **access):
    return Objects(Access(**access), tmp_path / "spool")


def test_a_listing_goes_on_after_the_first_thousand_keys(many, caller, tmp_path):
    found = list(objects(tmp_path).files(f"s3://{many}/logs"))
    assert [file.name for file in found] == [f"s3://many/logs/{n:04}.log" for n in range(1203)]
    assert [file.size for file in found] == list(range(1203))
    assert len({file.version for file in found}) == 1203
    assert len({file.path for file in found}) == 1203


def test_a_whole_bucket_is_a_location(many, caller, tmp_path):
    assert len(list(objects(tmp_path).files(f"s3://{many}"))) == 1204


def test_one_object_is_a_location(many, caller, tmp_path):
    [file] = objects(tmp_path).files(f"s3://{many}/logs/0007.log")
    assert (file.name, file.size) == ("s3://many/logs/0007.log", 7)


@pytest.mark.parametrize("key", ["a b+c%20/ä#?.log", "tenant=a:b/x&y.log"])
def test_keys_of_any_spelling_are_fetched(store, caller, tmp_path, key):
    store.client.create_bucket(Bucket="spelt")
    store.client.put_object(Bucket="spelt", Key=key, Body=b"hello")
    where = objects(tmp_path)
    try:
        [file] = where.files("s3://spelt")
        where.fetch(file)
        assert file.path.read_bytes() == b"hello"
        assert file.name == f"s3://spelt/{key}"
    finally:
        store.client.delete_object(Bucket="spelt", Key=key)


def test_a_key_with_an_empty_folder_name_is_an_error_that_says_so(store, caller, tmp_path):
    store.client.put_object(Bucket=store.bucket("empty"), Key="no//segment.log", Body=b"")
    with pytest.raises(SourceError, match=r"no//segment\.log") as refused:
        list(objects(tmp_path).files("s3://empty"))
    assert "//" in refused.value.hint


@pytest.mark.parametrize(
    ("location", "error", "words"),
    [
        ("s3://no-such-bucket/logs", SourceError, "s3://no-such-bucket: no such bucket"),
        ("s3://many/nothing", SourceError, "s3://many/nothing: no object there"),
        ("s3://many/log", SourceError, "s3://many/log: no object there"),
        ("s3://many/logs/notes.md", SourceError, "not a flow log by its name"),
        ("s3://", UsageError, "cannot be read"),
        ("ftp://many/logs", UsageError, "cannot be read"),
    ],
)
def test_a_location_with_nothing_is_named(many, caller, tmp_path, location, error, words):
    with pytest.raises(error, match=words):
        list(objects(tmp_path).files(location))


def test_an_object_that_vanishes_or_is_replaced_after_the_listing_is_gone(store, caller, tmp_path):
    bucket = store.bucket("moving")
    for key in ("a.log", "b.log"):
        store.client.put_object(Bucket=bucket, Key=key, Body=b"first")
    where = objects(tmp_path)
    first, second = where.files(f"s3://{bucket}")
    store.client.delete_object(Bucket=bucket, Key="a.log")
    store.client.put_object(Bucket=bucket, Key="b.log", Body=b"second")
    with pytest.raises(GoneError, match=r"s3://moving/a\.log: no longer there"):
        where.fetch(first)
    with pytest.raises(GoneError, match=r"s3://moving/b\.log: replaced"):
        where.fetch(second)


def test_who_may_not_list_or_read_is_told_which_permission_is_missing(
    many, store, caller, tmp_path
):
    nobody = store.user("nobody", "s3:ListAllMyBuckets")
    lister = store.user("lister", "s3:ListBucket")
    store.checked_from_now(True)
    try:
        caller(**nobody)
        with pytest.raises(NotPermittedError, match="s3://many/logs: access denied") as refused:
            list(objects(tmp_path).files(f"s3://{many}/logs"))
        assert "s3:ListBucket" in refused.value.hint
        caller(**lister)
        where = objects(tmp_path)
        file = next(where.files(f"s3://{many}/logs"))
        with pytest.raises(NotPermittedError, match=r"s3://many/logs/0000\.log: access") as refused:
            where.fetch(file)
        assert "s3:GetObject" in refused.value.hint
        caller(AWS_ACCESS_KEY_ID="AKIAUNKNOWN")
        with pytest.raises(NotPermittedError, match="InvalidAccessKeyId"):
            list(objects(tmp_path).files(f"s3://{many}/logs"))
    finally:
        store.checked_from_now(False)


def test_a_store_that_does_not_answer_is_named(caller, tmp_path):
    with pytest.raises(UnreachableError, match="s3://many/logs: "):
        list(objects(tmp_path, endpoint="http://127.0.0.1:9").files("s3://many/logs"))


def test_a_profile_reads_with_its_own_keys_and_region(many, caller, tmp_path, monkeypatch):
    (tmp_path / "no-credentials").write_text(
        "[reader]\naws_access_key_id = someone\naws_secret_access_key = else\n"
    )
    (tmp_path / "no-config").write_text("[profile reader]\nregion = eu-central-1\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name)
    provider, region = aws_credentials.find("reader")
    assert (provider()["access_key_id"], region) == ("someone", "eu-central-1")
    where = objects(tmp_path, profile="reader")
    assert len(list(where.files(f"s3://{many}/logs"))) == 1203
    [file] = where.files(f"s3://{many}/logs/0007.log")
    assert "Credential=someone%2F" in where.signed(file)
    assert "%2Feu-central-1%2Fs3" in where.signed(file)


def test_without_any_credentials_or_with_an_unknown_profile_the_way_out_is_named(
    caller, tmp_path, monkeypatch
):
    with pytest.raises(NotPermittedError, match="no-one"):
        list(objects(tmp_path, profile="no-one").files("s3://many"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(NotPermittedError, match="no AWS credentials") as refused:
        list(objects(tmp_path).files("s3://many"))
    assert "AWS_PROFILE" in refused.value.hint


@pytest.mark.parametrize(("module", "extra"), [("obstore.store", "s3"), ("boto3", "aws")])
def test_a_missing_extra_is_named(caller, tmp_path, monkeypatch, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(NotSupportedError) as missing:
        list(objects(tmp_path, profile="any").files("s3://many"))
    assert f"flowcost[{extra}]" in missing.value.hint


def test_bucket_and_key_are_told_apart():
    assert split("s3://b/c/d/") == ("b", "c/d")
    assert split("s3://b") == ("b", "")
