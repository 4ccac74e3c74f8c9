"""The run over flow logs: every byte once, incrementally, through any interruption."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from flowcost import money
from flowcost.ledger import Ledger
from flowcost.pipeline.reading import Embedded
from flowcost.pipeline.resolved import resolved
from flowcost.pipeline.run import run
from flowcost.pipeline.work import Settings
from flowcost.price import list_book
from flowcost.resolve import inventory, timeline
from flowcost.sources import discover
from flowcost.sources.kernel import Options

GIB = money.GIB
HEADER = (
    "interface-id srcaddr dstaddr pkt-srcaddr pkt-dstaddr srcport dstport protocol packets bytes"
    " start end action log-status account-id"
)
START = 1793613600  # 2026-11-02T10:00:00Z
WORLD = """
[[network]]
cidr = "10.0.0.0/16"
cloud.provider = "aws"
cloud.account.id = "111111111111"
cloud.region = "us-east-1"
cloud.availability_zone = "use1-az1"
cloud.vpc_id = "vpc-egress"
owner.team = "a"
[[network]]
cidr = "10.1.0.0/16"
cloud.provider = "aws"
cloud.account.id = "222222222222"
cloud.region = "us-east-1"
cloud.availability_zone = "use1-az1"
cloud.vpc_id = "vpc-egress"
owner.team = "b"
[[gateway]]
id = "nat-1"
kind = "nat_gateway"
interfaces = ["eni-n"]
addresses = ["10.0.0.220"]
cloud.provider = "aws"
cloud.account.id = "999999999999"
cloud.region = "us-east-1"
cloud.availability_zone = "use1-az1"
cloud.vpc_id = "vpc-egress"
"""


def row(interface, src, dst, packet, size, *, action="ACCEPT", start=START):
    packet_src, packet_dst = packet
    return (
        f"{interface} {src} {dst} {packet_src} {packet_dst} 443 1024 6 1 {size} {start}"
        f" {start + 59} {action} OK 999999999999"
    )


# The nine rows of a NAT gateway's file: request, response, another account to S3, a scanner, a
# refused packet, and the same request on the transit gateway's interface.
NAT, HOST, S3 = "10.0.0.220", "93.184.216.34", "52.216.10.10"
NINE = [
    row("eni-n", "10.0.1.5", NAT, ("10.0.1.5", HOST), GIB),
    row("eni-n", NAT, HOST, (NAT, HOST), GIB),
    row("eni-n", HOST, NAT, (HOST, NAT), 3 * GIB),
    row("eni-n", NAT, "10.0.1.5", (HOST, "10.0.1.5"), 3 * GIB),
    row("eni-n", "10.1.1.7", NAT, ("10.1.1.7", S3), 2 * GIB),
    row("eni-n", NAT, S3, (NAT, S3), 2 * GIB),
    row("eni-n", "185.1.2.3", NAT, ("185.1.2.3", NAT), GIB // 4),
    row("eni-n", "10.0.1.9", NAT, ("10.0.1.9", "8.8.8.8"), GIB // 2, action="REJECT"),
    row("eni-t", "10.0.2.9", NAT, ("10.1.1.7", S3), 2 * GIB),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    path = tmp_path_factory.mktemp("world") / "declared.toml"
    path.write_text(WORLD)
    return path


@pytest.fixture(scope="module")
def resolution(world):
    return resolved(timeline.build(inventory.read(world)))


def write(folder, name, rows):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join((HEADER, *rows, "")))


def go(logs, resolution, root, **settings):
    files, _ = discover.unique(discover.local(logs))
    chosen = Settings(options=Options(tenant="t"), **settings)
    ledger, reader = Ledger.open(root, create=True), Embedded(workers=2)
    return run(files, resolution, list_book(), ledger, chosen, reader=reader)


def ask(root, sql):
    with duckdb.connect() as con:
        Ledger.open(root).attach(con)
        return con.execute(sql).fetchall()


def digest(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.glob("tenant=*/**/*"))
        if path.is_file()
    }


def test_the_nine_rows_of_a_nat_file_cost_what_the_gateway_bills(tmp_path, resolution):
    write(tmp_path / "logs", "nat.log", NINE)
    ran = go(tmp_path / "logs", resolution, tmp_path / "ledger")
    [report] = ran.reports
    assert report.rows == 9
    lines = ask(
        tmp_path / "ledger",
        "SELECT usage_type, owner_team, sum(quantity)::BIGINT, sum(list_cost) FROM charges c"
        " JOIN identities i ON i.identity_id = c.local_id WHERE c.path = 'nat_gateway'"
        " GROUP BY ALL ORDER BY ALL",
    )
    found = {(meter, team): (size, money.exact(int(cost))) for meter, team, size, cost in lines}
    assert found == {
        ("DataTransfer-In-Bytes", "a"): (3 * GIB, "0"),
        ("DataTransfer-Out-Bytes", "a"): (GIB, "0.09"),
        ("NatGateway-Bytes", "a"): (4 * GIB, "0.18"),
        ("NatGateway-Bytes", "b"): (2 * GIB, "0.09"),
    }
    assert sum(size for (meter, _), (size, _) in found.items() if meter == "NatGateway-Bytes") == (
        6 * GIB
    )


def test_rows_that_are_not_booked_are_counted_with_their_bytes(tmp_path, resolution):
    write(tmp_path / "logs", "nat.log", NINE)
    [report] = go(tmp_path / "logs", resolution, tmp_path / "ledger").reports
    fates = {str(fate): (tally.rows, tally.bytes) for fate, tally in report.fates.items()}
    assert fates["reject"] == (1, GIB // 2)
    assert fates["unsolicited"] == (1, GIB // 4)
    assert sum(rows for rows, _ in fates.values()) == 9
    assert sum(size for _, size in fates.values()) == (12 * 4 + 1) * GIB // 4 + 5 * GIB // 2


def test_the_simple_filter_books_what_its_statement_says(tmp_path, resolution):
    write(tmp_path / "logs", "nat.log", NINE)
    [report] = go(tmp_path / "logs", resolution, tmp_path / "ledger").reports
    assert report.translated_bytes == 17 * GIB // 2


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Return a tree of twelve files over three hours, straddling and overlapping hours."""
    folder = tmp_path_factory.mktemp("tree")
    chance = random.Random(7)
    for number in range(12):
        start = START + number * 900 - 300
        rows = []
        for _ in range(200):
            client = f"10.{chance.randrange(2)}.1.{chance.randrange(1, 30)}"
            far = chance.choice([HOST, S3, "8.8.8.8"])
            size, begin = chance.randrange(40, 10**9), start + chance.randrange(0, 890)
            rows.append(row("eni-n", client, NAT, (client, far), size, start=begin))
            rows.append(row("eni-n", NAT, far, (NAT, far), size, start=begin))
        write(folder, f"{number:02}.log", rows)
    return folder


