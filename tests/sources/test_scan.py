"""Many files: each read once, in any order and after any interruption with the same result."""

import duckdb
import pytest

from flowcost.errors import SourceError
from flowcost.sources import discover, infer, overlap
from flowcost.sources.kernel import Options
from flowcost.sources.knowledge import Knowledge
from flowcost.sources.report import Fate
from flowcost.sources.scan import scan
from tests.sources.logs import NOON, ROW, interface, rows, write_parquet, write_text
from tests.sources.test_nat import NINE

NAME = "123456789010_vpcflowlogs_us-east-1_{}_20261005T1200Z_{}.log.gz"
EGRESS = {"flow-direction": "egress"}


def found(scanned):
    with duckdb.connect() as con:
        findings = overlap.create_flows(con, scanned)
        total = con.execute("SELECT coalesce(sum(bytes), 0)::BIGINT FROM flows").fetchall()[0][0]
    return total, findings


def test_a_provider_name_tells_account_region_flow_log_and_slot(tmp_path):
    path = tmp_path / NAME.format("fl-0a1", "ab12")
    write_text(path, rows(EGRESS))
    (file,) = discover.local(tmp_path)
    assert (file.account, file.region, file.flow_log_id) == ("123456789010", "us-east-1", "fl-0a1")
    assert file.slot.isoformat() == "2026-10-05T12:00:00+00:00"


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
    scanned = scan(files, tmp_path / "out", Knowledge())
    assert len(files) == 3
    assert findings == []
    assert sum(r.rows for r in scanned.reports) == 3
    assert not any(r.error for r in scanned.reports)


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


def test_a_second_scan_reads_nothing_again_and_a_new_file_alone(tmp_path):
    logs, out = tmp_path / "logs", tmp_path / "out"
    logs.mkdir()
    write_text(logs / NAME.format("fl-0a1", "1"), rows(EGRESS))
    first = scan(list(discover.local(logs)), out, Knowledge())
    write_text(logs / NAME.format("fl-0a1", "2"), rows(EGRESS))
    second = scan(list(discover.local(logs)), out, Knowledge())
    assert (first.reused, second.reused) == (0, 1)
    assert set(first.partials) < set(second.partials)
    assert found(second)[0] == 2000


def test_new_knowledge_or_options_make_new_partials(tmp_path):
    logs, out = tmp_path / "logs", tmp_path / "out"
    logs.mkdir()
    write_text(logs / NAME.format("fl-0a1", "1"), rows(EGRESS))
    files = list(discover.local(logs))
    known = Knowledge(interfaces=(interface("eni-a", "10.0.1.5"),))
    names = {
        scan(files, out, Knowledge()).partials,
        scan(files, out, known).partials,
        scan(files, out, Knowledge(), Options(ports=False)).partials,
    }
    assert len(names) == 3


def test_what_an_interrupted_scan_left_half_written_is_made_again(tmp_path):
    logs, out = tmp_path / "logs", tmp_path / "out"
    logs.mkdir()
    write_text(logs / NAME.format("fl-0a1", "1"), rows(EGRESS))
    files = list(discover.local(logs))
    (partial,) = scan(files, out, Knowledge()).partials
    whole = partial.read_bytes()
    partial.rename(partial.with_suffix(".flows.partly"))
    again = scan(files, out, Knowledge())
    assert again.reused == 0
    assert again.partials[0].read_bytes() == whole


def test_a_damaged_file_is_tried_again_once_it_is_whole(tmp_path):
    logs, out = tmp_path / "logs", tmp_path / "out"
    logs.mkdir()
    path = write_text(logs / NAME.format("fl-0a1", "1"), rows(EGRESS))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    first = scan(list(discover.local(logs)), out, Knowledge())
    assert [f.code for f in first.findings] == ["flow-log-unreadable"]
    path.write_bytes(whole)
    second = scan(list(discover.local(logs)), out, Knowledge())
    assert (second.findings, found(second)[0]) == ((), 1000)


def test_several_workers_give_the_partials_of_one(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    for n in range(12):
        write_text(logs / NAME.format("fl-0a1", n), rows({**EGRESS, "bytes": n}, EGRESS))
    files = list(discover.local(logs))
    one = scan(files, tmp_path / "one", Knowledge(), workers=1)
    many = scan(files[::-1], tmp_path / "many", Knowledge(), workers=4)
    assert [p.read_bytes() for p in one.partials] == [p.read_bytes() for p in many.partials[::-1]]


def test_of_two_flow_logs_of_one_interface_one_is_booked(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    pods = rows({**EGRESS, "srcaddr": "10.0.1.4", "pkt-srcaddr": "10.0.1.77"})
    write_text(logs / NAME.format("fl-0a1", "1"), pods, ROW_V2)
    write_text(logs / NAME.format("fl-0b2", "2"), pods)
    write_text(logs / NAME.format("fl-0c3", "3"), rows({**EGRESS, "interface-id": "eni-b"}))
    later = rows({**EGRESS, "start": NOON + 3600, "end": NOON + 3660, "bytes": 5})
    write_text(logs / NAME.format("fl-0a1", "4"), later, ROW_V2)
    scanned = scan(list(discover.local(logs)), tmp_path / "out", Knowledge())
    total, findings = found(scanned)
    assert total == 1000 + 1000 + 5  # the detailed log at noon, eni-b, the only log at one
    assert [(f.code, f.bytes) for f in findings] == [("flow-log-overlap", 1000)]


def test_files_without_a_provider_name_are_never_taken_for_copies(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("one.log", "two.log"):
        write_text(logs / name, rows(EGRESS))
    total, findings = found(scan(list(discover.local(logs)), tmp_path / "out", Knowledge()))
    assert (total, findings) == (2000, [])


@pytest.mark.parametrize("write", [write_text, write_parquet])
def test_nat_gateways_are_inferred_from_their_rows(tmp_path, write):
    path = tmp_path / ("a.log" if write is write_text else "a.parquet")
    write(path, NINE)
    files = list(discover.local(path))
    gateways = infer.nat_gateways(files)
    assert [(g.id, len(g.addresses)) for g in gateways] == [("eni-n", 1)]
    scanned = scan(files, tmp_path / "out", Knowledge(gateways=gateways))
    assert found(scanned)[0] / (1 << 30) == 6.00
    assert scanned.reports[0].tally(Fate.TRANSIT).bytes == 2 << 30
