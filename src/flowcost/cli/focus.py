"""The FOCUS half of `flowcost export`: a bill split to who moved the bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click

from flowcost.errors import UsageError
from flowcost.ledger import Ledger

VERSIONS = ("1.2", "1.3")


def focus_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command what `export_focus` needs besides the ledger and the output."""
    options = (
        click.argument("bills", metavar="[BILL]…", nargs=-1, type=click.Path(path_type=Path)),
        click.option(
            "--focus",
            "version",
            type=click.Choice(VERSIONS),
            help="FOCUS version of a split bill; 1.3 has columns for allocation.",
        ),
        click.option("--month", type=click.DateTime(["%Y-%m"]), help="Only this month of a bill."),
        click.option("--payer", default="", help="Only this payer account of a bill."),
        click.option("--tenant", default="", help="Only this tenant of the ledger."),
        click.option(
            "--allocate-fixed",
            type=click.Choice(["none", "proportional_bytes"]),
            default="none",
            show_default=True,
            help="Share charges per hour over the bytes of their resource.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def export_focus(
    bills: Sequence[Path],
    ledger: Ledger,
    output: Path | None,
    *,
    version: str,
    month: datetime | None,
    payer: str,
    tenant: str,
    allocate_fixed: str,
) -> None:
    """Write the network lines of a bill as FOCUS rows, each split to its consumers.

    The rows of a line sum to it exactly; what has no owner is a row of its own.

    Raises:
        UsageError: no bill or no output file is named.
    """
    from flowcost.bill import read  # noqa: PLC0415 - other exports read no bill
    from flowcost.bill.engine import engine  # noqa: PLC0415
    from flowcost.bill.fixed import AllocateFixed  # noqa: PLC0415
    from flowcost.bill.focus import write  # noqa: PLC0415
    from flowcost.bill.reconcile import reconcile  # noqa: PLC0415

    if not bills or output is None:
        raise UsageError(
            "--focus splits a bill into a file", hint="name the BILL and an --output file"
        )
    wanted = date(month.year, month.month, 1) if month else None
    with engine() as con:
        bill = read(con, bills, payer=payer, month=wanted)
        how = AllocateFixed(allocate_fixed)
        reconcile(con, bill, ledger, tenant=tenant, allocate_fixed=how)
        rows = write(con, output, version=version)
    click.echo(f"{output}: {rows} rows, FOCUS {version}", err=True)