@pytest.fixture(scope="module")
def clean(tree, resolution, tmp_path_factory):
    root = tmp_path_factory.mktemp("clean") / "ledger"
    go(tree, resolution, root)
    return digest(root)


def test_every_byte_of_the_clients_rows_is_booked_once(tree, resolution, tmp_path):
    go(tree, resolution, tmp_path)
    written = sum(
        int(line.split()[9])
        for path in tree.glob("*.log")
        for line in path.read_text().splitlines()[1:]
        if line.split()[2] == NAT
    )
    [(booked,)] = ask(tmp_path, "SELECT sum(bytes)::HUGEINT FROM charges")
    assert booked == written


def test_running_again_reads_and_changes_nothing(tree, resolution, tmp_path, clean):
    go(tree, resolution, tmp_path)
    again = go(tree, resolution, tmp_path)
    assert (again.files_read, again.hours, again.changed) == (0, 0, ())
    assert digest(tmp_path) == clean


def test_files_that_arrive_in_any_order_give_the_ledger_of_one_run(
    tree, resolution, tmp_path, clean
):
    names = sorted(path.name for path in tree.glob("*.log"))
    random.Random(3).shuffle(names)
    logs = tmp_path / "logs"
    logs.mkdir()
    seen = tmp_path / "ledger"
    for name in names:
        shutil.copy2(tree / name, logs / name)
        ran = go(logs, resolution, seen)
        assert ran.files_read == 1
        assert 1 <= ran.hours <= 2
    # A file is known by its path; the clean run must have read the same ones.
    other = tmp_path / "other"
    go(logs, resolution, other)
    assert digest(seen) == digest(other)


def test_a_file_whose_content_changes_replaces_its_rows(resolution, tmp_path):
    logs, root = tmp_path / "logs", tmp_path / "ledger"
    write(logs, "a.log", [NINE[0]])
    go(logs, resolution, root)
    write(logs, "a.log", [row("eni-n", "10.0.1.5", NAT, ("10.0.1.5", HOST), 7)])
    go(logs, resolution, root)
    [(booked,)] = ask(root, "SELECT sum(bytes)::HUGEINT FROM charges")
    assert booked == 7


RUN = (
    "import sys; from flowcost.cli import run; "
    "sys.argv = ['flowcost', 'run', '--tenant', 't', '--flow-logs', sys.argv[1], '--inventory',"
    " sys.argv[2], '--ledger', sys.argv[3]]; run()"
)


@pytest.mark.slow
def test_a_run_killed_at_twenty_random_points_and_run_again_leaves_the_same_ledger(
    tree, world, resolution, tmp_path
):
    whole = tmp_path / "whole"
    go(tree, resolution, whole)
    chance = random.Random(11)
    for point in range(20):
        root = tmp_path / f"killed-{point}"
        job = subprocess.Popen(
            [sys.executable, "-c", RUN, str(tree), str(world), str(root)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(chance.uniform(0.4, 2.5))
        os.kill(job.pid, signal.SIGKILL)
        job.wait(timeout=10)
        go(tree, resolution, root)
        assert digest(root) == digest(whole), f"killed at point {point}"
        shutil.rmtree(root)


def test_a_tree_with_nothing_readable_is_an_error_that_names_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "flowcost", "run", "--flow-logs", str(tmp_path / "none"),
         "--inventory", str(Path(__file__)), "--ledger", str(tmp_path / "ledger")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "flowcost:" in done.stderr
    assert "Traceback" not in done.stderr
