"""Every form in which flow records are delivered reads as the same flows."""

import gzip

import pyarrow.parquet as pq
import pytest

from flowcost.sources import parquet
from flowcost.sources import text as reader
from flowcost.sources.discover import describe
from flowcost.sources.report import Fate, findings
from flowcost.sources.tgw_flow_logs import TGW
from flowcost.sources.vpc_flow_logs import VPC
from tests.sources import logs
from tests.sources.logs import NOON, ROW, brief, read, rows, text, write_parquet, write_text

SAMPLE = rows(
    {"flow-direction": "egress", "bytes": 4249},
    {"flow-direction": "ingress", "srcaddr": "10.0.2.6", "dstaddr": "10.0.1.5", "bytes": 11},
    {"flow-direction": "egress", "dstaddr": "2001:db8::7", "srcaddr": "2001:db8::5", "bytes": 7},
)
EXPECTED = [
    ("receive", "10.0.1.5", "10.0.2.6", 11),
    ("transmit", "10.0.1.5", "10.0.2.6", 4249),
    ("transmit", "2001:db8::5", "2001:db8::7", 7),
]


def test_the_field_table_has_every_published_field_once_with_its_version():
    per_version = {v: sum(f.version == v for f in VPC.fields) for v in (2, 3, 4, 5, 7, 8, 9, 10)}
    assert per_version == {2: 14, 3: 7, 4: 4, 5: 4, 7: 10, 8: 1, 9: 1, 10: 1}
    assert len(VPC.names) == len(VPC.fields)
    assert len(TGW.names) == len(TGW.fields) == 36
    assert " ".join(VPC.default) == (
        "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes"
        " start end action log-status"
    )


def test_plain_and_gzip_text_read_alike(tmp_path):
    plain, _ = read(write_text(tmp_path / "a.log", SAMPLE))
    packed, _ = read(write_text(tmp_path / "a.log.gz", SAMPLE))
    assert brief(plain) == brief(packed) == EXPECTED


@pytest.mark.parametrize("dash", [False, True])
@pytest.mark.parametrize("hyphens", [False, True])
def test_parquet_reads_with_either_spelling_and_either_form_of_missing(tmp_path, dash, hyphens):
    path = write_parquet(tmp_path / "a.parquet", SAMPLE, dash=dash, hyphens=hyphens)
    flows, report = read(path)
    assert brief(flows) == EXPECTED
    assert report.rows == 3


def test_fields_are_found_by_the_header_in_any_order(tmp_path):
    names = sorted(ROW, reverse=True)
    flows, _ = read(write_text(tmp_path / "a.log", SAMPLE, names))
    assert brief(flows) == EXPECTED
    assert {flow["az_id"] for flow in flows} == {"use1-az1"}


def test_a_last_field_that_is_an_integer_is_still_one(tmp_path):
    names = [name for name in ROW if name != "bytes"] + ["bytes"]
    flows, report = read(write_text(tmp_path / "a.log", SAMPLE, names))
    assert brief(flows) == EXPECTED
    assert report.tally(Fate.BROKEN).rows == 0


def test_the_published_sixteen_field_line_parses(tmp_path):
    # The row and field order of a public account of NAT cost analysis; addresses are ours.
    names = (
        "srcaddr dstaddr pkt-srcaddr pkt-dstaddr srcport dstport bytes tcp-flags start log-status"
        " account-id interface-id protocol packets action end"
    )
    line = (
        "10.0.0.220 10.0.1.5 52.0.0.9 10.0.1.5 443 14365 9804 0 1590015808 OK 111111111111"
        " eni-0ad2cbc46f103cb9a 6 76 ACCEPT 1590015928"
    )
    path = tmp_path / "a.log"
    path.write_text(f"{names}\n{line}\n")
    known = logs.Knowledge(gateways=(logs.nat("nat-1", ("eni-0ad2cbc46f103cb9a",), "10.0.0.220"),))
    flows, report = read(path, known)
    assert report.rows == 1
    assert (flows[0]["bytes"], flows[0]["packets"]) == (9804, 76)
    assert (flows[0]["account"], flows[0]["observer"]) == ("111111111111", "eni-0ad2cbc46f103cb9a")
    assert (flows[0]["remote_port"], flows[0]["transport"]) == (443, 6)
    assert flows[0]["initiator"] == "local"


