"""Records without a header: text by a format that is given, CloudWatch Logs in all its shapes."""

import gzip
import json

import pytest

from flowcost.errors import SourceError
from flowcost.sources.record import parse_format
from flowcost.sources.report import Fate, findings
from flowcost.sources.vpc_flow_logs import VPC
from tests.sources.logs import ROW, brief, read, text, write_text
from tests.sources.test_readers import EXPECTED, SAMPLE


def test_text_without_header_reads_as_the_default_format(tmp_path):
    path = tmp_path / "a.log"
    path.write_text(text(SAMPLE[:1], list(VPC.default), header=False))
    _, report = read(path)
    assert report.rows == 1
    assert report.error == ""


def test_text_without_header_reads_in_the_format_given(tmp_path):
    path = tmp_path / "a.log"
    path.write_text(text(SAMPLE, list(ROW), header=False))
    given = parse_format(" ".join("${" + name + "}" for name in ROW))
    flows, _ = read(path, log_format=given)
    assert brief(flows) == EXPECTED


def test_text_without_header_and_format_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("2 eni-1 10.0.0.1 10.0.0.2\n")
    flows, report = read(path)
    assert flows == []
    assert "no header line, and 4 fields" in report.error
    assert "--log-format" in report.error
    assert findings([report])[0].severity == "error"


def test_a_format_of_another_length_is_refused(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("2 eni-1 10.0.0.1 10.0.0.2\n")
    _, report = read(path, log_format=("version", "interface-id", "srcaddr"))
    assert "the first line has 4 fields where --log-format has 3" in report.error


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("$version $account-id", "names no field"),
        ("${version},${account-id}", "names no field"),
        (" id  ", "names no fields"),  # what a shell leaves of ${account-id} in double quotes
        ("", "names no fields"),
    ],
)
def test_a_format_that_is_none_is_refused_with_the_way_to_give_it(given, what):
    with pytest.raises(SourceError, match=what) as refused:
        parse_format(given)
    assert "single quotes" in str(refused.value)


def test_a_field_that_is_misspelt_is_asked_about(tmp_path):
    records = [{**row, "acount-id": "1"} for row in SAMPLE]
    _, report = read(write_text(tmp_path / "a.log", records, [*ROW, "acount-id"]))
    [finding] = findings([report])
    assert "account-id, misspelt?" in finding.hint


def test_a_format_that_names_a_field_twice_is_refused():
    with pytest.raises(SourceError, match="bytes"):
        parse_format("${bytes} ${srcaddr} ${bytes}")


def _envelope(lines: list[str]) -> str:
    return json.dumps(
        {
            "messageType": "DATA_MESSAGE",
            "owner": "123456789012",
            "logGroup": "/vpc/flow",
            "logStream": "eni-a-all",
            "logEvents": [
                {"id": str(n), "timestamp": 1, "message": m} for n, m in enumerate(lines)
            ],
        }
    )


def test_cloudwatch_envelopes_one_after_another_are_read(tmp_path):
    lines = text(SAMPLE, header=False).splitlines()
    control = json.dumps({"messageType": "CONTROL_MESSAGE", "logEvents": [{"message": "check"}]})
    path = tmp_path / "a.json.gz"
    body = _envelope(lines[:1]) + control + _envelope(lines[1:])
    path.write_bytes(gzip.compress(body.encode()))
    flows, _ = read(path, log_format=tuple(ROW))
    assert brief(flows) == EXPECTED


def test_the_output_of_filter_log_events_is_read(tmp_path):
    events = [{"message": line} for line in text(SAMPLE, header=False).splitlines()]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"events": events, "searchedLogStreams": []}))
    flows, _ = read(path, log_format=tuple(ROW))
    assert brief(flows) == EXPECTED


def test_messages_below_a_header_message_are_read_by_it(tmp_path):
    names = sorted(ROW)
    path = tmp_path / "a.json"
    path.write_text(_envelope(text(SAMPLE, names).splitlines()))
    flows, report = read(path)
    assert brief(flows) == EXPECTED
    assert report.rows == 3


def test_an_empty_message_is_a_broken_record_wherever_it_stands(tmp_path):
    lines = text(SAMPLE, header=False).splitlines()
    path = tmp_path / "a.json"
    path.write_text(_envelope([lines[0], "", lines[1], lines[2], ""]))
    flows, report = read(path, log_format=tuple(ROW))
    assert brief(flows) == EXPECTED
    assert report.tally(Fate.BROKEN).rows == 2


def test_a_file_of_control_messages_only_has_no_rows(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"messageType": "CONTROL_MESSAGE", "logEvents": [{"message": "x"}]}))
    flows, report = read(path)
    assert (flows, report.rows, report.error) == ([], 0, "")


def test_a_cloudwatch_export_with_its_own_time_before_each_record_is_read(tmp_path):
    lines = text(SAMPLE, header=False).splitlines()
    path = tmp_path / "000000.gz"
    stamped = "\n".join(f"2026-10-05T12:00:00.000Z {line}" for line in lines)
    path.write_bytes(gzip.compress(stamped.encode()))
    flows, _ = read(path, log_format=tuple(ROW))
    assert brief(flows) == EXPECTED


def test_json_that_is_no_log_is_refused(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"records": []}')
    _, report = read(path)
    assert "without log events" in report.error
