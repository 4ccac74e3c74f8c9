"""The SQL for Athena: parses there, and does here what the leg rule says (requirements C7)."""

import json
from datetime import date
from decimal import Decimal

import duckdb
import pytest
import sqlglot
from click.testing import CliRunner

from flowcost.cli import main
from flowcost.errors import UsageError
from flowcost.money import GIB

NAT, REMOTE, S3 = "10.0.0.220", "93.184.216.34", "52.216.10.10"
DAY = 1_793_613_600  # 2026-11-02T10:00:00Z

# interface, srcaddr, dstaddr, pkt_srcaddr, pkt_dstaddr, GiB, action, service of the far end
C7 = [
    ("eni-n", "10.0.1.5", NAT, "10.0.1.5", REMOTE, 1, "ACCEPT", "-", "-"),
    ("eni-n", NAT, REMOTE, NAT, REMOTE, 1, "ACCEPT", "-", "-"),
    ("eni-n", REMOTE, NAT, REMOTE, NAT, 3, "ACCEPT", "-", "-"),
    ("eni-n", NAT, "10.0.1.5", REMOTE, "10.0.1.5", 3, "ACCEPT", "-", "-"),
    ("eni-n", "10.1.1.7", NAT, "10.1.1.7", S3, 2, "ACCEPT", "-", "S3"),
    ("eni-n", NAT, S3, NAT, S3, 2, "ACCEPT", "-", "S3"),
    ("eni-n", "185.1.2.3", NAT, "185.1.2.3", NAT, 0.25, "ACCEPT", "-", "-"),
    ("eni-n", "10.0.1.9", NAT, "10.0.1.9", "8.8.8.8", 0.5, "REJECT", "-", "-"),
    ("eni-t", "10.0.2.9", NAT, "10.1.1.7", S3, 2, "ACCEPT", "-", "S3"),
]


def statement(*arguments):
    call = ["export", "--sql", "athena", "--nat", f"eni-n={NAT}", *arguments]
    result = CliRunner().invoke(main, call)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def run(sql):
    """Run the statement here, after translation, over the nine records of C7."""
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(
            "CREATE TABLE vpc_flow_logs (interface_id VARCHAR, srcaddr VARCHAR, dstaddr VARCHAR,"
            " pkt_srcaddr VARCHAR, pkt_dstaddr VARCHAR, bytes BIGINT, action VARCHAR,"
            " pkt_src_aws_service VARCHAR, pkt_dst_aws_service VARCHAR,"
            ' "start" BIGINT, log_status VARCHAR)'
        )
        for eni, src, dst, pkt_src, pkt_dst, gib, action, *services in C7:
            row = [eni, src, dst, pkt_src, pkt_dst, int(gib * GIB), action, *services, DAY, "OK"]
            con.execute(f"INSERT INTO vpc_flow_logs VALUES ({', '.join('?' * len(row))})", row)
        (translated,) = sqlglot.transpile(sql, read="athena", write="duckdb")
        return con.execute(translated).fetchall()


def test_c7_is_six_gib_and_36_cents():
    rows = run(statement())
    assert sum(row[7] for row in rows) == 6 * GIB
    assert sum(row[8] for row in rows) == Decimal("0.27")
    assert sum(row[9] for row in rows) == Decimal("0.09")


def test_a_row_is_a_client_and_a_true_far_end_never_the_gateway():
    rows = run(statement())
    day = date(2026, 11, 2)
    assert [row[:8] for row in rows] == [
        (day, "eni-n", "10.0.1.5", REMOTE, None, GIB, 3 * GIB, 4 * GIB),
        (day, "eni-n", "10.1.1.7", S3, "S3", 2 * GIB, 0, 2 * GIB),
    ]


def test_without_service_fields_egress_is_unknown_not_free():
    sql = statement("--without-services")
    assert "aws_service" not in sql.replace("AS aws_service", "").split("pair AS")[0]
    rows = run(sql)
    assert {row[9] for row in rows} == {None}
    assert sum(row[8] for row in rows) == Decimal("0.27")


def test_an_interval_is_half_open():
    assert len(run(statement("--from", "2026-11-02T10:00Z", "--to", "2026-11-02T11:00Z"))) == 2
    assert run(statement("--from", "2026-11-02T09:00Z", "--to", "2026-11-02T10:00Z")) == []


@pytest.mark.parametrize("dialect", ["athena", "trino"])
def test_the_statement_parses_in_its_dialect(dialect):
    (tree,) = sqlglot.parse(statement(), read=dialect)
    assert tree.find(sqlglot.exp.Select)
    assert "double" not in statement().lower()


def test_the_rate_stands_with_its_date_and_source():
    sql = statement("--region", "eu-west-1")
    assert "-- EU-NatGateway-Bytes: 0.048" in sql
    assert "checked 20" in sql
    assert "480000000" in sql


def test_gateways_come_from_an_inventory(tmp_path):
    file = tmp_path / "declared.toml"
    file.write_text(
        '[[gateway]]\nid = "nat-1"\nkind = "nat_gateway"\naddresses = ["10.0.0.220", "3.4.5.6"]\n'
        'interfaces = ["eni-n"]\ncloud.provider = "aws"\ncloud.region = "us-east-1"\n'
    )
    result = CliRunner().invoke(main, ["export", "--sql", "athena", "--inventory", str(file)])
    assert "('eni-n', '3.4.5.6', 450000000, 900000000)" in result.stdout
    assert sum(row[7] for row in run(result.stdout)) == 6 * GIB


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nat", "eni-1=nowhere"], "'nowhere' is not an IP address"),
        (["--nat", "=10.0.0.1"], "no interface"),
        (["--table", "logs; DROP"], "is not a table name"),
    ],
)
def test_a_mistake_names_the_way_out(arguments, message):
    with pytest.raises(UsageError) as caught:
        statement(*arguments)
    assert message in caught.value.message
    assert caught.value.hint


def test_no_gateway_is_an_error_with_a_way_out():
    result = CliRunner().invoke(main, ["export", "--sql", "athena"])
    assert isinstance(result.exception, UsageError)
    assert "--inventory" in result.exception.hint
    assert json.dumps(result.stdout) == '""'
