"""`flowcost costs`: group and filter the ledger."""

from __future__ import annotations

from pathlib import Path

import click

from flowcost.cli.options import emit, format_option, note, output_option, selection_options
from flowcost.ledger import Ledger
from flowcost.ledger.keys import keys
from flowcost.ledger.query import Selection, costs, totals
from flowcost.views import summary
from flowcost.views.tables import render


def _list_keys(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        for key in keys().values():
            click.echo(f"{key.name:<36} {key.doc}")
        ctx.exit()


@click.command()
@selection_options
@click.option(
    "--by", default="path", show_default=True, help="Group keys, with commas between; see --keys."
)
@click.option("--sort", default="-list_cost", show_default=True, help="Column; - for descending.")
@click.option("--top", type=click.IntRange(1), help="Largest rows; the rest is one row (other).")
@click.option(
    "--keys",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_list_keys,
    help="List all group keys.",
)
@format_option
@output_option
def command(
    *,
    ledger: Ledger,
    selection: Selection,
    by: str,
    sort: str,
    top: int | None,
    form: str,
    output: Path | None,
) -> None:
    """Group and filter the ledger: bytes, list cost, and what has no rate."""
    names = [name.strip() for name in by.split(",") if name.strip()]
    table = costs(ledger, selection, by=names, sort=sort, limit=top)
    rows = summary.shown(table) if form == "table" else table.rows
    emit(render(table.columns, rows, form), output)
    found = totals(ledger, selection)
    note([summary.headline(found), *summary.caveats(found, selection)], form, output)
