"""`flowcost rates`: what is charged for a byte, since when, by which source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from fnmatch import fnmatchcase
from pathlib import Path

import click

from flowcost import clock, usage_types
from flowcost.cli.options import format_option
from flowcost.errors import EXIT_FINDINGS, RateError, UsageError
from flowcost.model import Rate
from flowcost.price import (
    LIST_BOOK,
    Key,
    NoRate,
    RateBook,
    differences,
    in_force,
    list_book,
    list_book_problems,
    load_book,
    marginal,
)
from flowcost.schema import Column
from flowcost.views.rates import (
    CHECK_COLUMNS,
    DIFF_COLUMNS,
    LIST_COLUMNS,
    LIST_SHOWN,
    SHOW_COLUMNS,
    SHOW_SHOWN,
    age_of,
    book_row,
    rate_row,
)
from flowcost.views.tables import render

book_option = click.option(
    "--book",
    "books",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Operator book (CSV, folder or JSON price table) laid over the list; later ones win.",
)
on_option = click.option(
    "--on",
    "on",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="UTC day, as 2026-11-20; default today.",
)
region_option = click.option("--region", metavar="REGION", help="Region code, as us-east-1.")


@click.group()
def command() -> None:
    """List, show, check and compare rate books."""


def _day(on: datetime | None) -> date:
    return on.date() if on else clock.now().date()


def open_books(paths: Iterable[Path], beneath: RateBook | None) -> RateBook:
    """Lay operator books over `beneath` in order; what they leave out is said on stderr."""
    book = beneath
    for path in paths:
        book, warnings = load_book(path, book)
        for warning in warnings:
            click.echo(f"warning: {warning.subject}: {warning.hint}", err=True)
    if book is None:
        raise UsageError("no book is given", hint="name a CSV file, a folder or a price table")
    return book


def _known(region: str | None) -> None:
    codes = {row.code for row in usage_types.regions()} | {"global"}
    if region is not None and region not in codes:
        hint = f"known regions: {', '.join(sorted(codes))}"
        raise UsageError(f"unknown region {region!r}", hint=hint)


def _print(columns: tuple[Column, ...], rows: Iterable[dict[str, object]], form: str) -> None:
    cells = [[row[column.name] for column in columns] for row in rows]
    click.echo(render(columns, cells, form), nl=False)


def _listed(
    book: RateBook, pattern: str, region: str | None, on: date | None
) -> Iterator[tuple[str, Rate]]:
    for name, rate in book.rates():
        if region is not None and region not in (rate.region, rate.to_region):
            continue
        if on is not None and not in_force(rate, on):
            continue
        parsed = usage_types.parse(rate.usage_type)
        names = (rate.usage_type, parsed.meter if parsed else rate.usage_type)
        if any(fnmatchcase(text, pattern) for text in names):
            yield name, rate


def _freshness(rates: list[Rate], today: date) -> str:
    if not rates:
        return "no rate matches"
    return f"{len(rates)} rates; newest check {age_of(rates, today)} days ago"


@command.command("list")
@click.option("--usage-type", "pattern", default="*", help="Name or glob, prefix optional.")
@region_option
@on_option
@click.option("--all-dates", is_flag=True, help="Also rates no longer, or not yet, in force.")
@book_option
@format_option
def list_rates(
    *,
    pattern: str,
    region: str | None,
    on: datetime | None,
    all_dates: bool,
    books: tuple[Path, ...],
    form: str,
) -> None:
    """List rates in force, those of every book, upper books first."""
    _known(region)
    today = clock.now().date()
    when = None if all_dates else _day(on)
    found = list(_listed(open_books(books, list_book()), pattern, region, when))
    columns = LIST_SHOWN if form in ("table", "markdown") else LIST_COLUMNS
    _print(columns, (rate_row(name, rate, today) for name, rate in found), form)
    click.echo(_freshness([rate for _, rate in found], today), err=True)


def _billed(text: str, region: str | None, to_region: str) -> tuple[str, str, str]:
    """Return (usage type, region, second region) of a meter name or a billed usage type."""
    parsed = usage_types.parse(text)
    meter = parsed.meter if parsed else text
    if meter not in usage_types.METERS:
        hint = f"known meters: {', '.join(usage_types.METERS)}"
        raise UsageError(f"unknown meter {text!r}", hint=hint)
    if region is None:
        region = parsed.region if parsed else "us-east-1"
        region = region or ("global" if meter.startswith("Global-") else "us-east-1")
    to_region = to_region or (parsed.to_region if parsed else "")
    try:
        return usage_types.usage_type(meter, region, to_region), region, to_region
    except ValueError as fault:
        raise UsageError(str(fault), hint="see --region and --to-region") from None


@command.command("show")
@click.argument("usage_type")
@region_option
@click.option("--to-region", default="", metavar="REGION", help="Of an inter-region meter.")
@click.option("--operation", metavar="NAME", help="Default: every operation that has a rate.")
@on_option
@book_option
@format_option
@click.pass_context
def show_rate(
    context: click.Context,
    *,
    usage_type: str,
    region: str | None,
    to_region: str,
    operation: str | None,
    on: datetime | None,
    books: tuple[Path, ...],
    form: str,
) -> None:
    """Show the rate that applies to a meter on a day, its tiers, source and age.

    USAGE_TYPE is a billed usage type (EU-NatGateway-Bytes), or a meter without region
    (NatGateway-Bytes) with --region; a meter without either is us-east-1's. Exit code 1: it has
    no rate.
    """
    _known(region)
    _known(to_region or None)
    book = open_books(books, list_book())
    billed, where, other = _billed(usage_type, region, to_region)
    answers = _answers(book, Key(billed, operation or "", where, other), operation, _day(on))
    priced = [rates for rates in answers if not isinstance(rates, NoRate)]
    if not priced:
        click.echo(str(answers[0]), err=True)
        context.exit(EXIT_FINDINGS)
    today = clock.now().date()
    rows = (
        rate_row(_book_of(book, rate), rate, today) | {"marginal": rate is marginal(rates)}
        for rates in priced
        for rate in rates
    )
    _print(SHOW_SHOWN if form == "table" else SHOW_COLUMNS, rows, form)


def _answers(
    book: RateBook, key: Key, operation: str | None, on: date
) -> list[tuple[Rate, ...] | NoRate]:
    """Return what the book says of one operation, or of each that it names for the meter."""
    named = {
        rate.operation: None
        for _, rate in book.rates()
        if key[0::2] == (rate.usage_type, rate.region) and key.to_region == rate.to_region
    }
    asked = [operation] if operation is not None else list(named) or [""]
    keys = (key._replace(operation=name) for name in asked)
    return [book.lookup(provider="aws", on=on, **each._asdict()) for each in keys]


def _book_of(book: RateBook, rate: Rate) -> str:
    return next(name for name, other in book.rates() if other is rate)


@command.command("check")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--max-age", type=click.IntRange(min=0), metavar="DAYS", help="Exit 1 if a book is older."
)
@format_option
@click.pass_context
def check_books(
    context: click.Context, paths: tuple[Path, ...], max_age: int | None, form: str
) -> None:
    """Validate the packaged book and any others: names, units, gaps and overlaps.

    Every fault is named by file, row and field.
    """
    if problems := list_book_problems():
        raise RateError("\n  ".join(map(str, problems)), hint="reinstall; a packaged file changed")
    today = clock.now().date()
    books = (list_book(), *(open_books([path], None) for path in paths))
    checked = [(book.name, [rate for _, rate in book.rates()]) for book in books]
    _print(CHECK_COLUMNS, (book_row(name, rates, today) for name, rates in checked), form)
    ages = [(name, age_of(rates, today)) for name, rates in checked]
    old = [name for name, age in ages if max_age is not None and age > max_age]
    if old:
        click.echo(f"older than {max_age} days: {', '.join(old)}", err=True)
        context.exit(EXIT_FINDINGS)


@command.command("diff")
@click.argument("old")
@click.argument("new", required=False)
@on_option
@format_option
def diff_books(old: str, new: str | None, on: datetime | None, form: str) -> None:
    """Compare what two books answer on a day; `list` names the packaged one.

    With one book: what it changes when it is laid over the list.
    """
    if new is None:
        left, right = list_book(), open_books([Path(old)], list_book())
    else:
        left, right = (
            list_book() if name == LIST_BOOK else open_books([Path(name)], None)
            for name in (old, new)
        )
    rows = (
        {
            "change": found.change,
            **found.key._asdict(),
            "tier_from": found.tier_from,
            "old": None if found.old is None else f"{found.old:f}",
            "new": None if found.new is None else f"{found.new:f}",
        }
        for found in differences(left, right, _day(on))
    )
    _print(DIFF_COLUMNS, rows, form)
