"""`flowcost explain`: verdict, rule, evidence, rate and source of the dearest charges."""

from __future__ import annotations

from pathlib import Path

import click

from flowcost.cli.options import emit, format_option, output_option, selection_options
from flowcost.ledger import Ledger
from flowcost.ledger.explain import explain
from flowcost.ledger.query import Selection
from flowcost.views.explanations import render_explanations


@click.command()
@selection_options
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Charges.")
@format_option
@output_option
def command(
    *, ledger: Ledger, selection: Selection, top: int, form: str, output: Path | None
) -> None:
    """Answer why: each charge with its verdict, evidence, rate, arithmetic and source."""
    emit(render_explanations(explain(ledger, selection, top=top), form), output)
