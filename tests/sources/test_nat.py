"""The rows of a NAT gateway: one per direction is booked, and it is the client's."""

import pytest

from flowcost.sources.knowledge import Knowledge
from flowcost.sources.report import Fate, findings
from tests.sources.logs import GIB, brief, interface, nat, read, rows, write_parquet, write_text

REMOTE, BUCKET, SCANNER = "93.184.216.34", "52.216.10.10", "185.1.2.3"
NAT = "10.0.0.220"


def leg(source, destination, packet_source, packet_destination, size, **more):
    return {
        "interface-id": "eni-n", "instance-id": None, "srcaddr": source, "dstaddr": destination,
        "pkt-srcaddr": packet_source, "pkt-dstaddr": packet_destination,
        "bytes": int(size * GIB), **more,
    }  # fmt: skip


# The nine rows of the worked example: three clients' worth of traffic, its second sight, a
# scanner, a refused packet, and a transit gateway's interface that sees the same bytes again.
NINE = rows(
    leg("10.0.1.5", NAT, "10.0.1.5", REMOTE, 1),
    leg(NAT, REMOTE, NAT, REMOTE, 1),
    leg(REMOTE, NAT, REMOTE, NAT, 3),
    leg(NAT, "10.0.1.5", REMOTE, "10.0.1.5", 3),
    leg("10.1.1.7", NAT, "10.1.1.7", BUCKET, 2),
    leg(NAT, BUCKET, NAT, BUCKET, 2),
    leg(SCANNER, NAT, SCANNER, NAT, 0.25),
    leg("10.0.1.9", NAT, "10.0.1.9", "8.8.8.8", 0.5, action="REJECT"),
    leg("10.0.2.9", NAT, "10.1.1.7", BUCKET, 2, **{"interface-id": "eni-t"}),
)
KEPT = [
    ("receive", "10.0.1.5", REMOTE, 3 * GIB),
    ("transmit", "10.0.1.5", REMOTE, 1 * GIB),
    ("transmit", "10.1.1.7", BUCKET, 2 * GIB),
]
KNOWN = Knowledge(
    gateways=(nat("nat-1", ("eni-n",), NAT, "3.3.3.3"),),
    interfaces=(interface("eni-t", "10.0.2.9", kind="transit_gateway"),),
)


@pytest.mark.parametrize("write", [write_text, write_parquet])
def test_the_nine_rows_give_12_25_8_50_and_6_00_gib(tmp_path, write):
    path = tmp_path / ("a.log" if write is write_text else "a.parquet")
    flows, report = read(write(path, NINE), KNOWN)
    assert brief(flows) == KEPT
    booked, outer, scans = (
        report.tally(Fate.BOOKED).bytes, report.external_bytes,
        report.tally(Fate.UNSOLICITED).bytes,
    )  # fmt: skip
    assert (booked + outer + scans) / GIB == 12.25  # rows 1 to 7, unfiltered
    assert report.translated_bytes / GIB == 8.50  # the simple filter over all nine
    assert booked / GIB == 6.00  # the leg rule
    assert report.tally(Fate.REJECT).bytes / GIB == 0.5
    assert report.tally(Fate.TRANSIT).bytes / GIB == 2
    assert sum(t.rows for t in report.fates.values()) == report.rows == 9


def test_booked_rows_name_the_gateway_and_never_show_its_address(tmp_path):
    flows, _ = read(write_text(tmp_path / "a.log", NINE), KNOWN)
    assert {f["via"] for f in flows} == {"nat-1"}
    assert {f["observer_type"] for f in flows} == {"gateway"}
    assert {f["observer"] for f in flows} == {"eni-n"}
    assert NAT not in {f["local"] for f in flows} | {f["remote"] for f in flows}


def test_without_flow_direction_the_client_is_still_the_private_side(tmp_path):
    names = [name for name in NINE[0] if name != "flow-direction"]
    flows, _ = read(write_text(tmp_path / "a.log", NINE, names), KNOWN)
    assert brief(flows) == KEPT


def test_the_outer_legs_are_as_large_as_the_booked_ones_on_a_clean_file(tmp_path):
    _, report = read(write_text(tmp_path / "a.log", NINE[:6]), KNOWN)
    assert report.external_bytes == report.tally(Fate.BOOKED).bytes


def test_the_simple_filter_books_every_translated_row_of_any_interface(tmp_path):
    flows, report = read(write_text(tmp_path / "a.log", NINE), KNOWN, nat_filter="simple")
    assert sum(f["bytes"] for f in flows) / GIB == 8.50
    assert report.tally(Fate.BOOKED).bytes / GIB == 8.50


