"""`flowcost export`: the analysis for tools that users already have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click

from flowcost import address, clock
from flowcost.cli.focus import export_focus, focus_options
from flowcost.cli.options import Instant, emit, ledger_option, output_option
from flowcost.errors import RateError, UsageError
from flowcost.ledger import Ledger
from flowcost.model import GatewayKind, Rate
from flowcost.price import NoRate, list_book, marginal
from flowcost.resolve import Gateway, inventory
from flowcost.usage_types import usage_type
from flowcost.views.athena import NatLog, nat_analysis
from flowcost.views.grafana import render
from flowcost.views.grafana_fleet import ROWS

OPERATION = "NatGateway"  # of processing, and of egress on a gateway's own resource


@click.command()
@focus_options
@ledger_option
@click.option("--grafana", is_flag=True, help="The Grafana dashboard, as JSON to import.")
@click.option("--sql", type=click.Choice(["athena"]), help="NAT analysis as SQL, in this dialect.")
@click.option(
    "--inventory",
    "inventory_path",
    type=click.Path(path_type=Path),
    help="Inventory whose NAT gateways to take.",
)
@click.option(
    "--nat",
    "named",
    multiple=True,
    metavar="ENI=ADDRESS[,ADDRESS]",
    help="A NAT gateway's interface and all its own addresses, private and Elastic.",
)
@click.option("--region", default="us-east-1", show_default=True, help="Region of --nat gateways.")
@click.option("--table", default="vpc_flow_logs", show_default=True, help="Athena table.")
@click.option("--from", "start", type=Instant(), help="First instant.")
@click.option("--to", "end", type=Instant(), help="Instant after the last.")
@click.option("--without-services", is_flag=True, help="The table lacks pkt_*_aws_service.")
@output_option
def command(
    *,
    bills: tuple[Path, ...],
    version: str | None,
    ledger_path: Path,
    grafana: bool,
    sql: str | None,
    inventory_path: Path | None,
    named: tuple[str, ...],
    region: str,
    table: str,
    start: datetime | None,
    end: datetime | None,
    without_services: bool,
    output: Path | None,
    **of_bill: Any,  # noqa: ANN401 - the options of `focus_options`
) -> None:
    """Write a bill split to who moved the bytes, the NAT analysis as SQL, or a dashboard."""
    if [sql is not None, version is not None, grafana].count(True) != 1:
        hint = "give --focus, --sql or --grafana"
        raise UsageError("nothing to export, or two things", hint=hint)
    if grafana:
        emit(render(ROWS), output)
        return
    if version is not None:
        export_focus(bills, Ledger.open(ledger_path), output, version=version, **of_bill)
        return
    on = (start or clock.now()).date()
    gateways = [_named(text, region, on) for text in named]
    if inventory_path is not None:
        layers = inventory.read(inventory_path)
        known = [gateway for layer in layers for gateway in layer.gateways]
        gateways += _logged(known, on)
        for gateway in known:
            if gateway.kind is GatewayKind.REGIONAL_NAT_GATEWAY:
                click.echo(
                    f"{gateway.id}: left out, records of regional NAT gateways have no interface",
                    err=True,
                )
    emit(
        nat_analysis(gateways, table=table, start=start, end=end, services=not without_services),
        output,
    )


def _logged(known: Iterable[Gateway], on: date) -> Iterator[NatLog]:
    for gateway in known:
        if gateway.kind is GatewayKind.NAT_GATEWAY:
            addresses = tuple(sorted(address.unpack(packed) for packed in gateway.addresses))
            for interface in sorted(gateway.interfaces):
                yield _nat(interface, addresses, gateway.identity.cloud_region, on)


def _named(text: str, region: str, on: date) -> NatLog:
    interface, found, rest = text.partition("=")
    addresses = tuple(part.strip() for part in rest.split(","))
    try:
        for part in addresses:
            address.pack(part)
    except ValueError as error:
        raise UsageError(
            f"--nat {text}: {error}", hint="write eni-0a1b=10.0.0.220,3.4.5.6"
        ) from None
    if not (found and interface):
        raise UsageError(f"--nat {text}: no interface", hint="write eni-0a1b=10.0.0.220,3.4.5.6")
    return _nat(interface, addresses, region, on)


def _nat(interface: str, addresses: tuple[str, ...], region: str, on: date) -> NatLog:
    return NatLog(
        interface=interface,
        addresses=addresses,
        processing=_rate("NatGateway-Bytes", region, on),
        egress=_rate("DataTransfer-Out-Bytes", region, on),
    )


def _rate(meter: str, region: str, on: date) -> Rate:
    found = list_book().lookup(
        provider="aws",
        usage_type=usage_type(meter, region),
        operation=OPERATION,
        region=region,
        on=on,
    )
    if isinstance(found, NoRate):
        raise RateError(
            f"no rate of {meter} in {region or 'an unknown region'} on {on.isoformat()}"
        )
    return marginal(found)
