"""NAT gateway cost as one SQL statement for Amazon Athena, for users whose logs stay there.

The same rules as the pipeline's: a record counts where neither packet address is the gateway's
own (the client's leg; the outer leg repeats its bytes and hides the client), it was accepted and
complete; every byte of both directions is processed; uploads to the internet are egress besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from flowcost import __version__, clock, money
from flowcost.errors import UsageError
from flowcost.model import Rate


class NatLog(Struct, frozen=True, kw_only=True):
    """One NAT gateway interface: every address of its own, and the rates of its region."""

    interface: str
    addresses: tuple[str, ...]
    processing: Rate
    egress: Rate


def nat_analysis(
    gateways: Sequence[NatLog],
    *,
    table: str,
    start: datetime | None = None,
    end: datetime | None = None,
    services: bool = True,
) -> str:
    """Return the statement over `table`, whose columns are named as AWS's Athena guide names them.

    `services` says whether the table has the version 5 fields that name an AWS service; without
    them nothing tells internet egress from traffic to AWS, and egress stays null.

    Raises:
        UsageError: no gateway is given, or the table's name is not an identifier.
    """
    if not gateways:
        raise UsageError(
            "no NAT gateway is given", hint="name --inventory DIR or --nat ENI=ADDRESS"
        )
    window = "".join(
        f'\n    AND log."start" {operator} {int(bound.timestamp())} -- {clock.iso(bound)}'
        for operator, bound in ((">=", start), ("<", end))
        if bound is not None
    )
    service = (
        "nullif(CASE WHEN inward.address IS NULL THEN log.pkt_src_aws_service"
        " ELSE log.pkt_dst_aws_service END, '-')"
        if services
        else "CAST(NULL AS varchar)"
    )
    egress = _dollars("CASE WHEN aws_service IS NULL THEN upload_bytes ELSE 0 END", "egress")
    return f"""\
-- Flowcost {__version__}: what each client sent and received through NAT gateways, by UTC day.
-- The bill counts the gateway's outer leg; its client leg has the same bytes and names the client.
-- Dollars are rounded at the tenth decimal. Egress is the marginal list rate, free tier not
-- counted; traffic to AWS services is not egress. Gateway-hours and zone crossings are not here.
{_rates(gateways)}
-- Add a predicate on the table's partition columns to scan less.
WITH nat (interface_id, address, processing, egress) AS (
  VALUES
    {_values(gateways)}
),
gateway AS (
  SELECT DISTINCT interface_id, processing, egress FROM nat
),
client_leg AS (
  SELECT
    CAST(from_unixtime(log."start") AS date) AS day,
    log.interface_id,
    CASE WHEN inward.address IS NULL THEN log.pkt_dstaddr ELSE log.pkt_srcaddr END AS client,
    CASE WHEN inward.address IS NULL THEN log.pkt_srcaddr ELSE log.pkt_dstaddr END AS remote,
    {service} AS aws_service,
    CASE WHEN inward.address IS NULL THEN 0 ELSE log.bytes END AS upload_bytes,
    CASE WHEN inward.address IS NULL THEN log.bytes ELSE 0 END AS download_bytes
  FROM {_identifier(table)} AS log
  JOIN gateway ON gateway.interface_id = log.interface_id
  LEFT JOIN nat AS inward
    ON inward.interface_id = log.interface_id AND inward.address = log.dstaddr
  LEFT JOIN nat AS own_source
    ON own_source.interface_id = log.interface_id AND own_source.address = log.pkt_srcaddr
  LEFT JOIN nat AS own_destination
    ON own_destination.interface_id = log.interface_id
    AND own_destination.address = log.pkt_dstaddr
  WHERE own_source.address IS NULL
    AND own_destination.address IS NULL
    AND log.action = 'ACCEPT'
    AND log.log_status = 'OK'{window}
),
pair AS (
  SELECT
    day, interface_id, client, remote, aws_service,
    sum(upload_bytes) AS upload_bytes,
    sum(download_bytes) AS download_bytes
  FROM client_leg
  GROUP BY day, interface_id, client, remote, aws_service
)
SELECT
  pair.day, pair.interface_id, pair.client, pair.remote, pair.aws_service,
  upload_bytes,
  download_bytes,
  upload_bytes + download_bytes AS nat_bytes,
  {_dollars("(upload_bytes + download_bytes)", "processing")} AS nat_processing_usd,
  {egress if services else "CAST(NULL AS decimal(38, 10))"} AS internet_out_usd
FROM pair
JOIN gateway ON gateway.interface_id = pair.interface_id
ORDER BY nat_bytes DESC, pair.day, pair.client, pair.remote
"""


def _dollars(quantity: str, rate: str) -> str:
    """Return exact decimal arithmetic: prices are whole numbers of 1e-10 dollars per GiB."""
    numerator = f"CAST({quantity} AS decimal(38, 0)) * gateway.{rate} / {money.GIB}"
    places = money.PRICE_PLACES
    step = f"CAST('0.{1:0{places}}' AS decimal({places}, {places}))"
    return f"CAST({numerator} AS decimal(38, 0)) * {step}"


def _rates(gateways: Sequence[NatLog]) -> str:
    lines = {
        f"-- {rate.usage_type}: {rate.price} {rate.currency} per {rate.unit} of"
        f" {rate.unit_bytes} bytes since {rate.effective_from.isoformat()},"
        f" checked {rate.checked_on.isoformat()}, {rate.source_url}"
        for gateway in gateways
        for rate in (gateway.processing, gateway.egress)
    }
    return "\n".join(sorted(lines))


def _values(gateways: Sequence[NatLog]) -> str:
    rows = sorted(
        {
            f"({_text(gateway.interface)}, {_text(address)},"
            f" {_price(gateway.processing)}, {_price(gateway.egress)})"
            for gateway in gateways
            for address in gateway.addresses
        }
    )
    return ",\n    ".join(rows)


def _price(rate: Rate) -> int:
    """Return a rate in 1e-10 dollars per GiB."""
    return (
        money.price_numerator(rate.price, rate.unit_bytes)
        * money.GIB
        * money.PRICE_SCALE
        // money.ONE
    )


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _identifier(table: str) -> str:
    parts = table.split(".")
    if not all(part.isidentifier() and part.isascii() for part in parts):
        raise UsageError(f"{table!r} is not a table name", hint="write database.table or table")
    return ".".join(f'"{part}"' for part in parts)
