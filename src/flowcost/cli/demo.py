"""`flowcost demo`: the headline, a row per billing path, one explained cent; offline."""

from __future__ import annotations

import json
from typing import Any

import click

from flowcost.pipeline.demo import Demo, Leg, Row, collect
from flowcost.schema import Column
from flowcost.views.explanations import document, render_explanations
from flowcost.views.tables import plain, render

LEGS = (
    Column("paid by", "text", "end or gateway that carries the line"),
    Column("direction", "text", "transmit or receive, seen from that end"),
    Column("usage type", "text", "provider usage type"),
    Column("operation", "text", "provider operation"),
    Column("dialed service", "text", "Service the client dialed"),
    Column("bytes", "bytes", "metered bytes"),
    Column("list cost", "money", "bytes at the list rate"),
)
PATHS = (
    Column("billing path", "text", "canonical path"),
    Column("example", "text", "scenario"),
    Column("bytes", "bytes", "bytes seen by sensors"),
    Column("per end", "money", "what the observed ends are charged (basis: per_leg)"),
    Column("account bill", "money", "what all accounts are charged (basis: account_bill)"),
)
MONEY = Column("list_cost", "money", "exact dollars")


@click.command()
@click.option("--profile", default="", help="Show a named literal profile beside the bill.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def command(profile: str, form: str) -> None:
    """Show, offline, what each billing path costs, who pays, and why."""
    demo = collect(profile)
    click.echo(_json(demo) if form == "json" else _text(demo))


def _text(demo: Demo) -> str:
    head = demo.headline
    legs = [
        (leg.payer, leg.direction, leg.usage_type, leg.operation, leg.dialed_service,
         leg.quantity, leg.list_cost)
        for leg in head.legs
    ]  # fmt: skip
    columns = PATHS if not demo.profile else (*PATHS, Column(demo.profile, "money", "profile"))
    rows = [
        (row.path, row.title, row.bytes, row.observed_cost, row.account_cost)
        + ((row.profile_cost,) if demo.profile else ())
        for row in demo.rows
    ]
    total = plain(MONEY, head.account_cost)
    return "\n".join(
        (
            f"1. {head.title}",
            "",
            demo.text,
            "",
            f"Others: {demo.tools}",
            "",
            "The bill:",
            str(render(LEGS, legs, "table")).rstrip(),
            f"account total ${total}",
            "",
            f"2. One row per billing path (list rates read up to {demo.rates_checked})",
            "",
            str(render(columns, rows, "table")).rstrip(),
            "",
            "3. Why the first line of the bill is what it is",
            "",
            str(render_explanations([demo.explained], "table")).rstrip(),
            "",
            "Next: flowcost run --flow-logs DIR_OR_S3_URL --inventory DIR --ledger DIR",
        )
    )


def _json(demo: Demo) -> str:
    body: dict[str, Any] = {
        "profile": demo.profile or "bill",
        "rates_checked": demo.rates_checked.isoformat(),
        "headline": {**_scenario(demo.headline), "others": demo.tools},
        "scenarios": [_scenario(row) for row in demo.rows],
        "explained": document(demo.explained),
    }
    return json.dumps(body, indent=2)


def _scenario(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "title": row.title,
        "path": row.path,
        "bytes": row.bytes,
        "unpriced_bytes": row.unpriced_bytes,
        "per_leg_total": plain(MONEY, row.observed_cost),
        "account_total": plain(MONEY, row.account_cost),
        "profile_total": plain(MONEY, row.profile_cost),
        "legs": [_leg(leg) for leg in row.legs],
    }


def _leg(leg: Leg) -> dict[str, Any]:
    return {
        "payer": leg.payer,
        "direction": leg.direction,
        "usage_type": leg.usage_type,
        "operation": leg.operation,
        "payer_account": leg.payer_account,
        "dialed_service": leg.dialed_service,
        "provenance": leg.provenance,
        "bytes": leg.quantity,
        "list_cost": plain(MONEY, leg.list_cost),
    }
