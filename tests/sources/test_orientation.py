"""A row is oriented to the interface that logged it, or counted as one that cannot be."""

from flowcost.address import network
from flowcost.sources.knowledge import Interface, Knowledge
from flowcost.sources.report import Fate
from tests.sources.logs import ROW, brief, interface, read, rows, write_text

BARE = [n for n in ROW if n not in ("flow-direction", "pkt-srcaddr", "pkt-dstaddr")]
UNDIRECTED = [n for n in ROW if n != "flow-direction"]


def test_pods_on_secondary_addresses_are_the_ends_not_the_node(tmp_path):
    records = rows(
        {"srcaddr": "10.0.1.4", "pkt-srcaddr": "10.0.1.77", "flow-direction": "egress"},
        {"srcaddr": "10.0.2.6", "dstaddr": "10.0.1.4", "pkt-dstaddr": "10.0.1.77",
         "flow-direction": "ingress", "bytes": 7},
    )  # fmt: skip
    flows, _ = read(write_text(tmp_path / "a.log", records))
    assert brief(flows) == [
        ("receive", "10.0.1.77", "10.0.2.6", 7),
        ("transmit", "10.0.1.77", "10.0.2.6", 1000),
    ]
    assert {f["local_uid"] for f in flows} == {"eni-a"}


def test_without_direction_the_inventory_tells_which_address_is_the_interfaces(tmp_path):
    known = Knowledge(interfaces=(interface("eni-a", "10.0.1.4", "10.0.2.6"),))
    flows, _ = read(write_text(tmp_path / "a.log", rows({}), UNDIRECTED), known)
    assert brief(flows) == [("receive", "10.0.2.6", "10.0.1.5", 1000)]


def test_an_interface_owns_the_addresses_of_its_prefixes(tmp_path):
    known = Knowledge(interfaces=(Interface(id="eni-a", blocks=(network("10.0.2.0/28"),)),))
    flows, _ = read(write_text(tmp_path / "a.log", rows({}), UNDIRECTED), known)
    assert brief(flows) == [("receive", "10.0.2.6", "10.0.1.5", 1000)]


def test_without_direction_and_inventory_translation_shows_the_interfaces_side(tmp_path):
    records = rows({"srcaddr": "10.0.1.4", "pkt-srcaddr": "10.0.1.77"})
    flows, _ = read(write_text(tmp_path / "a.log", records, UNDIRECTED))
    assert brief(flows) == [("transmit", "10.0.1.77", "10.0.2.6", 1000)]


def test_the_address_that_all_rows_of_an_interface_share_is_its_own(tmp_path):
    records = rows(
        {"srcaddr": "10.0.1.5", "dstaddr": "10.0.2.6"},
        {"srcaddr": "10.0.3.7", "dstaddr": "10.0.1.5", "bytes": 5},
    )
    flows, _ = read(write_text(tmp_path / "a.log", records, BARE))
    assert brief(flows) == [
        ("receive", "10.0.1.5", "10.0.3.7", 5),
        ("transmit", "10.0.1.5", "10.0.2.6", 1000),
    ]


def test_against_a_public_address_the_private_one_is_the_interfaces(tmp_path):
    records = rows({"srcaddr": "203.0.113.12", "dstaddr": "172.31.16.139"})
    flows, _ = read(write_text(tmp_path / "a.log", records, BARE))
    assert brief(flows) == [("receive", "172.31.16.139", "203.0.113.12", 1000)]


def test_one_conversation_between_private_addresses_cannot_be_oriented(tmp_path):
    flows, report = read(write_text(tmp_path / "a.log", rows({}), BARE))
    assert flows == []
    assert report.tally(Fate.UNORIENTED).bytes == 1000


def test_rows_of_a_managed_interface_with_strangers_addresses_are_in_transit(tmp_path):
    # The shape of a transit gateway's interface, from the VPC user guide's record examples.
    records = rows(
        {"interface-id": "eni-t", "instance-id": None, "srcaddr": "10.40.1.175",
         "dstaddr": "10.40.2.236", "pkt-srcaddr": "10.20.33.164", "flow-direction": "egress"},
    )  # fmt: skip
    flows, report = read(write_text(tmp_path / "a.log", records))
    assert flows == []
    assert report.tally(Fate.TRANSIT).rows == 1


