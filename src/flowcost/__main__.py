"""The `flowcost` command."""

from __future__ import annotations


def main() -> None:
    """Run the command line; errors become one message and an exit code."""
    from flowcost.cli import run  # noqa: PLC0415 - keeps `import flowcost` free of click

    run()


if __name__ == "__main__":
    main()
