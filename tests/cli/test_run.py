"""`flowcost run` for somebody who has never seen it: what is missing is said with the way out."""

import json

import pytest
from click.testing import CliRunner
from tests.sources.logs import ROW, rows, text, write_text

from flowcost.cli import main
from flowcost.errors import SourceError

DECLARED = """
[[network]]
cidr = "10.0.0.0/8"
cloud.provider = "aws"
cloud.region = "us-east-1"
cloud.account.id = "123456789010"
cloud.availability_zone = "use1-az1"
cloud.vpc_id = "vpc-1"
owner.team = "shop"
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "declared.toml").write_text(DECLARED)
    (tmp_path / "logs").mkdir()
    return tmp_path


def ask(place, *words, logs="logs", inventory="declared.toml"):
    given = ["run", "--ledger", str(place / "ledger")]
    given += ["--flow-logs", str(place / logs)] if logs else []
    given += ["--inventory", str(place / inventory)] if inventory else []
    return CliRunner().invoke(main, [*given, *words])


@pytest.mark.parametrize(
    ("missing", "way_out"),
    [({"logs": ""}, "s3://bucket/prefix"), ({"inventory": ""}, "flowcost snapshot")],
)
def test_a_missing_option_says_what_to_give(place, missing, way_out):
    done = ask(place, **missing)
    assert done.exit_code == 2
    assert way_out in done.output


def test_a_folder_without_flow_logs_is_an_error_that_says_what_they_look_like(place):
    (place / "logs" / "notes.md").write_text("none")
    done = ask(place)
    assert "no flow logs" in str(done.exception)
    assert ".parquet" in str(done.exception)


def test_the_summary_ends_with_what_to_ask_next(place):
    write_text(place / "logs" / "a.log", rows({"flow-direction": "egress", "bytes": 1 << 30}))
    done = ask(place, "--tenant", "me")
    assert done.exit_code == 0, done.output
    assert "1 booked" in done.output
    lines = done.output[done.output.index("Next:") :].splitlines()[1:]
    assert len(lines) == 3
    for line in lines:
        words = line.split()
        assert words[0] == "flowcost"
        if words[1] == "report":
            words[-1] = str(place / "report.html")
        again = CliRunner().invoke(main, words[1:])
        assert again.exit_code == 0, again.output
    assert (place / "report.html").exists()


def test_text_without_header_asks_for_its_format_and_reads_with_it(place):
    lines = text(rows({"flow-direction": "egress"}), header=False)
    (place / "logs" / "a.json").write_text(
        json.dumps({"events": [{"message": line} for line in lines.splitlines()]})
    )
    done = ask(place)
    assert "flow-log-unreadable" in done.output
    assert isinstance(done.exception, SourceError)
    assert "none of 1 files could be read" in str(done.exception)
    assert "silent-interface" not in done.output
    assert "Next:" not in done.output
    given = " ".join("${" + name + "}" for name in ROW)
    again = ask(place, "--log-format", given)
    assert again.exit_code == 0
    assert "1 booked" in again.output