def test_an_unknown_future_field_is_named_and_its_rows_are_booked(tmp_path):
    records = [{**row, "quantum-state": "up"} for row in SAMPLE]
    flows, report = read(write_text(tmp_path / "a.log", records, [*ROW, "quantum-state"]))
    assert brief(flows) == EXPECTED
    assert report.unknown_fields == ("quantum-state",)
    assert [f.code for f in findings([report])] == ["flow-log-unknown-field"]


def test_a_byte_order_mark_before_the_header_is_no_part_of_it(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("\ufeff" + text(SAMPLE), encoding="utf-8")
    flows, report = read(path)
    assert brief(flows) == EXPECTED
    assert report.rows == 3


def test_rows_that_cannot_be_read_are_counted_and_shown(tmp_path):
    good = text(SAMPLE)
    bad = [
        "5 short",
        text(rows({"bytes": "many"}), header=False).strip(),
        text(rows({"bytes": -1}), header=False).strip(),
        text(rows({"start": 12}), header=False).strip(),
        text(rows({"end": NOON - 1}), header=False).strip(),
        text(rows({"action": "MAYBE"}), header=False).strip(),
        text(rows({"log-status": "WELL"}), header=False).strip(),
        text(rows({"srcaddr": "10.0.0.300", "flow-direction": "egress"}), header=False).strip(),
        text(rows({"protocol": 700}), header=False).strip(),
        text(rows({}), header=False).strip() + " more",
    ]
    path = tmp_path / "a.log"
    path.write_text(good + "\n".join(bad) + "\n")
    flows, report = read(path)
    assert brief(flows) == EXPECTED
    assert report.tally(Fate.BROKEN).rows == len(bad)
    assert report.rows == len(bad) + 3 == sum(t.rows for t in report.fates.values())
    assert 1 <= len(report.samples) <= 3
    assert "flow-log-broken-row" in {f.code for f in findings([report])}


def test_a_wrong_row_in_parquet_is_broken_whatever_is_wrong_with_it(tmp_path):
    least, most = -(1 << 63), (1 << 63) - 1
    wrong = rows(
        {"bytes": -5},
        {"bytes": None},
        {"start": None},
        {"srcaddr": None},
        {"start": least, "end": most},
        {"start": most, "end": least},
        {"bytes": most},
        {"packets": least},
        {"srcport": most},
        {"protocol": least},
    )
    skipped = rows({"log-status": "SKIPDATA", "start": least, "end": most})
    path = write_parquet(tmp_path / "a.parquet", SAMPLE + wrong + skipped)
    flows, report = read(path)
    assert brief(flows) == EXPECTED
    assert report.tally(Fate.BROKEN).rows == len(wrong)
    assert report.tally(Fate.SKIPDATA).rows == 1


def test_a_sum_that_no_column_can_hold_is_refused_not_wrapped(tmp_path):
    largest = rows({"flow-direction": "egress", "bytes": 1 << 46})
    flows, report = read(write_parquet(tmp_path / "a.parquet", largest * ((1 << 17) + 1)))
    assert flows == []
    assert "range" in report.error


def test_nodata_skipdata_and_reject_are_counted_apart(tmp_path):
    nothing = {"srcaddr": None, "dstaddr": None, "bytes": None, "packets": None, "action": None}
    records = SAMPLE + rows(
        {**nothing, "log-status": "NODATA"},
        {**nothing, "log-status": "SKIPDATA", "end": NOON + 600},
        {"action": "REJECT", "bytes": 336, "flow-direction": "ingress"},
    )
    for path in (
        write_text(tmp_path / "a.log", records),
        write_parquet(tmp_path / "a.parquet", records),
        write_parquet(tmp_path / "b.parquet", records, dash=True),
    ):
        flows, report = read(path)
        assert brief(flows) == EXPECTED
        assert {fate: tally.rows for fate, tally in report.fates.items()} == {
            Fate.BOOKED: 3, Fate.NODATA: 1, Fate.SKIPDATA: 1, Fate.REJECT: 1,
        }  # fmt: skip
        assert report.tally(Fate.REJECT).bytes == 336
        assert report.skipped_seconds == 600
    skipped = next(f for f in findings([report]) if f.code == "flow-log-skipdata")
    assert "10 minutes" in skipped.subject


def test_a_format_without_bytes_books_nothing_and_says_so(tmp_path):
    names = ["instance-id", "interface-id", "srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr"]
    flows, report = read(write_text(tmp_path / "a.log", SAMPLE, names))
    assert flows == []
    assert report.tally(Fate.NO_BYTES).rows == 3


@pytest.mark.parametrize("lost", ["srcaddr", "dstaddr"])
def test_a_format_without_the_logged_addresses_books_nothing_and_says_so(tmp_path, lost):
    names = [name for name in ROW if name != lost]
    flows, report = read(write_text(tmp_path / "a.log", SAMPLE, names))
    assert (flows, report.error) == ([], "")
    assert report.tally(Fate.NO_BYTES).rows == 3
    assert lost in findings([report])[0].hint


def test_an_empty_file_and_one_with_only_a_header_have_no_rows(tmp_path):
    empty, header = tmp_path / "empty.log", tmp_path / "header.log"
    empty.write_text("")
    header.write_text(" ".join(ROW) + "\n")
    for path in (empty, header):
        flows, report = read(path)
        assert (flows, report.rows, report.error) == ([], 0, "")


@pytest.mark.parametrize("suffix", [".log.gz", ".parquet", ".json.gz"])
def test_a_damaged_file_books_nothing_and_names_itself(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        write_parquet(path, SAMPLE)
    else:
        path.write_bytes(gzip.compress(text(SAMPLE).encode()))
    path.write_bytes(path.read_bytes()[:-20])
    flows, report = read(path)
    assert flows == []
    assert path.name in report.error


def test_a_large_text_file_is_read_in_parts_with_the_same_result(tmp_path, monkeypatch):
    many = [row for n in range(200) for row in rows({"flow-direction": "egress", "bytes": n})]
    path = write_text(tmp_path / "a.log.gz", many)
    whole, _ = read(path)
    monkeypatch.setattr(reader, "LARGE", 0)
    monkeypatch.setattr(reader, "PIECE", 1000)
    flows, report = read(path)
    assert report.rows == 200
    assert sum(f["bytes"] for f in flows) == sum(f["bytes"] for f in whole) == sum(range(200))


def test_transit_gateway_rows_are_booked_at_the_sending_attachment(tmp_path):
    base = dict.fromkeys(TGW.default, "-") | {
        "version": 6, "account-id": "111111111111", "tgw-id": "tgw-1",
        "tgw-attachment-id": "tgw-attach-a", "tgw-src-vpc-account-id": "222222222222",
        "tgw-src-vpc-id": "vpc-a", "tgw-src-az-id": "use1-az1", "srcaddr": "10.0.0.1",
        "dstaddr": "10.1.0.1", "srcport": 12345, "dstport": 443, "protocol": 6, "packets": 10,
        "bytes": 1000, "start": NOON, "end": NOON + 60, "log-status": "OK", "region": "us-east-1",
        "flow-direction": "ingress",
    }  # fmt: skip
    records = [
        base,
        {**base, "tgw-attachment-id": "tgw-attach-b", "flow-direction": "egress"},
        {**base, "tgw-attachment-id": "tgw-attach-peer", "srcaddr": "10.9.0.1"},
    ]
    path = tmp_path / "a.log"
    path.write_text(text(records, list(TGW.default)))
    knowledge = logs.Knowledge(peering_attachments=frozenset({"tgw-attach-peer"}))
    flows, report = read(path, knowledge)
    assert brief(flows) == [("transmit", "10.0.0.1", "10.1.0.1", 1000)]
    assert (flows[0]["observer_type"], flows[0]["via"]) == ("tgw_attachment", "tgw-1")
    assert (flows[0]["account"], flows[0]["vpc_id"]) == ("222222222222", "vpc-a")
    assert report.tally(Fate.CROSS_CHECK).rows == 2
    assert report.record == "transitgateway"


def test_a_text_that_all_rows_share_is_known_without_reading_it(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", rows({"srcaddr": "10.0.1.5"}, {}, {}) * 3)
    file = describe(path.as_posix(), path, size=path.stat().st_size, version="1")
    whole = pq.read_metadata(path)
    place = [whole.schema.column(n).name for n in range(whole.num_columns)].index("vpc_id")
    chunk = whole.row_group(0).column(place)
    damaged = bytearray(path.read_bytes())
    begin = chunk.dictionary_page_offset or chunk.data_page_offset
    damaged[begin : begin + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    path.write_bytes(damaged)
    [read] = parquet.rows(file, 1 << 20)
    assert read.table["vpc-id"].to_pylist() == ["vpc-1"] * 9
    mixed = write_parquet(tmp_path / "b.parquet", rows({}, {"vpc-id": "vpc-2"}, {"vpc-id": None}))
    file = describe(mixed.as_posix(), mixed, size=mixed.stat().st_size, version="1")
    [read] = parquet.rows(file, 1 << 20)
    assert read.table["vpc-id"].to_pylist() == ["vpc-1", "vpc-2", None]
