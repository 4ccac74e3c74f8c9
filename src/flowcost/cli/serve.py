"""`flowcost serve`: take what agents post, attribute it live, answer people and tools."""

from __future__ import annotations

import logging
from pathlib import Path

import click
from msgspec.structs import replace

from flowcost import config, serving
from flowcost.cli.config import file_option, found
from flowcost.cli.token import token


@click.group(invoke_without_command=True)
@file_option
@click.option("--ledger", "ledger", type=click.Path(path_type=Path), help="Folder of the ledger.")
@click.option("--listen", metavar="HOST:PORT", help="Where to listen. Default: 127.0.0.1:8080.")
@click.pass_context
def command(
    context: click.Context, *, path: Path | None, ledger: Path | None, listen: str | None
) -> None:
    """Run the server until it is told to end (SIGTERM): it then drains, flushes and exits 0."""
    if context.invoked_subcommand:
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = config.load(found(path))
    if ledger:
        settings = replace(settings, ledger=replace(settings.ledger, path=ledger))
    if listen:
        try:
            settings = replace(settings, server=replace(settings.server, listen=listen))
        except ValueError as error:
            raise click.UsageError(f"--{error}") from None
    serving.serve(settings)


command.add_command(token)
