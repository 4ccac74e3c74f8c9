"""`flowcost config`: check, show and describe flowcost.toml."""

from __future__ import annotations

import json
from pathlib import Path

import click

from flowcost import config

file_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="FLOWCOST_CONFIG",
    help="Configuration file. Default: flowcost.toml here, if there is one.",
)


def found(path: Path | None) -> Path | None:
    """Return the file that was named, else the one in this folder, else none."""
    here = Path(config.FILE)
    return path or (here if here.exists() else None)


@click.group()
def command() -> None:
    """Check, show and describe flowcost.toml."""


@command.command()
@file_option
def check(path: Path | None) -> None:
    """Say everything that is wrong with the file and the environment's overrides."""
    used = found(path)
    config.load(used)
    click.echo(f"{used or 'defaults'}: all right")


@command.command()
@file_option
def show(path: Path | None) -> None:
    """Print what holds, as JSON: the file, the overrides, and defaults for the rest."""
    click.echo(json.dumps(config.shown(config.load(found(path))), indent=2))


@command.command()
def schema() -> None:
    """Print the JSON Schema of the file, for editors."""
    click.echo(json.dumps(config.schema(), indent=2))