def test_an_interface_type_in_the_record_replaces_the_inventory(tmp_path):
    kinds = {"eni-n": "nat_gateway", "eni-t": "transit_gateway"}
    records = [{**row, "interface-type": kinds[row["interface-id"]]} for row in NINE]
    flows, report = read(write_text(tmp_path / "a.log", records, [*NINE[0], "interface-type"]))
    assert brief(flows) == KEPT
    assert {f["via"] for f in flows} == {"eni-n"}
    assert report.tally(Fate.TRANSIT).bytes / GIB == 2


def test_secondary_addresses_of_the_gateway_do_not_double_its_traffic(tmp_path):
    second = "10.0.0.221"  # logged as the primary one, visible in the packet only
    records = rows(
        leg("10.0.1.5", NAT, "10.0.1.5", REMOTE, 1),
        leg(NAT, REMOTE, second, REMOTE, 1),
        leg(REMOTE, NAT, REMOTE, second, 3),
        leg(NAT, "10.0.1.5", REMOTE, "10.0.1.5", 3),
    )
    known = Knowledge(gateways=(nat("nat-1", ("eni-n",), NAT, second, "3.3.3.3"),))
    flows, report = read(write_text(tmp_path / "a.log", records), known)
    assert sum(f["bytes"] for f in flows) == 4 * GIB
    assert report.translated_bytes == 8 * GIB


@pytest.mark.parametrize("known", [True, False])
def test_a_regional_gateway_is_found_by_its_resource_id(tmp_path, known):
    public = "3.3.3.3"
    records = [
        {**row, "interface-id": None, "resource-id": "nat-9"}
        for row in rows(
            leg("10.0.1.5", REMOTE, "10.0.1.5", REMOTE, 1),
            leg(public, REMOTE, public, REMOTE, 1),
            leg(REMOTE, public, REMOTE, public, 3),
            leg(REMOTE, "10.0.1.5", REMOTE, "10.0.1.5", 3),
        )
    ]
    knowledge = Knowledge(gateways=(nat("nat-9", (), public, regional=True),) if known else ())
    path = write_text(tmp_path / "a.log", records, [*records[0]])
    flows, report = read(path, knowledge)
    assert brief(flows) == KEPT[:2]
    assert {(f["via"], f["observer"]) for f in flows} == {("nat-9", "nat-9")}
    assert report.external_bytes == 4 * GIB


def test_without_packet_addresses_nat_rows_are_refused_aloud(tmp_path):
    names = [name for name in NINE[0] if not name.startswith("pkt-")]
    flows, report = read(write_text(tmp_path / "a.log", NINE[:7], names), KNOWN)
    assert flows == []
    assert report.tally(Fate.NO_PACKET_ENDS).rows == 7
    finding = next(f for f in findings([report]) if f.code == "nat-without-packet-addresses")
    assert finding.severity == "error"
    assert "pkt-srcaddr" in finding.hint


def test_a_private_gateway_between_private_networks_is_oriented_by_translation(tmp_path):
    records = rows(
        leg("10.0.1.5", NAT, "10.0.1.5", "192.168.7.7", 1),
        leg(NAT, "10.0.1.5", "192.168.7.7", "10.0.1.5", 2),
    )
    flows, _ = read(write_text(tmp_path / "a.log", records), KNOWN)
    assert brief(flows) == [
        ("receive", "10.0.1.5", "192.168.7.7", 2 * GIB),
        ("transmit", "10.0.1.5", "192.168.7.7", 1 * GIB),
    ]


@pytest.mark.parametrize("write", [write_text, write_parquet])
def test_a_gateway_that_no_inventory_names_is_a_finding_and_never_booked_as_one(tmp_path, write):
    path = tmp_path / ("a.log" if write is write_text else "a.parquet")
    flows, report = read(write(path, NINE))
    assert {flow["observer_type"] for flow in flows} == {"interface"}
    [finding] = [f for f in findings([report]) if f.code == "nat-gateway-not-known"]
    assert (finding.subject, finding.count, finding.bytes) == ("eni-n", 3, 6 * GIB)
    assert "describe-nat-gateways" in finding.hint
    twice = [f for f in findings([report, report]) if f.code == "nat-gateway-not-known"]
    assert [f.bytes for f in twice] == [12 * GIB]


def test_what_is_known_or_only_passes_packets_on_is_no_unknown_gateway(tmp_path):
    path = write_text(tmp_path / "a.log", NINE)
    assert read(path, KNOWN)[1].nat_like == {}
    assert read(path, nat_filter="simple")[1].nat_like == {}
    only_passing = write_text(tmp_path / "b.log", NINE[8:])
    assert read(only_passing)[1].nat_like == {}
    # An instance that forwards is not the provider's gateway.
    appliance = write_text(tmp_path / "c.log", [{**row, "instance-id": "i-1"} for row in NINE])
    assert read(appliance)[1].nat_like == {}
