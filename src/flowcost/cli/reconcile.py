"""`flowcost reconcile`: what the provider charged, and the difference."""

from __future__ import annotations

import shlex
import sys
from datetime import date, datetime
from pathlib import Path

import click

from flowcost import clock
from flowcost.bill import history, read
from flowcost.bill.diagnose import diagnose
from flowcost.bill.engine import MEMORY, engine
from flowcost.bill.fixed import AllocateFixed
from flowcost.bill.history import Record
from flowcost.bill.rates import BASES, paid, rate_book, tiers
from flowcost.bill.read import Bill
from flowcost.bill.reconcile import reconcile
from flowcost.bill.report import (
    KEYS,
    Summary,
    agreement,
    apart,
    compared,
    residuals,
    summary,
    unbilled,
)
from flowcost.cli.options import emit, format_option, ledger_option, output_option
from flowcost.errors import EXIT_FINDINGS, LedgerError, UsageError
from flowcost.ledger import Ledger
from flowcost.ledger.query import Table
from flowcost.model import Finding
from flowcost.views.reconciliation import document
from flowcost.views.tables import binary, dollars, render, share

SHOWN = ("meters", "days", "residuals", "unbilled", "apart", "rates", "tiers")


@click.command()
@click.argument("bills", metavar="[BILL]…", nargs=-1, type=click.Path(path_type=Path))
@ledger_option
@click.option("--month", type=click.DateTime(["%Y-%m"]), help="Only this month, as 2026-11.")
@click.option("--payer", default="", help="Only this payer account.")
@click.option("--tenant", default="", help="Only this tenant of the ledger.")
@click.option(
    "--show",
    type=click.Choice(SHOWN),
    help="One table only; without it a table view shows all that says something.",
)
@click.option(
    "--by",
    default="usage_type,operation",
    show_default=True,
    help=f"Keys of the comparison: {', '.join(KEYS)}.",
)
@click.option(
    "--allocate-fixed",
    type=click.Choice([how.value for how in AllocateFixed]),
    default=AllocateFixed.NONE.value,
    show_default=True,
    help="Share charges per hour over the bytes of their resource.",
)
@click.option("--rates-out", type=click.Path(path_type=Path), help="Write the prices paid (CSV).")
@click.option(
    "--rates-basis",
    type=click.Choice(BASES),
    default="billed",
    show_default=True,
    help="Which prices --rates-out writes.",
)
@click.option(
    "--check", is_flag=True, help="Exit 1 if a meter differs from the bill by over 0.1 %."
)
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the page: agreement, waterfall, residuals, history.",
)
@click.option("--history", "past", is_flag=True, help="Show what is on record; no BILL is read.")
@click.option("--no-record", is_flag=True, help="Keep no record of this reconciliation.")
@click.option("--memory", default=MEMORY, show_default=True, help="Beyond this, spill to disk.")
@format_option
@output_option
def command(
    *,
    bills: tuple[Path, ...],
    ledger_path: Path,
    month: datetime | None,
    payer: str,
    tenant: str,
    show: str | None,
    by: str,
    allocate_fixed: str,
    rates_out: Path | None,
    rates_basis: str,
    check: bool,
    html: Path | None,
    past: bool,
    no_record: bool,
    memory: str,
    form: str,
    output: Path | None,
) -> None:
    """Compare a bill with the ledger: CUR, Data Exports, FOCUS, or Cost Explorer answers.

    Every billed network line is split into attributed shares and named residuals, to the last
    digit. Neither the bill nor the ledger is changed; a record of what was found is kept beside
    the ledger (.bill), so that months can be compared.
    """
    ledger = Ledger.open(ledger_path)
    if past == bool(bills):
        raise UsageError("nothing to reconcile, or two things", hint="name a BILL, or --history")
    if past:
        _show_history(ledger, tenant, html, form, output)
        return
    wanted = date(month.year, month.month, 1) if month else None
    with engine(memory) as con:
        bill = read(con, bills, payer=payer, month=wanted)
        reconcile(con, bill, ledger, tenant=tenant, allocate_fixed=AllocateFixed(allocate_fixed))
        names = [name.strip() for name in by.split(",") if name.strip()]
        tables = {
            "meters": lambda: compared(con, names),
            "days": lambda: compared(con, ("day", "account", "usage_type")),
            "residuals": lambda: residuals(con),
            "unbilled": lambda: unbilled(con),
            "apart": lambda: apart(con),
            "rates": lambda: paid(con),
            "tiers": lambda: tiers(con),
        }
        findings = [*bill.findings, *diagnose(con)]
        if rates_out:
            book = rate_book(con, bill, basis=rates_basis, on=clock.now().date())
            emit(book, rates_out)
        if show or form != "table":
            table = tables[show or "meters"]()
            emit(render(table.columns, table.rows, form), output)
        else:
            sections = {
                name: tables[name]() for name in ("meters", "residuals", "unbilled", "apart")
            }
            emit(_page(bill, summary(con), sections, findings), output)
        how = AllocateFixed(allocate_fixed)
        keeping = not no_record and how is AllocateFixed.NONE
        record = None
        if html or (keeping and len(bill.months) == 1):
            record = history.of(con, bill, ledger, findings, tenant=tenant, now=clock.now())
    if record:
        _keep(ledger, record, html, write=keeping)
    elif keeping:
        click.echo("no record kept: name one --month of the bill", err=True)
    off = [one for one in findings if one.code.startswith("reconcile-")]
    if check and off:
        for one in off:
            click.echo(f"{one.code}: {one.subject}: {one.sample}", err=True)
        sys.exit(EXIT_FINDINGS)


