"""How long the console's questions take over a month of many pods.

    python -m benchmarks.gen_ledger LEDGER && flowcost ledger compact --ledger LEDGER
    python -m benchmarks.ledger_queries LEDGER [--rounds 20]

Every round asks each question once, in turn, through one open ledger as the server does. The first
answers (cold) are shown apart. What a page asks is a few of these at once.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from pathlib import Path

import duckdb
from msgspec import structs

from flowcost.clock import DAY, HOUR
from flowcost.insights.cost_summary import Settings, summarise
from flowcost.ledger import Ledger
from flowcost.ledger.query import Selection, conversations, costs, trend
from flowcost.ledger.totals import totals


def questions(ledger: Ledger) -> dict[str, object]:
    """Return what the pages ask, by what they show."""
    held = ledger.shelves.hours.held()
    last = max(one.partition.hour for one in held) + HOUR
    month = Selection(tenant="default", start=last - 30 * DAY, end=last)
    week = structs.replace(month, start=last - 7 * DAY)
    team = structs.replace(month, where="owner.team = team-3 and path = cross_az")
    everyone = Selection(tenant="default")
    flows = ("owner", "path", "other.owner")
    return {
        "month: totals": lambda: totals(ledger, month),
        "month: paths": lambda: costs(ledger, month),
        "month: who pays whom": lambda: costs(ledger, month, by=flows, limit=24),
        "month: cost per day": lambda: trend(ledger, month, by=("path",)),
        "month: teams": lambda: costs(ledger, month, by=("owner.team",), limit=25),
        "month: a team's namespaces": lambda: costs(ledger, team, by=("k8s.namespace.name",)),
        "month: a team's workloads": lambda: costs(ledger, team, by=("k8s.workload.name",)),
        "month: conversations": lambda: conversations(ledger, month, limit=25),
        "week: cost per hour": lambda: trend(ledger, week, step="hour", by=("path",)),
        "week: conversations": lambda: conversations(ledger, week, limit=25),
        "all: the cost summary": lambda: summarise(ledger, everyone, Settings(prices=None), last),
        "week: a team's pods": lambda: costs(
            ledger,
            structs.replace(week, where="owner.team = team-3"),
            by=("k8s.pod.name",),
            limit=25,
        ),
    }


def main() -> None:
    """Ask and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    chosen = parser.parse_args()
    ledger = Ledger(chosen.ledger, shared=True)
    asked = questions(ledger)
    took: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(chosen.rounds + 1):
        for name, ask in asked.items():
            started = time.perf_counter()
            ask()
            took[name].append((time.perf_counter() - started) * 1000)
    held = ledger.shelves.hours.held()
    charges = sum(one.manifest.files["charges"].rows for one in held)
    print(
        f"{len(held)} hours, {charges:,} charges; {platform.machine()}, Python"
        f" {platform.python_version()}, DuckDB {duckdb.__version__}; milliseconds"
    )
    print(f"{'question':<30}{'cold':>8}{'median':>8}{'p95':>8}")
    for name, times in took.items():
        warm = sorted(times[1:])
        p95 = warm[max(0, -(-len(warm) * 95 // 100) - 1)]
        print(f"{name:<30}{times[0]:>8.0f}{statistics.median(warm):>8.0f}{p95:>8.0f}")
    every = sorted(value for times in took.values() for value in times[1:])
    print(f"{'all':<30}{'':>8}{statistics.median(every):>8.0f}"
          f"{every[-(-len(every) * 95 // 100) - 1]:>8.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
