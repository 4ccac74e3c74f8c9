"""Reconciling a large bill: bounded memory, and a ratio to the engine's bare scan.

    python -m benchmarks.reconcile [--lines 10000000] [--form parquet|csv] [--seen 97]

A bill of which one line in four is network, and a ledger that holds nearly all of them, at one
charge per cell: all their bytes, or with `--seen` that many percent, so that every line has a
residual. The bare scan reads what a reconciliation has to read and nothing else: it hashes
`COLUMNS` of all lines of the bill (every column that some step of reconciling asks for) and
`CHARGE_COLUMNS` of all charges of the ledger, because a minimum or a count would be read off the
footers. Each run is a process of its own, so that its resident peak is its own; the sides run in
turn, and the table shows medians.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median

import duckdb

from flowcost.bill import read
from flowcost.bill.engine import engine
from flowcost.bill.reconcile import reconcile
from flowcost.bill.report import compared, residuals, summary
from flowcost.ledger import Input, Ledger, Partition
from flowcost.schema import CHARGES, IDENTITY_FIELDS

HOURS = 48
START = datetime(2026, 9, 1, tzinfo=UTC)
METERS = (
    ("DataTransfer-Regional-Bytes", "InterZone-Out"),
    ("DataTransfer-Regional-Bytes", "InterZone-In"),
    ("DataTransfer-Out-Bytes", "RunInstances"),
    ("USE1-EU-AWS-Out-Bytes", "VPCPeering-Out"),
    ("NatGateway-Bytes", "NatGateway"),
)
# What the reader takes of such a file: all but the description.
COLUMNS = (
    "identity_line_item_id",
    "identity_time_interval",
    "bill_invoice_id",
    "bill_payer_account_id",
    "bill_billing_period_start_date",
    "line_item_usage_account_id",
    "line_item_line_item_type",
    "line_item_usage_start_date",
    "line_item_usage_end_date",
    "line_item_usage_type",
    "line_item_operation",
    "line_item_resource_id",
    "line_item_currency_code",
    "line_item_usage_amount",
    "line_item_unblended_rate",
    "line_item_unblended_cost",
    "pricing_unit",
    "product_region_code",
)


# Which part of the ledger is read.
CHARGE_COLUMNS = (
    "hour",
    "payer_account",
    "resource_id",
    "usage_type",
    "operation",
    "unit",
    "provenance",
    "local_id",
    "quantity",
    "list_cost",
)


def world(con: duckdb.DuckDBPyConnection, lines: int) -> None:
    """Create `used`: one row per cell, in a quarter of the lines."""
    cells = lines // 4
    resources = max(1, cells // (HOURS * len(METERS)))
    meters = ", ".join(f"('{usage_type}', '{operation}')" for usage_type, operation in METERS)
    con.execute(
        f"""
        CREATE TABLE used AS
        SELECT TIMESTAMP '2026-09-01' + INTERVAL (h) HOUR AS hour,
               printf('%012d', 111111111111 + r % 40) AS account,
               CASE usage_type WHEN 'NatGateway-Bytes' THEN 'nat-' ELSE 'i-' END
                   || printf('%017x', r) AS resource, usage_type, operation,
               CAST(hash(h, r, usage_type, operation) % 5000000000 + 1 AS BIGINT) AS bytes
        FROM range({HOURS}) hours(h), range({resources}) resources(r),
             (VALUES {meters}) meters(usage_type, operation)
        """
    )


def write_bill(con: duckdb.DuckDBPyConnection, lines: int, path: Path) -> None:
    """Write the bill: the used cells and three times as many lines of other services."""
    con.execute(
        f"""
        COPY (
            WITH network AS (
                SELECT row_number() OVER () AS n, account, hour, resource, usage_type, operation,
                       CAST(CAST(bytes AS DECIMAL(28,10)) / 1073741824 AS DECIMAL(28,10))
                           AS quantity,
                       'GB' AS unit FROM used
            ),
            others AS (
                SELECT n + 1000000000 AS n, printf('%012d', 111111111111 + n % 40) AS account,
                       TIMESTAMP '2026-09-01' + INTERVAL (n % {HOURS}) HOUR AS hour,
                       printf('i-%017x', n % 90000) AS resource,
                       list_value('BoxUsage:m5.large', 'EBS:VolumeUsage.gp3', 'Requests-Tier1',
                                  'TimedStorage-ByteHrs', 'Lambda-GB-Second')[n % 5 + 1]
                           AS usage_type,
                       'RunInstances' AS operation, CAST(1 AS DECIMAL(28,10)) AS quantity,
                       'Hrs' AS unit FROM range({lines - lines // 4}) others(n)
            )
            SELECT md5(CAST(n AS VARCHAR)) || substr(md5(CAST(-n AS VARCHAR)), 1, 20)
                       AS identity_line_item_id,
                   CAST(hour AS VARCHAR) AS identity_time_interval,
                   'INV-1' AS bill_invoice_id, '999999999999' AS bill_payer_account_id,
                   TIMESTAMP '2026-09-01' AS bill_billing_period_start_date,
                   account AS line_item_usage_account_id, 'Usage' AS line_item_line_item_type,
                   hour AS line_item_usage_start_date,
                   hour + INTERVAL 1 HOUR AS line_item_usage_end_date,
                   usage_type AS line_item_usage_type, operation AS line_item_operation,
                   resource AS line_item_resource_id, 'USD' AS line_item_currency_code,
                   CAST(quantity AS DOUBLE) AS line_item_usage_amount,
                   '0.0100000000' AS line_item_unblended_rate,
                   CAST(round(quantity * 0.01, 10) AS DOUBLE) AS line_item_unblended_cost,
                   unit AS pricing_unit, 'us-east-1' AS product_region_code,
                   'description of ' || usage_type AS line_item_line_item_description
            FROM (SELECT * FROM network UNION ALL SELECT * FROM others) ORDER BY hour, n % 977
        ) TO '{path}' (FORMAT parquet)
        """
    )


def write_text(con: duckdb.DuckDBPyConnection, path: Path, text: Path) -> None:
    """Write the bill at `path` again as text, with ten places as AWS prints them."""
    printed = ", ".join(
        f"printf('%.10f', {name}) AS {name}"
        for name in ("line_item_usage_amount", "line_item_unblended_cost")
    )
    con.execute(
        f"COPY (SELECT * REPLACE ({printed}) FROM '{path}') TO '{text}'"
        " (FORMAT csv, HEADER, COMPRESSION gzip)"
    )


def write_ledger(con: duckdb.DuckDBPyConnection, folder: Path, percent: int) -> None:
    """Book a part of what was used in every cell, and nothing of one resource in fifty."""
    seen = f"bytes * {percent} // 100"
    ledger = Ledger.open(folder, create=True)
    values = {
        "hour": "hour",
        "tenant": "'t'",
        "provider": "'aws'",
        "payer_account": "account",
        "region": "'us-east-1'",
        "usage_type": "usage_type",
        "operation": "operation",
        "resource_id": "resource",
        "path": "'cross_az'",
        "provenance": "'observed'",
        "local_id": "1",
        "bytes": seen,
        "quantity": seen,
        "unit": "'bytes'",
        "rate_id": "NULL",
        "list_cost": "0",
        "verdict_id": "1",
        "local_address": "NULL",
        "remote_address": "NULL",
    }
    chosen = ", ".join(
        f"{values.get(c.name, chr(39) * 2 if c.type == 'text' else '0')} AS {c.name}"
        for c in CHARGES
    )
    blank = ", ".join(f"'' AS {name}" for name in IDENTITY_FIELDS)
    for hour in range(HOURS):
        moment = START + timedelta(hours=hour)
        naive = moment.replace(tzinfo=None)
        queries = {
            "charges": f"SELECT {chosen} FROM used WHERE hour = TIMESTAMP '{naive}'"
            " AND hash(resource) % 50 > 0",
            "identities": f"SELECT 1 AS identity_id, {blank}",
            "verdicts": "SELECT 1 AS verdict_id, '' AS path, '' AS rule, '' AS confidence,"
            " [''] AS evidence, '' AS facts",
            "rates": "SELECT 1 AS rate_id, '' AS book, '' AS provider, '' AS usage_type,"
            " '' AS operation, '' AS region, '' AS to_region, 0 AS tier_from,"
            " DATE '2026-01-01' AS effective_from, NULL AS effective_to, '0' AS price,"
            " '' AS unit, 1 AS unit_bytes, 'USD' AS currency, '' AS sku, '' AS source_url,"
            " DATE '2026-01-01' AS checked_on, 0 AS numerator",
        }
        ledger.put(con, Partition("t", "c", moment), queries, [Input("used", "0")])


def scan(path: Path, ledger: Path, memory: str) -> None:
    """Decode the needed columns of both sides and nothing else."""
    with engine(memory) as con:
        source = f"read_parquet('{path}')"
        if path.suffix != ".parquet":
            source = f"read_csv('{path}', all_varchar = true, header = true)"
        charges = f"read_parquet('{ledger}/*/*/*/*/charges-*.parquet', hive_partitioning = false)"
        for columns, relation in ((COLUMNS, source), (CHARGE_COLUMNS, charges)):
            started = time.process_time()
            con.execute(f"SELECT bit_xor(hash({', '.join(columns)})) FROM {relation}")
            print(f"  scan of {len(columns)} columns: {time.process_time() - started:.2f} s of CPU")


def run(path: Path, ledger: Path, memory: str) -> None:
    """Reconcile and print the sums."""
    with engine(memory) as con:
        marks = [time.perf_counter()]
        bill = read(con, [path])
        marks.append(time.perf_counter())
        reconcile(con, bill, Ledger.open(ledger))
        marks.append(time.perf_counter())
        compared(con)
        found = summary(con)
        reasons = ", ".join(f"{row[0]} {row[2]}" for row in residuals(con).rows)
        marks.append(time.perf_counter())
    steps = ", ".join(
        f"{name} {end - start:.1f} s"
        for name, (start, end) in zip(("read", "match", "report"), pairwise(marks), strict=True)
    )
    print(f"  {found.lines} network lines: {steps}; residuals: {reasons}")


def _child(job: str, path: str, ledger: str, memory: str) -> None:
    started = time.perf_counter()
    before = time.process_time()
    {"scan": scan, "run": run}[job](Path(path), Path(ledger), memory)
    wall, used = time.perf_counter() - started, time.process_time() - before
    # Not ru_maxrss: a child inherits its parent's.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0]) // 1024
    print(f"{wall:.3f} {used:.3f} {peak}")


Timed = tuple[float, float, int]


def _timed(*arguments: str) -> Timed:
    command = [sys.executable, "-m", "benchmarks.reconcile", "--child", *arguments]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    *notes, last = out.splitlines()
    print("\n".join(notes), end="\n" if notes else "", flush=True)
    wall, cpu, peak = last.split()
    return float(wall), float(cpu), int(peak)


def _prepare(folder: Path, lines: int, form: str, percent: int) -> tuple[Path, Path]:
    """Write the bill and the ledger, unless an earlier run left them there."""
    bill, text = folder / f"{lines}.parquet", folder / f"{lines}.csv.gz"
    ledger = folder / f"{lines}-{percent}"
    with duckdb.connect(config={"temp_directory": str(folder), "memory_limit": "4GiB"}) as con:
        if not (bill.exists() and ledger.exists()):
            world(con, lines)
            if not bill.exists():
                write_bill(con, lines, bill)
            write_ledger(con, ledger, percent)
        if form == "csv" and not text.exists():
            write_text(con, bill, text)
    return bill if form == "parquet" else text, ledger


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--memory", default="2GiB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--form", choices=["parquet", "csv"], default="parquet")
    parser.add_argument("--seen", type=int, default=100, help="percent of each cell's bytes booked")
    parser.add_argument("--keep", type=Path, help="folder for the files, kept for another run")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child(*options.child)
        return
    with tempfile.TemporaryDirectory(prefix="flowcost-bench-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        path, ledger = _prepare(folder, options.lines, options.form, options.seen)
        jobs = ("scan", "run")
        found: dict[str, list[Timed]] = {job: [] for job in jobs}
        for _ in range(options.rounds):
            for job in jobs:
                found[job].append(_timed(job, str(path), str(ledger), options.memory))
        size = path.stat().st_size >> 20
    _print(
        found,
        f"{options.lines} lines, {options.form}, {size} MiB, {options.seen} % of the bytes"
        f" seen, {options.rounds} rounds",
    )


def _print(found: dict[str, list[Timed]], title: str) -> None:
    middle = {
        job: [median(column) for column in zip(*rows, strict=True)] for job, rows in found.items()
    }
    print(f"\n{title}; load {os.getloadavg()[0]:.1f}\n")
    print("| job | seconds (median) | of CPU | resident MiB |\n|---|---|---|---|")
    for job, name in (("scan", "bare scan of both sides"), ("run", "reconcile")):
        wall, cpu, peak = middle[job]
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {peak:.0f} |")
    pairs = list(zip(found["run"], found["scan"], strict=True))
    for index, name in enumerate(("seconds", "CPU")):
        ratios = [one[index] / other[index] for one, other in pairs]
        print(f"ratio of {name}: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
