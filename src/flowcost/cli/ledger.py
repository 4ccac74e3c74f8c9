"""`flowcost ledger`: roll up, verify and prune what is kept."""

from __future__ import annotations

import sys
from datetime import timedelta

import click

from flowcost import clock
from flowcost.cli.options import Span, ledger_option
from flowcost.errors import EXIT_FINDINGS
from flowcost.ledger import Ledger


@click.group()
def command() -> None:
    """Roll up, verify and prune the ledger's partitions."""


@command.command()
@ledger_option
@click.option(
    "--lateness",
    type=Span(),
    default="2h",
    show_default=True,
    help="Leave out hours that ended less than this ago.",
)
def compact(*, ledger_path: str, lateness: timedelta) -> None:
    """Sum closed hours by day and by workload, so that questions over weeks are quick.

    Sums stay the same to the byte; a day whose hours change is rolled up again.
    """
    from flowcost.ledger.rollup import roll_up  # noqa: PLC0415 - reads the engine

    ledger = Ledger.open(ledger_path)
    closed = clock.hour_of(clock.now() - lateness)
    days = roll_up(ledger, closed_before=closed)
    click.echo(f"{len(days)} days rolled up")


@command.command()
@ledger_option
def verify(*, ledger_path: str) -> None:
    """Check every file against its manifest; exit 1 where one is missing, altered or stray."""
    wrong = Ledger.open(ledger_path).verify()
    for line in wrong:
        click.echo(line)
    click.echo(f"{len(wrong)} files wrong" if wrong else "all files are as their manifests say")
    if wrong:
        sys.exit(EXIT_FINDINGS)


@command.command()
@ledger_option
@click.option("--hours", type=Span(), help="Keep hours this long, as 35d; then days remain.")
@click.option("--days", type=Span(), help="Keep days this long, as 400d; then nothing remains.")
def prune(*, ledger_path: str, hours: timedelta | None, days: timedelta | None) -> None:
    """Drop hours, then days, that are older than what you keep.

    Totals over whole days stay the same when hours are dropped. An hour that was dropped can no
    longer be rewritten by late flows or settled into tiers.
    """
    from flowcost.ledger.retention import prune as drop  # noqa: PLC0415 - reads the engine

    if hours is None and days is None:
        raise click.UsageError("nothing to prune: give --hours, --days or both")
    now = clock.now()
    gone = drop(
        Ledger.open(ledger_path),
        hours_before=now - (hours or days or timedelta()),
        days_before=now - days if days else None,
    )
    click.echo(f"{len(gone)} hours pruned")
