"""`flowcost doctor`: what this machine can do, and what it lacks."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from flowcost.agent import probe
from flowcost.agent.capture import DEFAULT_PINS
from flowcost.errors import EXIT_ENVIRONMENT


@click.command()
@click.option(
    "--cgroup",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Cgroup to count below. Default: the cgroup-v2 root.",
)
@click.option(
    "--pins",
    type=click.Path(path_type=Path),
    default=DEFAULT_PINS,
    show_default=True,
    help="bpffs directory that keeps counters between agent runs.",
)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
def command(cgroup: Path | None, pins: Path, form: str) -> None:
    """Say whether the agent can run here; exit 3 if something it needs is missing.

    Nothing is changed: the programs are verified and attached for an instant, and pass every
    packet.
    """
    found = probe.checks(cgroup, pins)
    if form == "json":
        click.echo(msgspec.json.encode(found).decode())
    else:
        width = max(len(check.name) for check in found)
        for check in found:
            click.echo(f"{check.name:<{width}}  {check.status.value:<9}  {check.words}")
    if probe.missing(found):
        sys.exit(EXIT_ENVIRONMENT)
