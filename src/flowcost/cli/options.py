"""Options that several commands share: which ledger, which charges, which format, where to."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import click

from flowcost import clock
from flowcost.cli import completing
from flowcost.cli.asking import Here, There
from flowcost.errors import NotPermittedError, UsageError
from flowcost.ledger import Ledger
from flowcost.ledger.ends import ATTRIBUTE_BY_DOCS
from flowcost.ledger.query import LEGS, Selection
from flowcost.views.tables import FORMATS

Command = Callable[..., Any]


class Instant(click.ParamType[datetime]):
    """A UTC day or time: `2026-11-20`, `2026-11-20T13:00:00Z`."""

    name = "time"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> datetime:
        """Return the UTC instant."""
        if isinstance(value, datetime):
            return value
        try:
            return clock.parse(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time like 2026-11-20 or 2026-11-20T13:00Z", param, ctx)


class Span(click.ParamType[timedelta]):
    """A number of hours or days: `24h`, `7d`."""

    name = "span"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> timedelta:
        """Return the length of time."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,4})([hd])", str(value))
        if not found:
            self.fail(f"{value!r} is not a span like 24h or 7d", param, ctx)
        return int(found[1]) * (clock.HOUR if found[2] == "h" else timedelta(days=1))


ledger_option = click.option(
    "--ledger",
    "ledger_path",
    type=click.Path(path_type=Path),
    default=Path("ledger"),
    show_default=True,
    envvar="FLOWCOST__LEDGER__PATH",
    help="Folder of the ledger.",
)
format_option = click.option(
    "--format", "form", type=click.Choice(list(FORMATS)), default="table", show_default=True
)
output_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file."
)

_SELECTION = (
    click.option(
        "--filter",
        "where",
        default="",
        shell_complete=completing.filters,
        help="Filter, as path=cross_az and stage=prod.",
    ),
    click.option("--from", "start", type=Instant(), help="First UTC hour."),
    click.option("--to", "end", type=Instant(), help="UTC hour after the last."),
    click.option("--last", type=Span(), help="The last hours or days, as 24h or 7d."),
    click.option(
        "--attribute-by",
        type=click.Choice(list(ATTRIBUTE_BY_DOCS)),
        default="local",
        show_default=True,
        help="Which end pays.",
    ),
    click.option(
        "--legs",
        type=click.Choice(LEGS),
        default="all",
        show_default=True,
        help="All that is billed, or only the metered ends that were seen.",
    ),
    click.option("--tenant", default="", help="Only this tenant."),
)


_SERVED = (
    click.option(
        "--server", metavar="URL", envvar="FLOWCOST_SERVER", help="Ask this server instead."
    ),
    click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="FLOWCOST_TOKEN_FILE",
        help="File with a token of the server.",
    ),
    click.option(
        "--ca-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Certificates to trust, PEM; else the system's.",
    ),
    click.option("--hours", type=click.IntRange(1), help="The last hours; as --last Nh."),
)


def selection_options(command: Command) -> Command:
    """Give a command `--ledger` and the selection options; it gets `ledger` and `selection`."""

    @wraps(command)
    def opened(*, ledger_path: Path, **given: Any) -> Any:  # noqa: ANN401 - the command's own
        selection, rest = _selected(given)
        return command(ledger=Ledger.open(ledger_path), selection=selection, **rest)

    return _with(opened, (ledger_option, *_SELECTION))


def question_options(command: Command) -> Command:
    """Give a command what `selection_options` does, and `--server`; it gets `questions`."""

    @wraps(command)
    def opened(
        *,
        ledger_path: Path,
        server: str | None,
        token_file: Path | None,
        ca_file: Path | None,
        hours: int | None,
        **given: Any,  # noqa: ANN401 - the command's own
    ) -> Any:  # noqa: ANN401 - whatever the command returns
        if hours is not None:
            if given["last"] is not None:
                raise UsageError("--hours and --last say the same", hint="give one of them")
            given["last"] = hours * clock.HOUR
        selection, rest = _selected(given)
        if not server:
            here = Here(Ledger.open(ledger_path))
            return command(questions=here, selection=selection, **rest)
        there = There(server, token_file, ca_file)
        try:
            return command(questions=there, selection=selection, **rest)
        finally:
            there.close()

    return _with(opened, (ledger_option, *_SERVED, *_SELECTION))


def _selected(given: dict[str, Any]) -> tuple[Selection, dict[str, Any]]:
    """Return the selection that the options of `_SELECTION` make, and the other options."""
    start: datetime | None = given.pop("start")
    end: datetime | None = given.pop("end")
    last: timedelta | None = given.pop("last")
    if last is not None:
        if start or end:
            raise UsageError("--last stands alone", hint="leave out --from and --to")
        start = clock.hour_of(clock.now() - last)
    if start and end and start >= end:
        raise UsageError(
            f"--from {clock.iso(start)} is not before --to {clock.iso(end)}",
            hint="the interval is half-open: --to names the hour after the last",
        )
    selection = Selection(
        where=given.pop("where"),
        start=start,
        end=end,
        attribute_by=given.pop("attribute_by"),
        legs=given.pop("legs"),
        tenant=given.pop("tenant") or None,
    )
    return selection, given


def _with(command: Command, options: Sequence[Command]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def emit(content: str | bytes, output: Path | None) -> None:
    """Write rendered rows to a file or to standard output.

    Raises:
        UsageError: binary content would go to a terminal.
        NotPermittedError: the file cannot be written.
    """
    if output is not None:
        try:
            output.write_bytes(content.encode() if isinstance(content, str) else content)
        except OSError as error:
            raise NotPermittedError(f"{output}: cannot be written ({error.strerror})") from None
    elif isinstance(content, bytes) and sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal", hint="name a file with --output")
    else:
        click.echo(content, nl=False)


def note(lines: list[str], form: str, output: Path | None) -> None:
    """Say what qualifies the rows: below a table, else on a watched stderr."""
    on_paper = form == "table" and output is None
    if on_paper or sys.stderr.isatty():
        for line in lines:
            click.echo(line, err=not on_paper)
