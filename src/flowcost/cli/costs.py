"""`flowcost costs`: group and filter the ledger."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from flowcost.cli import completing
from flowcost.cli.asking import Here, Questions
from flowcost.cli.options import emit, format_option, note, output_option, question_options
from flowcost.errors import UsageError
from flowcost.ledger.keys import keys
from flowcost.ledger.query import Selection
from flowcost.views import billing, summary
from flowcost.views.tables import render


def _list_keys(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        for key in keys().values():
            click.echo(f"{key.name:<36} {key.doc}")
        ctx.exit()


@click.command()
@question_options
@click.option(
    "--by",
    default="path",
    show_default=True,
    shell_complete=completing.group_keys,
    help="Group keys, with commas between; see --keys.",
)
@click.option(
    "--sort",
    default="-list_cost",
    show_default=True,
    shell_complete=completing.sort_keys,
    help="Column; - for descending.",
)
@click.option("--top", type=click.IntRange(1), help="Largest rows; the rest is one row (other).")
@click.option(
    "--keys",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_list_keys,
    help="List all group keys.",
)
@click.option(
    "--basis",
    type=click.Choice(["list", "billed"]),
    default="list",
    show_default=True,
    help="List prices, or the bill's own costs (needs --bill).",
)
@click.option(
    "--bill",
    "bills",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Bill for --basis billed: CUR, Data Export or FOCUS; repeatable.",
)
@format_option
@output_option
def command(
    *,
    questions: Questions,
    selection: Selection,
    by: str,
    sort: str,
    top: int | None,
    basis: str,
    bills: tuple[Path, ...],
    form: str,
    output: Path | None,
) -> None:
    """Group and filter the ledger: bytes, list cost, and what has no rate.

    With `--basis billed` costs are shares of billed lines; what has no owner is a row of its own.
    """
    names = [name.strip() for name in by.split(",") if name.strip()]
    if (basis == "billed") != bool(bills):
        raise UsageError("--basis billed and --bill go together", hint="give both or neither")
    with ExitStack() as stack:
        bill = None
        if bills:
            from flowcost.bill.basis import billed  # noqa: PLC0415 - only this basis reads bills

            if not isinstance(questions, Here):
                raise UsageError("a bill is compared with a ledger here", hint="give --ledger")
            ledger = questions.ledger
            seen, bill = stack.enter_context(billed(ledger, bills, tenant=selection.tenant or ""))
            questions = Here(seen)
        table = questions.costs(selection, by=names, sort=sort, limit=top)
        found = questions.totals(selection)
    columns, qualified = table.columns, summary.caveats(found, selection)
    if bill is not None:
        columns = billing.columns(table.columns)
        qualified = billing.caveats(bill, found, selection)
    rows = summary.shown(table) if form == "table" else table.rows
    emit(render(columns, rows, form), output)
    note([summary.headline(found), *qualified], form, output)
