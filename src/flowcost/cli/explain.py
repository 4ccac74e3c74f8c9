"""`flowcost explain`: verdict, rule, evidence, rate and source of the dearest charges."""

from __future__ import annotations

from pathlib import Path

import click

from flowcost.cli.asking import Questions
from flowcost.cli.options import emit, format_option, output_option, question_options
from flowcost.ledger.query import Selection
from flowcost.views.explanations import render_explanations


@click.command()
@question_options
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Charges.")
@format_option
@output_option
def command(
    *, questions: Questions, selection: Selection, top: int, form: str, output: Path | None
) -> None:
    """Answer why: each charge with its verdict, evidence, rate, arithmetic and source."""
    emit(render_explanations(questions.explain(selection, top=top), form), output)
