"""Three spoke accounts behind a transit gateway, one NAT gateway in a central egress VPC."""

import json
import tempfile
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from flowcost.cli import main
from flowcost.ledger import Ledger
from flowcost.resolve import declared, timeline
from tests.bill import generator as made
from tests.pipeline.attributing import attribute_flows
from tests.pipeline.worlds import flow_table

EGRESS = "999999999999"
SPOKES = {"111111111111": "10.1", "222222222222": "10.2", "333333333333": "10.3"}
WORLD = f"""
[[network]]
cidr = "10.100.0.0/16"
cloud.provider = "aws"
cloud.region = "us-east-1"
cloud.account.id = "{EGRESS}"
cloud.vpc_id = "vpc-egress"
cloud.availability_zone = "use1-az1"
[[network]]
cidr = "52.216.0.0/15"
cloud.provider = "aws"
cloud.region = "us-east-1"
cloud.service = "S3"
kind = "service"
[[gateway]]
id = "nat-0e"
kind = "nat_gateway"
addresses = ["10.100.1.220"]
cloud.provider = "aws"
cloud.region = "us-east-1"
cloud.account.id = "{EGRESS}"
cloud.vpc_id = "vpc-egress"
cloud.availability_zone = "use1-az1"
""" + "".join(
    f"""
[[network]]
cidr = "{prefix}.0.0/16"
cloud.provider = "aws"
cloud.region = "us-east-1"
cloud.account.id = "{account}"
cloud.vpc_id = "vpc-{prefix}"
cloud.availability_zone = "use1-az1"
[[gateway]]
id = "tgw-attach-{prefix.replace(".", "")}"
kind = "transit_gateway"
cloud.provider = "aws"
cloud.region = "us-east-1"
cloud.account.id = "{account}"
"""
    for account, prefix in SPOKES.items()
)
START = datetime(2026, 9, 1, 10)  # noqa: DTZ001 - the engine's naive UTC
# (spoke, bytes up, bytes down, far end)
TRAFFIC = [
    ("111111111111", 3_000_000_001, 40_000_000_007, "8.8.8.8"),
    ("222222222222", 7_000_000_011, 900_000_013, "52.216.10.10"),
    ("333333333333", 1_500_000_017, 2_500_000_019, "8.8.8.8"),
]


def flows(*, transit):
    """Return the NAT gateway's rows, and those of the spokes' attachments if they log."""
    rows = []
    for account, up, down, far in TRAFFIC:
        client = f"{SPOKES[account]}.1.10"
        sights = [("gateway", "nat-0e")]
        if transit:
            attachment = f"tgw-attach-{SPOKES[account].replace('.', '')}"
            sights.append(("tgw_attachment", attachment))
        for observer_type, via in sights:
            for direction, size in (("transmit", up), ("receive", down)):
                if observer_type == "tgw_attachment" and direction == "receive":
                    continue  # the spoke's attachment is billed for what it sends in
                rows.append(
                    {
                        "window_start": START, "tenant": "t1", "observer": via,
                        "observer_type": observer_type, "direction": direction,
                        "local_address": client, "remote_address": far, "via": via, "bytes": size,
                    }
                )  # fmt: skip
    return flow_table(rows)


def lines():
    """Return what AWS bills: one NAT line, egress to the internet, a line per attachment."""
    nat = sum(up + down for _, up, down, _ in TRAFFIC)
    out = sum(up for _, up, _, far in TRAFFIC if far == "8.8.8.8")
    back = sum(down for _, _, down, _ in TRAFFIC)
    at = (START, "us-east-1", "")

    def line(account, resource, usage_type, operation, size, price):
        cell = (account, at[0], resource, usage_type, operation, at[1], at[2])
        return made.metered_line(cell, size, price)

    arn = "arn:aws:ec2:us-east-1:{}:transit-gateway-attachment/tgw-attach-{}"
    transit = ("USE1-TransitGateway-Bytes", "TransitGatewayVPC")
    found = [
        line(EGRESS, "nat-0e", "NatGateway-Bytes", "NatGateway", nat, "0.045"),
        line(EGRESS, "nat-0e", "DataTransfer-Out-Bytes", "NatGateway", out, "0.09"),
        line(EGRESS, arn.format(EGRESS, "100"), *transit, back, "0.02"),
    ]
    for account, up, _, _ in TRAFFIC:
        name = SPOKES[account].replace(".", "")
        found.append(line(account, arn.format(account, name), *transit, up, "0.02"))
    return found


@pytest.fixture(scope="module", params=[False, True], ids=["nat logs", "nat and tgw logs"])
def files(request):
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as con:
        con.register("flows", flows(transit=request.param))
        ledger = Ledger.open(Path(folder, "ledger"), create=True)
        attribute_flows(con, timeline.build([declared.parse(WORLD)]), ledger)
        yield made.write_legacy(Path(folder, "cur.csv"), lines()), ledger.root, request.param


def rows(command, *args):
    result = CliRunner().invoke(main, [command, *map(str, args), "--format", "json"])
    if result.exception:
        raise result.exception
    return json.loads(result.stdout)


def test_the_nat_line_is_restored_to_the_accounts_behind_it(files):
    bill, ledger, _ = files
    found = rows(
        "costs", "--ledger", ledger, "--basis", "billed", "--bill", bill,
        "--by", "local.cloud.account.id", "--filter", "usage_type=NatGateway-Bytes",
    )  # fmt: skip
    [nat] = [line for line in lines() if line.usage_type == "NatGateway-Bytes"]
    assert sum(Decimal(row["billed_cost"]) for row in found) == nat.cost
    for row in found:
        [(up, down)] = [
            (up, down)
            for account, up, down, _ in TRAFFIC
            if account == row["local.cloud.account.id"]
        ]
        exact = nat.cost * (up + down) / nat.bytes
        assert abs(Decimal(row["billed_cost"]) - exact) <= Decimal("0.0000000001")


def test_processed_and_outgoing_bytes_agree_with_cost_explorer_exactly(files):
    bill, ledger, _ = files
    found = {
        row["usage_type"]: row
        for row in rows("reconcile", bill, "--ledger", ledger, "--by", "usage_type")
    }
    for usage_type in ("NatGateway-Bytes", "DataTransfer-Out-Bytes"):
        assert found[usage_type]["difference"] == 0
        assert Decimal(found[usage_type]["residual_cost"]) == 0


def test_the_nat_total_is_that_of_cost_explorer(files, tmp_path):
    _, ledger, _ = files
    answer = made.write_cost_explorer(tmp_path / "ce.json", lines())
    found = {
        row["usage_type"]: row
        for row in rows("reconcile", answer, "--ledger", ledger, "--by", "usage_type")
    }
    for usage_type in ("NatGateway-Bytes", "DataTransfer-Out-Bytes"):
        metered = sum(line.bytes for line in lines() if line.usage_type == usage_type)
        assert found[usage_type]["billed_bytes"] == metered
        assert found[usage_type]["difference"] == 0


def test_transit_bytes_are_met_or_named(files):
    bill, ledger, transit = files
    [row] = [
        row
        for row in rows("reconcile", bill, "--ledger", ledger, "--by", "usage_type")
        if row["usage_type"] == "USE1-TransitGateway-Bytes"
    ]
    parts = Decimal(row["attributed_cost"]) + Decimal(row["residual_cost"])
    assert parts == Decimal(row["billed_cost"])
    if transit:
        # What the spokes send in is seen by their attachments.
        assert row["ledger_bytes"] >= sum(up for _, up, _, _ in TRAFFIC)
