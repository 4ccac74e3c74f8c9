"""`flowcost costs` and `explain` print the same from a server as from the ledger it serves."""

import json

import pytest
from click.testing import CliRunner
from tests.api.conftest import Door, app_of
from tests.api.running import running

from flowcost.cli import main


@pytest.fixture(scope="module")
def server(shop, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    door = Door(folder / "door")
    for who in ("viewer", "payments", "agents"):
        (folder / who).write_text(door.tokens[who])
    (folder / "wrong").write_text("flowcost_000000000000_wrong")
    with running(app_of(shop, door.gate)) as url:
        yield lambda *words, who="viewer": call(
            *words, "--server", url, *(("--token-file", str(folder / who)) if who else ())
        )
    door.gate.close()


def call(*words):
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize("form", ["table", "json", "csv", "parquet", "markdown"])
@pytest.mark.parametrize(
    "words",
    [
        ("costs",),
        ("costs", "--by", "owner.team,day", "--sort", "day"),
        ("costs", "--by", "local.address,hour,path"),
        ("costs", "--by", "path,operation", "--top", "2"),
        ("costs", "--by", "", "--legs", "observed", "--attribute-by", "source"),
        ("costs", "--by", "rule", "--filter", "path = cross_az", "--from", "2026-11-02"),
        ("costs", "--hours", "1"),
        ("explain", "--top", "20"),
        ("explain", "--top", "1", "--filter", "path = unknown"),
    ],
    ids=" ".join,
)
def test_the_server_says_what_the_ledger_says(server, shop, words, form):
    here = call(*words, "--format", form, "--ledger", str(shop.root))
    there = server(*words, "--format", form)
    assert here.exit_code == there.exit_code == 0, there.output
    assert there.stdout_bytes == here.stdout_bytes
    assert here.stdout_bytes


def test_all_pages_are_fetched(server, shop, monkeypatch):
    monkeypatch.setattr("flowcost.cli.asking.PAGE", 2)
    words = ("costs", "--by", "path,operation,hour", "--format", "json")
    there = json.loads(server(*words).stdout)
    assert there == json.loads(call(*words, "--ledger", str(shop.root)).stdout)
    assert len(there) > 4


def test_a_scope_holds_for_the_command_line_too(server):
    rows = json.loads(server("costs", "--format", "json", who="payments").stdout)
    assert {row["path"] for row in rows} == {"cross_az"}


@pytest.mark.parametrize(
    ("words", "who", "code"),
    [
        (("costs",), None, "not-permitted"),
        (("costs",), "wrong", "not-permitted"),
        (("costs",), "agents", "not-permitted"),
        (("costs",), "no-such-file", "not-permitted"),
        (("costs", "--filter", "pth = x"), "viewer", "filter"),
        (("costs", "--by", "pth"), "viewer", "usage"),
        (("costs", "--tenant", "t2"), "viewer", "usage"),
        (("costs", "--hours", "1", "--last", "1h"), "viewer", "usage"),
        (("costs", "--basis", "billed", "--bill", "x.csv"), "viewer", "usage"),
    ],
    ids=str,
)
def test_a_refusal_names_the_way_out(server, words, who, code):
    error = server(*words, who=who).exception
    assert error.code == code
    assert error.hint or "did you mean" in error.message or "token" in error.message


def test_a_server_that_is_not_there_is_unreachable():
    assert call("costs", "--server", "http://127.0.0.1:1").exception.code == "unreachable"
    assert call("costs", "--server", "ftp://x").exception.code == "usage"