def test_an_appliance_is_an_end_of_its_own_on_both_sides(tmp_path):
    known = Knowledge(interfaces=(interface("eni-a", "10.0.9.9", forwards=True),))
    records = rows(
        {"srcaddr": "10.0.1.5", "dstaddr": "10.0.9.9", "pkt-dstaddr": "93.184.216.34",
         "flow-direction": "ingress"},
        {"srcaddr": "10.0.9.9", "dstaddr": "93.184.216.34", "pkt-srcaddr": "10.0.1.5",
         "flow-direction": "egress"},
        {"srcaddr": "10.0.9.9", "dstaddr": "10.0.1.1", "flow-direction": "egress", "bytes": 3},
    )  # fmt: skip
    flows, _ = read(write_text(tmp_path / "a.log", records), known)
    assert brief(flows) == [
        ("receive", "10.0.9.9", "10.0.1.5", 1000),
        ("transmit", "10.0.9.9", "10.0.1.1", 3),
        ("transmit", "10.0.9.9", "93.184.216.34", 1000),
    ]


def test_an_appliance_without_flow_direction_is_known_by_its_own_address(tmp_path):
    # Found by fuzzing: the address it stands for hid that it was one of its own.
    known = Knowledge(interfaces=(interface("eni-a", "10.0.9.9", forwards=True),))
    records = rows({"srcaddr": "10.0.1.5", "dstaddr": "10.0.9.9"})
    flows, _ = read(write_text(tmp_path / "a.log", records), known)
    assert brief(flows) == [("receive", "10.0.9.9", "10.0.1.5", 1000)]


def test_one_address_in_two_spellings_is_one_address(tmp_path):
    known = Knowledge(interfaces=(interface("eni-a", "fd00::5"),))
    records = rows(
        {"srcaddr": "fd00::5", "dstaddr": "fd00::6"},
        {"srcaddr": "fd00:0:0::5", "dstaddr": "fd00::7", "bytes": 7},
    )
    flows, _ = read(write_text(tmp_path / "a.log", records), known)
    assert brief(flows) == [
        ("transmit", "fd00::5", "fd00::6", 1000), ("transmit", "fd00::5", "fd00::7", 7),
    ]  # fmt: skip


def test_services_and_traffic_path_of_the_record_are_kept_as_hints(tmp_path):
    # Values of the S3 example in the VPC user guide's record examples.
    names = [*ROW, "pkt-src-aws-service", "pkt-dst-aws-service", "next-hop-interface-type"]
    records = [
        {**row, "pkt-src-aws-service": "-", "pkt-dst-aws-service": "S3",
         "next-hop-interface-type": "nat_gateway"}
        for row in rows({"dstaddr": "52.95.128.179", "flow-direction": "egress",
                         "traffic-path": 8})
    ]  # fmt: skip
    flows, _ = read(write_text(tmp_path / "a.log", records, names))
    assert (flows[0]["aws_service"], flows[0]["traffic_path"]) == ("S3", 8)
    assert flows[0]["next_hop_type"] == "nat_gateway"


def test_the_side_with_the_service_port_is_the_one_that_was_called(tmp_path):
    records = rows(
        {"flow-direction": "egress", "srcport": 51000, "dstport": 5432},
        {"flow-direction": "egress", "srcport": 80, "dstport": 40000, "dstaddr": "10.0.2.7"},
        {"flow-direction": "egress", "srcport": 0, "dstport": 0, "dstaddr": "10.0.2.8"},
        # Found by fuzzing: port 0 is nobody's service, at either end.
        {"flow-direction": "egress", "srcport": 0, "dstport": 50000, "dstaddr": "10.0.2.9"},
        {"flow-direction": "egress", "srcport": 50000, "dstport": 0, "dstaddr": "10.0.3.1"},
    )
    flows, _ = read(write_text(tmp_path / "a.log", records))
    assert [(f["local_port"], f["remote_port"], f["initiator"]) for f in flows] == [
        (0, 5432, "local"), (80, 0, "remote"), *[(0, 0, "unknown")] * 3,
    ]  # fmt: skip
    without, _ = read(write_text(tmp_path / "a.log", records), ports=False)
    assert {(f["local_port"], f["remote_port"], f["initiator"]) for f in without} == {
        (0, 0, "unknown")
    }
