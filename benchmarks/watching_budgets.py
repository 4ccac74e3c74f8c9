"""What it costs to keep budgets and `/metrics` up with a ledger.

    python -m benchmarks.watching_budgets [--pods 5000] [--hours 336] [--budgets 100]

A ledger of so many hours, with the roll-ups that a server makes. Each line is asked in turn, over
and over in one run: after a start, with nothing changed, with the newest hour changed (as the live
pipeline does), and, to compare, the same sums read from the whole month each time.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median

import duckdb

from benchmarks import gen_ledger
from flowcost.insights.budgets import Budget
from flowcost.insights.spending import Spending
from flowcost.ledger import Input, Ledger, Partition
from flowcost.ledger.query import Selection, costs
from flowcost.ledger.rollup import roll_up
from flowcost.views.ledger_metrics import LedgerMetrics


class Subject:
    """A ledger whose newest hour can be touched, and a clock."""

    def __init__(self, root: Path, hours: int) -> None:
        self.ledger = Ledger.open(root)
        self.last = gen_ledger.START + timedelta(hours=hours - 1)
        self.now = self.last + timedelta(minutes=40)
        self.tenant = self.ledger.manifests(self.last)[0].tenant
        self.touched = 0

    def touch(self) -> None:
        """Rewrite the newest hour from half of its charges, or all of them, in turn."""
        self.touched += 1
        (manifest,) = self.ledger.manifests(self.last, tenant=self.tenant)
        partition = Partition(self.tenant, manifest.cluster, self.last)
        with duckdb.connect() as con:
            self.ledger.attach(con, self.last, tenant=self.tenant)
            tables = ("charges", "identities", "verdicts", "rates")
            given = {name: con.sql(f"SELECT * FROM {name}").to_arrow_table() for name in tables}
            given["charges"] = given["charges"].slice(self.touched % 2)
            self.ledger.put(con, partition, given, [Input("touched", str(self.touched))])


def timed(ask) -> float:
    start = time.perf_counter()
    ask()
    return (time.perf_counter() - start) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pods", type=int, default=5_000)
    parser.add_argument("--hours", type=int, default=336)
    parser.add_argument("--budgets", type=int, default=100)
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="flowcost-bench-"))
    try:
        gen_ledger.write(folder, asked.pods, asked.hours)
        subject = Subject(folder, asked.hours)
        roll_up(subject.ledger, closed_before=subject.last)
        print(table(subject, asked))
    finally:
        shutil.rmtree(folder)


def table(subject: Subject, asked: argparse.Namespace) -> str:
    month = gen_ledger.START.date()
    whole = Selection(start=gen_ledger.START, tenant=subject.tenant)
    names = [
        row[0]
        for row in costs(
            subject.ledger, whole, by=("k8s.namespace.name",), limit=asked.budgets
        ).rows
    ]
    budgets = [
        Budget(kind="namespace", name=name, monthly_usd=Decimal(1), tenant=subject.tenant)
        for name in names
    ]
    found: dict[str, list[float]] = {}
    spending, time_ago = Spending(subject.ledger, budgets), subject.now
    metrics = LedgerMetrics(subject.ledger, lambda: subject.now)
    mine = Selection(tenant=subject.tenant)

    def note(line: str, ask) -> None:
        found.setdefault(line, []).append(timed(ask))

    for _ in range(asked.times):
        fresh = Spending(subject.ledger, budgets)
        note("budgets, after a start", lambda f=fresh: f.spent(subject.tenant, month))
        spending.spent(subject.tenant, month)
        note("budgets, nothing changed", lambda: spending.spent(subject.tenant, month))
        metrics.families(mine, None)
        subject.now += timedelta(seconds=31)
        note("/metrics, nothing changed", lambda: metrics.families(mine, None))
        subject.touch()
        subject.now += timedelta(seconds=31)
        note("budgets, newest hour changed", lambda: spending.spent(subject.tenant, month))
        note("/metrics, newest hour changed", lambda: metrics.families(mine, None))
        note(
            "budgets, whole month each time",
            lambda: costs(subject.ledger, whole, by=("hour", "k8s.namespace.name"), sort="hour"),
        )
    charges = sum(m.files["charges"].rows for m in subject.ledger.manifests(tenant=subject.tenant))
    lines = [
        (
            f"{asked.pods} pods, {asked.hours} hours, {charges} charges, {len(budgets)} budgets;"
            f" medians of {asked.times}, from {time_ago:%Y-%m-%d}"
        ),
        "",
        "| what | ms | of a whole month |",
        "|---|---|---|",
    ]
    base = median(found["budgets, whole month each time"])
    for line, times in found.items():
        lines.append(f"| {line} | {median(times):.1f} | {median(times) / base:.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
