"""A client behind a transit gateway and a NAT gateway, both of which log (laws 3 and 4)."""

from datetime import datetime
from itertools import product

import duckdb
import pytest
from tests.pipeline.attributing import attribute_flows
from tests.pipeline.worlds import flow_table

from flowcost import money
from flowcost.ledger import Ledger
from flowcost.resolve import declared, timeline

GIB = money.GIB
START = datetime(2026, 11, 2, 10)  # noqa: DTZ001 - the engine's naive UTC
CLIENT, PEER, HOST = "10.1.1.10", "10.2.1.10", "93.184.216.34"
WORLD = """
[[network]]
cidr = "10.1.0.0/16"
cloud.provider = "aws"
cloud.region = "us-east-1"
cloud.account.id = "111111111111"
cloud.vpc_id = "vpc-shop"
cloud.availability_zone = "use1-az1"
[[network]]
cidr = "10.2.0.0/16"
cloud.provider = "aws"
cloud.region = "us-east-1"
cloud.account.id = "222222222222"
cloud.vpc_id = "vpc-peer"
cloud.availability_zone = "use1-az1"
[[gateway]]
id = "nat-1"
kind = "nat_gateway"
addresses = ["10.100.1.220"]
cloud.provider = "aws"
cloud.region = "us-east-1"
cloud.account.id = "333333333333"
cloud.vpc_id = "vpc-egress"
cloud.availability_zone = "use1-az1"
[[gateway]]
id = "tgw-1"
kind = "transit_gateway"
cloud.provider = "aws"
cloud.region = "us-east-1"
cloud.account.id = "333333333333"
[[route]]
from = "vpc-shop"
to = "0.0.0.0/0"
via = "tgw-1"
[[route]]
from = "vpc-peer"
to = "0.0.0.0/0"
via = "tgw-1"
"""
RESOLUTION = timeline.build([declared.parse(WORLD)])


def seen(sensor, direction, local, remote, size, via=""):
    row = {"observer_type": sensor, "direction": direction, "local_address": local,
           "remote_address": remote, "bytes": size, "via": via, "window_start": START}  # fmt: skip
    if sensor == "tgw_attachment":  # the record says whose attachment the sender's is
        account, vpc = {CLIENT: ("111111111111", "vpc-shop"), PEER: ("222222222222", "vpc-peer"),
                        HOST: ("333333333333", "vpc-egress")}[local]  # fmt: skip
        row |= {"account": account, "vpc_id": vpc, "region": "us-east-1", "az_id": "use1-az1"}
    return row


# One GiB to the internet and two back, as each sensor sees them. A transit gateway's row is the
# sender's, whoever that is; a NAT gateway's is the client's.
OUT, BACK = GIB, 2 * GIB
TGW = [
    seen("tgw_attachment", "transmit", CLIENT, HOST, OUT, "tgw-1"),
    seen("tgw_attachment", "transmit", HOST, CLIENT, BACK, "tgw-1"),
]
NAT = [
    seen("gateway", "transmit", CLIENT, HOST, OUT, "nat-1"),
    seen("gateway", "receive", CLIENT, HOST, BACK, "nat-1"),
]
OWN = [
    seen("interface", "transmit", CLIENT, HOST, OUT),
    seen("interface", "receive", CLIENT, HOST, BACK),
]


def booked(rows, root):
    """Return the bytes, and the money by usage type."""
    ledger = Ledger.open(root, create=True)
    with duckdb.connect() as con:
        con.register("flows", flow_table(rows))
        attribute_flows(con, RESOLUTION, ledger, provider="aws")
        ledger.attach(con)
        [(size,)] = con.execute("SELECT sum(bytes)::BIGINT FROM charges").fetchall()
        costs = con.execute(
            "SELECT usage_type, sum(list_cost) FROM charges WHERE usage_type <> ''"
            " AND list_cost > 0 GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    return size, {usage: money.exact(int(cost)) for usage, cost in costs}


@pytest.mark.parametrize("sensors", list(product((False, True), repeat=3))[1:])
def test_whoever_looks_every_byte_is_there_once(tmp_path, sensors):
    rows = [row for here, some in zip(sensors, (TGW, NAT, OWN), strict=True) if here
            for row in some]  # fmt: skip
    size, costs = booked(rows, tmp_path)
    assert size == OUT + BACK
    if sensors[0]:
        assert costs["USE1-TransitGateway-Bytes"] == "0.06"
    if sensors[1]:
        assert (costs["NatGateway-Bytes"], costs["DataTransfer-Out-Bytes"]) == ("0.135", "0.09")


def test_between_two_networks_each_end_has_its_own(tmp_path):
    rows = [
        seen("tgw_attachment", "transmit", CLIENT, PEER, 5, "tgw-1"),
        seen("tgw_attachment", "transmit", PEER, CLIENT, 7, "tgw-1"),
    ]
    assert booked(rows, tmp_path / "gateway")[0] == 12
    rows += [seen("interface", "receive", PEER, CLIENT, 5),
             seen("interface", "transmit", PEER, CLIENT, 7)]  # fmt: skip
    assert booked(rows, tmp_path / "peer")[0] == 5 + 5 + 7


def test_what_only_one_gateway_saw_is_there(tmp_path):
    other = "185.1.2.3"
    rows = [*TGW, *NAT, seen("tgw_attachment", "transmit", CLIENT, other, 11, "tgw-1"),
            seen("gateway", "transmit", CLIENT, "185.1.2.4", 13, "nat-1")]  # fmt: skip
    assert booked(rows, tmp_path)[0] == OUT + BACK + 11 + 13
