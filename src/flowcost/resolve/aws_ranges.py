"""The ranges that AWS publishes: which service and region a public address belongs to.

AWS lists most blocks under AMAZON and again under the services in them (AWS, "AWS IP address
ranges"). Of equal blocks a named service wins over EC2, which says only that customers may hold
addresses there, and EC2 wins over AMAZON.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec
from msgspec import Struct

from flowcost.address import network
from flowcost.errors import InventoryError
from flowcost.model import EndKind, Identity
from flowcost.resolve import ALWAYS, Claim, Layer
from flowcost.resolve.history import Moment, merge

_PACKAGED = "aws_ip_ranges_20260822T151705Z.csv.gz"
_CREATED = datetime(2026, 8, 22, 15, 17, 5, tzinfo=UTC)
_CREATE_DATE = "%Y-%m-%d-%H-%M-%S"
_EVERYWHERE = "GLOBAL"

_KINDS = {
    "EC2": EndKind.EC2_PUBLIC,
    "CLOUDFRONT": EndKind.CLOUDFRONT,
    "CLOUDFRONT_ORIGIN_FACING": EndKind.CLOUDFRONT,
    "GLOBALACCELERATOR": EndKind.GLOBAL_ACCELERATOR,
}

Row = tuple[str, str, str]


class _Prefix(Struct):
    service: str
    region: str
    ip_prefix: str = ""
    ipv6_prefix: str = ""


class _Published(Struct, rename="camel"):
    create_date: str
    prefixes: list[_Prefix]
    ipv6_prefixes: list[_Prefix] = msgspec.field(name="ipv6_prefixes", default_factory=list)


def layer(paths: Iterable[Path] = ()) -> Layer:
    """Return the published ranges: the packaged copy and any newer `ip-ranges.json`.

    Each copy speaks from its `createDate` to the next one's; the oldest also for the time before.

    Raises:
        InventoryError: a file is not an `ip-ranges.json`.
    """
    copies = {_CREATED: packaged_claims()}
    for path in paths:
        created, rows = _read(path)
        copies[created] = _claims(rows)
    oldest = min(copies)
    (merged,) = merge(
        Moment(
            ALWAYS if created == oldest else created,
            (Layer(source="published", claims=claims),),
        )
        for created, claims in copies.items()
    )
    return merged


@cache
def packaged_claims() -> tuple[Claim, ...]:
    """Return the claims of the copy that comes with the package."""
    raw = (files("flowcost.resolve") / "data" / _PACKAGED).read_bytes()
    rows = csv.reader(io.StringIO(gzip.decompress(raw).decode("ascii")))
    next(rows)
    return _claims((service, region, prefix) for service, region, prefix in rows)


def blocks_of(claims: Iterable[Claim], service: str, region: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the blocks of one service in one region, as (first, last)."""
    for claim in claims:
        identity = claim.identity
        if (identity.cloud_service, identity.cloud_region) == (service, region):
            yield claim.first, claim.last


def _read(path: Path) -> tuple[datetime, Iterator[Row]]:
    try:
        published = msgspec.json.decode(path.read_bytes(), type=_Published)
        created = datetime.strptime(published.create_date, _CREATE_DATE).replace(tzinfo=UTC)
    except (OSError, ValueError) as error:
        raise InventoryError(
            f"{path} is not an ip-ranges.json: {error}",
            hint="fetch it from https://ip-ranges.amazonaws.com/ip-ranges.json",
        ) from None
    rows = (
        (one.service, one.region, one.ip_prefix or one.ipv6_prefix)
        for one in (*published.prefixes, *published.ipv6_prefixes)
    )
    return created, rows


def _claims(rows: Iterable[Row]) -> tuple[Claim, ...]:
    best: dict[str, tuple[int, str, str]] = {}
    for service, region, prefix in rows:
        ranked = _rank(service), service, region
        best[prefix] = min(best.get(prefix, ranked), ranked)
    identities: dict[tuple[int, str, str], Identity] = {}
    claims = []
    for prefix, ranked in best.items():
        first, last = network(prefix)
        identity = identities.setdefault(ranked, _identity(*ranked[1:]))
        claims.append(Claim(first=first, last=last, identity=identity))
    return tuple(claims)


def _rank(service: str) -> int:
    return {"EC2": 1, "AMAZON": 2}.get(service, 0)


def _identity(service: str, region: str) -> Identity:
    return Identity(
        kind=_KINDS.get(service, EndKind.SERVICE),
        cloud_provider="aws",
        # An anycast or edge address is in no region; which one serves it is not known.
        cloud_region="" if region == _EVERYWHERE else region,
        cloud_service=service,
    )