def _keep(ledger: Ledger, record: Record, html: Path | None, *, write: bool) -> None:
    """Keep a record, and write its page; a ledger that cannot be written to is no error."""
    if write:
        try:
            history.keep(ledger, record)
        except OSError as error:
            click.echo(f"no record kept: {error}", err=True)
    if html:
        _write(ledger, record, html)


def _write(ledger: Ledger, record: Record, html: Path) -> None:
    known = history.records(ledger, tenant=record.tenant)
    if all(one.assembly != record.assembly for one in known):
        known.insert(0, record)
    month = f"{record.month:%Y-%m}"
    words = ["flowcost", "reconcile", *record.files, "--ledger", str(ledger.root), "--month", month]
    page = document(record, known, command=shlex.join(words), now=clock.now())
    emit(page, html)
    click.echo(f"{html}: written", err=True)


def _show_history(
    ledger: Ledger, tenant: str, html: Path | None, form: str, output: Path | None
) -> None:
    """Print what is on record, or write the page of the newest month of it."""
    known = history.records(ledger, tenant=tenant or None)
    if not known:
        raise LedgerError(
            f"{ledger.root}: no reconciliation is on record", hint="reconcile a BILL first"
        )
    if html:
        _write(ledger, known[0], html)
        return
    table = history.listed(known)
    emit(render(table.columns, table.rows, form), output)


_TITLES = {
    "meters": "Billed against booked",
    "residuals": "Billed without an owner",
    "unbilled": "Booked without a bill",
    "apart": "Set apart: no usage",
}


def _page(bill: Bill, found: Summary, sections: dict[str, Table], findings: list[Finding]) -> str:
    """Return the report: what the bill is, the sums, each table that has rows, the findings."""
    months = ", ".join(f"{month:%Y-%m}" for month in bill.months)
    state = "final" if bill.final else "an estimate"
    agrees = agreement(found.met_bytes, found.billed_bytes)
    owned = share(found.attributed_cost, found.billed_cost)
    text = [
        f"Bill of {months}, payer {bill.payer or 'not named'}, {bill.currency}, {state}:",
        f"  network usage   {dollars(found.billed_cost)} on {found.lines} lines",
        f"  with an owner   {dollars(found.attributed_cost)} ({owned})",
        f"  without         {dollars(found.residual_cost)}",
        f"  billed bytes    {binary(found.billed_bytes)}",
        f"  of these met    {binary(found.met_bytes)} ({agrees})",
        f"  booked beyond   {binary(found.unbilled_bytes)}",
    ]
    for name, table in sections.items():
        if table.rows:
            text += ["", _TITLES[name], str(render(table.columns, table.rows, "table")).rstrip()]
    if findings:
        text += ["", "Findings"]
        text += [
            f"  {one.severity} {one.code} ({one.subject}): {one.count} x {one.sample}; {one.hint}"
            for one in findings
        ]
    return "\n".join(text) + "\n"
