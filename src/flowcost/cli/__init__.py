"""The command line: one module per command, loaded when it is called.

`flowcost --help` must answer in under 150 ms, so a command's summary lives in `COMMANDS` and its
module (with whatever it imports) is read only when the command runs.
"""

from __future__ import annotations

import importlib
import sys

import click

from flowcost import __version__
from flowcost.errors import FlowcostError

# command -> one-line summary; the module is `flowcost.cli.<command>` and holds `command`.
COMMANDS = {
    "demo": "Show, offline, what each billing path costs, who pays, and why.",
    "run": "Read cloud flow logs into an attributed ledger.",
    "snapshot": "Write an inventory from live AWS, Kubernetes and NetBox, read-only.",
    "costs": "Group and filter the ledger.",
    "explain": "Answer why: verdict, rule, evidence, rate, source.",
    "report": "Write a self-contained HTML report.",
    "reconcile": "Compare a bill with the ledger, to the last digit.",
    "export": "Write the analysis for tools you already have.",
    "ledger": "Roll up, verify and prune what is kept.",
    "rates": "List, show, check and compare rate books.",
    "agent": "Count every byte of this node's pods, and serve metrics.",
    "serve": "Take what agents post, attribute it live, and answer people and tools.",
    "config": "Check, show and describe flowcost.toml.",
    "lab": "Prove the agent against the wire, on a real kernel (root).",
    "doctor": "Say what this machine can do, and what it lacks.",
}


class LazyGroup(click.Group):
    """A group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return command names in the order a reader meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"flowcost.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the command list without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup)
@click.version_option(__version__, prog_name="flowcost")
def main() -> None:
    """Which workload pays for which bytes, over which billing path, at which dated rate."""


def run() -> None:
    """Run the command line; an operator's error prints once and sets the exit code."""
    try:
        main(standalone_mode=True)
    except FlowcostError as error:
        click.echo(f"flowcost: {error}", err=True)
        sys.exit(error.exit_code)
