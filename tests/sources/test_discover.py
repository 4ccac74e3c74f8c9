"""Which files there are."""

import pytest

from flowcost.errors import SourceError
from flowcost.sources import discover
from tests.sources.logs import ROW, read, rows, write_parquet, write_text

NAME = "123456789010_vpcflowlogs_us-east-1_{}_20261005T1200Z_{}.log.gz"
EGRESS = {"flow-direction": "egress"}


def test_a_provider_name_tells_account_region_and_flow_log(tmp_path):
    path = tmp_path / NAME.format("fl-0a1", "ab12")
    write_text(path, rows(EGRESS))
    (file,) = discover.local(tmp_path)
    assert (file.account, file.region, file.flow_log_id) == ("123456789010", "us-east-1", "fl-0a1")


def test_a_name_that_only_resembles_the_providers_is_a_name_like_any_other(tmp_path):
    # Found by fuzzing: no minute is 83, and digits of other scripts are none of the provider's.
    path = tmp_path / "123456789010_vpcflowlogs_us-east-1_fl-0a1_20261005T1483Z_ab.log"
    write_text(path, rows(EGRESS))
    assert [file.flow_log_id for file in discover.local(tmp_path)] == ["fl-0a1"]
    named = discover.describe("١٢٣٤٥٦٧٨٩٠١٢_v_us-east-1_fl-0a1_20261005T1200Z_ab.log", path,
                              size=0, version="")  # fmt: skip
    assert named.flow_log_id == ""


def test_a_tree_of_several_formats_and_prefixes_is_read_whole(tmp_path):
    plain = tmp_path / "AWSLogs/123456789010/vpcflowlogs/us-east-1/2026/10/05"
    hive = tmp_path / "AWSLogs/aws-account-id=1/aws-service=vpcflowlogs/aws-region=r/year=2026"
    for folder in (plain, hive):
        folder.mkdir(parents=True)
    write_text(plain / NAME.format("fl-0a1", "1"), rows(EGRESS))
    write_parquet(hive / "x.log.parquet", rows(EGRESS))
    write_text(hive / "x.log", rows(EGRESS), ROW_V2)
    (hive / "_SUCCESS").write_text("")
    (hive / "notes.md").write_text("no log")
    files, findings = discover.unique(discover.local(tmp_path))
    assert findings == []
    assert sorted(file.format for file in files) == ["parquet", "text", "text"]
    assert [read(file.path)[1].rows for file in files] == [1, 1, 1]


ROW_V2 = [name for name in ROW if name not in ("pkt-srcaddr", "pkt-dstaddr", "az-id")]


def test_copies_of_one_object_are_read_once(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_text(tmp_path / folder / NAME.format("fl-0a1", "1"), rows(EGRESS))
    files, findings = discover.unique(discover.local(tmp_path))
    assert len(files) == 1
    assert [f.code for f in findings] == ["flow-log-copy"]


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        list(discover.local(tmp_path / "nothing"))
