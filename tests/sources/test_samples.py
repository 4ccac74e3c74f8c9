"""Real samples read: every row of every file is under one fate, by a count of our own."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flowcost.sources.record import parse_format
from flowcost.sources.tgw_flow_logs import TGW
from flowcost.sources.vpc_flow_logs import VPC
from tests.sources.logs import Knowledge, brief, interface, nat, read

SAMPLES = Path(__file__).parent / "samples"

# The formats of the two that have no header.
TGW_FORMAT = (
    "${version} ${account-id} ${tgw-id} ${tgw-attachment-id} ${tgw-src-vpc-id} ${tgw-dst-vpc-id}"
    " ${tgw-src-subnet-id} ${tgw-dst-subnet-id} ${tgw-src-eni} ${tgw-dst-eni} ${tgw-src-az-id}"
    " ${tgw-dst-az-id} ${tgw-pair-attachment-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport}"
    " ${protocol} ${packets} ${bytes} ${start} ${end} ${log-status} ${type} ${tcp-flags}"
    " ${flow-direction} ${region}"
)
CUSTOM_FORMAT = "${version} ${interface-id} ${srcaddr} ${dstaddr}"

# What is in each file: rows by fate, and the bytes that are booked.
CASES = {
    "vpc_v2_centralized_logging.log": ({"booked": 10, "nodata": 7}, 559, ""),
    "vpc_v2_opensearch_catalog.log": ({"booked": 22}, 968, ""),
    "vpc_v3_custom.log": ({"booked": 2}, 8090, ""),
    "vpc_v4_custom.log": ({"booked": 2}, 8090, ""),
    # One flow between private addresses, without direction: nobody's until an inventory says.
    "vpc_flows.parquet": ({"nodata": 2, "unoriented": 1}, 0, ""),
    "vpc_ecs.log": ({"unoriented": 1}, 0, ""),
    "tgw_v6.log": ({"booked": 1}, 1000, ""),
    "tgw_cloudwatch.json": ({"booked": 1}, 1000, TGW_FORMAT),
    "vpc_cloudwatch_custom.json": ({"no_bytes": 2}, 0, CUSTOM_FORMAT),
}


def counted(path: Path) -> int:
    """Count the records of a file without our reader."""
    if path.suffix == ".parquet":
        return pq.read_metadata(path).num_rows
    if path.suffix == ".json":
        return len(json.loads(path.read_text())["logEvents"])
    return sum(1 for line in path.read_text().splitlines()[1:] if line)


def accounted(report) -> dict[str, int]:
    return {fate.value: tally.rows for fate, tally in report.fates.items()}


def test_every_sample_has_a_case():
    assert {path.name for path in SAMPLES.iterdir()} == {*CASES, "README.md"}


@pytest.mark.parametrize("name", CASES)
def test_a_sample_reads_and_its_rows_are_accounted_for(name):
    fates, size, given = CASES[name]
    flows, report = read(SAMPLES / name, log_format=parse_format(given) if given else ())
    assert report.error == ""
    assert accounted(report) == fates
    assert report.rows == sum(fates.values()) == counted(SAMPLES / name)
    assert sum(flow["bytes"] for flow in flows) == size


@pytest.mark.parametrize("name", ["tgw_cloudwatch.json", "vpc_cloudwatch_custom.json"])
def test_a_sample_without_header_asks_for_its_format(name):
    flows, report = read(SAMPLES / name)
    assert flows == []
    assert "--log-format" in report.error
    assert name in report.error


@pytest.mark.parametrize(
    ("name", "observer", "own", "size"),
    [
        ("vpc_ecs.log", "eni-0abc1234def567890", "10.0.1.100", 3500),
        ("vpc_flows.parquet", "eni-102010ab", "192.0.2.1", 840),
    ],
)
def test_an_inventory_orients_what_the_samples_do_not(name, observer, own, size):
    flows, report = read(SAMPLES / name, Knowledge(interfaces=(interface(observer, own),)))
    assert [flow["bytes"] for flow in flows] == [size]
    assert report.rows == counted(SAMPLES / name)


# The record examples of the VPC user guide, as facts: (fields, rows, rows by fate, booked bytes).
V2 = " ".join(VPC.default)
ENI = "123456789010 eni-1235b8ca123456789"
FLAGS = (
    "version vpc-id subnet-id instance-id interface-id account-id type srcaddr dstaddr srcport"
    " dstport pkt-srcaddr pkt-dstaddr protocol bytes packets start end action tcp-flags log-status"
)
HERE = "3 vpc-abcdefab012345678 subnet-aaaaaaaa012345678 i-01234567890123456"
OUT = f"{HERE} eni-1235b8ca123456789 123456789010 IPv4 10.0.0.62 52.213.180.42 5001"
IN = f"{HERE} eni-1235b8ca123456789 123456789010 IPv4 52.213.180.42 10.0.0.62"
ENDS_OUT, ENDS_IN = "10.0.0.62 52.213.180.42 6", "52.213.180.42 10.0.0.62 6"
FIRST, LATER, LAST = "1566848875 1566848933", "1566848933 1566849113", "1566933133 1566933193"
SERVICE = (
    "version srcaddr dstaddr srcport dstport protocol start end type packets bytes account-id"
    " vpc-id subnet-id instance-id interface-id region az-id sublocation-type sublocation-id action"
    " tcp-flags pkt-srcaddr pkt-dstaddr pkt-src-aws-service pkt-dst-aws-service traffic-path"
    " flow-direction log-status"
)
PLACE = (
    "123456789012 vpc-abcdefab012345678 subnet-aaaaaaaa012345678 i-0c50d5961bcb2d47b"
    " eni-1235b8ca123456789 ap-southeast-2 apse2-az3 - - ACCEPT"
)
GUIDE = {
    "accepted and rejected": (V2, [
        f"2 {ENI} 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK",
        f"2 {ENI} 172.31.9.69 172.31.9.12 49761 3389 6 20 4249 1418530010 1418530070 REJECT OK",
    ], {"unoriented": 1, "reject": 1}, 0),
    "IPv6": (V2, [
        (f"2 {ENI} 2001:db8:1234:a100:8d6e:3477:df66:f105 2001:db8:1234:a102:3304:8879:34cf:4071"
        " 34892 22 6 54 8855 1477913708 1477913820 ACCEPT OK"),
    ], {"unoriented": 1}, 0),
    "no data and skipped": (V2, [
        f"2 {ENI} - - - - - - - 1431280876 1431280934 - NODATA",
        "2 123456789010 eni-11111111aaaaaaaaa - - - - - - - 1431280876 1431280934 - SKIPDATA",
    ], {"nodata": 1, "skipdata": 1}, 0),
    "security group and network ACL": (V2, [
        f"2 {ENI} 203.0.113.12 172.31.16.139 0 0 1 4 336 1432917027 1432917142 ACCEPT OK",
        f"2 {ENI} 172.31.16.139 203.0.113.12 0 0 1 4 336 1432917094 1432917142 REJECT OK",
    ], {"booked": 1, "reject": 1}, 336),
    "TCP flags": (FLAGS, [
        f"{IN} 43416 5001 {ENDS_IN} 568 8 {FIRST} ACCEPT 2 OK",
        f"{OUT} 43416 {ENDS_OUT} 376 7 {FIRST} ACCEPT 18 OK",
        f"{IN} 43418 5001 {ENDS_IN} 100701 70 {FIRST} ACCEPT 2 OK",
        f"{OUT} 43418 {ENDS_OUT} 632 12 {FIRST} ACCEPT 18 OK",
        f"{OUT} 43418 {ENDS_OUT} 63388 1219 {LATER} ACCEPT 1 OK",
        f"{IN} 43418 5001 {ENDS_IN} 23294588 15774 {LATER} ACCEPT 1 OK",
        f"{IN} 43638 5001 {ENDS_IN} 1260 17 {LAST} ACCEPT 3 OK",
        f"{OUT} 43638  {ENDS_OUT} 967 14 {LAST} ACCEPT 19 OK",  # two blanks, as published
    ], {"booked": 7, "broken": 1}, 23_461_513),
    "service name and path": (SERVICE, [
        (f"5 52.95.128.179 10.0.0.71 80 34210 6 1616729292 1616729349 IPv4 14 15044 {PLACE} 19"
        " 52.95.128.179 10.0.0.71 S3 - - ingress OK"),
        (f"5 10.0.0.71 52.95.128.179 34210 80 6 1616729292 1616729349 IPv4 7 471 {PLACE} 3"
        " 10.0.0.71 52.95.128.179 - S3 8 egress OK"),
    ], {"booked": 2}, 15_515),
    "NAT gateway": ("instance-id interface-id srcaddr dstaddr pkt-srcaddr pkt-dstaddr", [
        "- eni-1235b8ca123456789 10.0.1.5 10.0.0.220 10.0.1.5 203.0.113.5",
        "- eni-1235b8ca123456789 10.0.0.220 203.0.113.5 10.0.0.220 203.0.113.5",
        "- eni-1235b8ca123456789 203.0.113.5 10.0.0.220 203.0.113.5 10.0.0.220",
        "- eni-1235b8ca123456789 10.0.0.220 10.0.1.5 203.0.113.5 10.0.1.5",
    ], {"no_bytes": 4}, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", GUIDE)
def test_the_examples_of_the_user_guide_read_and_are_accounted_for(tmp_path, name):
    fields, lines, fates, size = GUIDE[name]
    path = tmp_path / "a.log"
    path.write_text("\n".join([fields, *lines, ""]))
    flows, report = read(path)
    assert report.error == ""
    assert accounted(report) == fates
    assert report.rows == sum(fates.values()) == len(lines)
    assert sum(flow["bytes"] for flow in flows) == size


def test_the_guides_nat_gateway_with_bytes_gives_the_clients_two_rows(tmp_path):
    fields, lines, *_ = GUIDE["NAT gateway"]
    path = tmp_path / "a.log"
    times = "1616729292 1616729349"
    with_bytes = [f"{line} {size} {times}" for line, size in zip(lines, (7, 7, 9, 9), strict=True)]
    path.write_text("\n".join([f"{fields} bytes start end", *with_bytes, ""]))
    known = Knowledge(gateways=(nat("nat-1", ("eni-1235b8ca123456789",), "10.0.0.220"),))
    flows, report = read(path, known)
    assert brief(flows) == [
        ("receive", "10.0.1.5", "203.0.113.5", 9), ("transmit", "10.0.1.5", "203.0.113.5", 7),
    ]  # fmt: skip
    assert accounted(report) == {"booked": 2, "cross_check": 2}


def test_all_fields_in_the_published_orders_are_known(tmp_path):
    # The v10 set is 42 fields and the transit gateway's 36; a file with only that line has no row.
    ten = [field.name for field in VPC.fields if field.version <= 10]
    assert (len(ten), len(TGW.default)) == (42, 36)
    for names in (ten, TGW.default):
        path = tmp_path / "a.txt"
        path.write_text(" ".join(names) + "\n")
        _, report = read(path)
        assert (report.rows, report.error, report.unknown_fields) == (0, "", ())
