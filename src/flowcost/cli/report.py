"""`flowcost report`: one HTML file to read, print and send."""

from __future__ import annotations

from pathlib import Path

import click

from flowcost import clock
from flowcost.cli.options import emit, selection_options
from flowcost.ledger import Ledger
from flowcost.ledger.query import Selection
from flowcost.views.report import build


@click.command()
@selection_options
@click.option("--title", default="Network cost report", show_default=True, help="Heading.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="File to write.",
)
def command(*, ledger: Ledger, selection: Selection, title: str, output: Path) -> None:
    """Write a self-contained HTML report: who pays whom, trend, top tables, findings."""
    emit(build(ledger, selection, title=title, now=clock.now()), output)
    click.echo(f"{output}: written", err=True)
