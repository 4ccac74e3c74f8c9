"""AWS usage types: `[REGION-]Meter`, and `[SRC-]DST-AWS-(In|Out)-Bytes` between regions.

The region part is a billing code, not a region code, and cannot be derived: Mumbai bills as
`APS3` while its AZ ids begin with `aps1`, and `APS1` is Singapore. us-east-1 has no prefix on its
older meters and `USE1` on newer ones; eu-west-1 is `EU`, and `EUW1` on a few newer services, none
of them a network meter. Region codes and AZ-id prefixes come from `aws_regions.csv` beside this
file (AWS "Region billing codes" and "AWS Availability Zones" pages, read 2026-11-20).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType


class Per(StrEnum):
    """What a meter counts."""

    BYTES = "bytes"
    HOURS = "hours"
    LCU_HOURS = "lcu_hours"
    GBPS_HOURS = "gbps_hours"


class _Prefix(StrEnum):
    """How a meter spells us-east-1."""

    OLD = "old"  # no prefix in us-east-1
    NEW = "new"  # USE1 in us-east-1
    PAIR = "pair"  # both regions, always spelled out
    LOCATION = "location"  # a Direct Connect location in place of any region
    GLOBAL = "global"  # no region at all


# meter -> (what it counts, how us-east-1 is spelled). AWS Price List files AWSDataTransfer,
# AmazonEC2, AmazonVPC, AWSELB of 2026-07 to 2026-09; AWS "Codes for Amazon VPC in billing and
# usage reports". Whole names, never substrings: `NatGateway-Bytes` is a part of two others.
_METERS: dict[str, tuple[Per, _Prefix]] = {
    "DataTransfer-Regional-Bytes": (Per.BYTES, _Prefix.OLD),
    "DataTransfer-Out-Bytes": (Per.BYTES, _Prefix.OLD),
    "DataTransfer-In-Bytes": (Per.BYTES, _Prefix.OLD),
    "DataTransfer-xAZ-Out-Bytes": (Per.BYTES, _Prefix.NEW),
    "DataTransfer-xAZ-In-Bytes": (Per.BYTES, _Prefix.NEW),
    "DataTransfer-AZ-Out-Bytes": (Per.BYTES, _Prefix.NEW),
    "DataTransfer-AZ-In-Bytes": (Per.BYTES, _Prefix.NEW),
    "Global-DataTransfer-Out-Bytes": (Per.BYTES, _Prefix.GLOBAL),
    "AWS-Out-Bytes": (Per.BYTES, _Prefix.PAIR),
    "AWS-In-Bytes": (Per.BYTES, _Prefix.PAIR),
    "CloudFront-Out-Bytes": (Per.BYTES, _Prefix.NEW),
    "CloudFront-In-Bytes": (Per.BYTES, _Prefix.NEW),
    "VpcPeering-Out-Bytes": (Per.BYTES, _Prefix.NEW),
    "VpcPeering-In-Bytes": (Per.BYTES, _Prefix.NEW),
    "NatGateway-Hours": (Per.HOURS, _Prefix.OLD),
    "NatGateway-Bytes": (Per.BYTES, _Prefix.OLD),
    "NatGateway-Prvd-Gbps": (Per.GBPS_HOURS, _Prefix.OLD),
    "NatGateway-Prvd-Bytes": (Per.BYTES, _Prefix.OLD),
    "RegionalNatGateway-Hours": (Per.HOURS, _Prefix.OLD),
    "RegionalNatGateway-Bytes": (Per.BYTES, _Prefix.NEW),
    "TransitGateway-Hours": (Per.HOURS, _Prefix.NEW),
    "TransitGateway-Bytes": (Per.BYTES, _Prefix.NEW),
    "VpcEndpoint-Hours": (Per.HOURS, _Prefix.NEW),
    "VpcEndpoint-Bytes": (Per.BYTES, _Prefix.NEW),
    "VpcEndpoint-GWLBE-Hours": (Per.HOURS, _Prefix.NEW),
    "VpcEndpoint-GWLBE-Bytes": (Per.BYTES, _Prefix.NEW),
    "PublicIPv4:InUseAddress": (Per.HOURS, _Prefix.NEW),
    "PublicIPv4:IdleAddress": (Per.HOURS, _Prefix.NEW),
    "LoadBalancerUsage": (Per.HOURS, _Prefix.OLD),
    "LCUUsage": (Per.LCU_HOURS, _Prefix.OLD),
    "DataProcessing-Bytes": (Per.BYTES, _Prefix.OLD),
    "VPN-Usage-Hours:ipsec.1": (Per.HOURS, _Prefix.OLD),
    "DataXfer-Out:dc.1": (Per.BYTES, _Prefix.LOCATION),
}

METERS = MappingProxyType({meter: per for meter, (per, _) in _METERS.items()})

# Read, never written: what else a bill may call a region.
_READ_ALSO = {"EUW1": "eu-west-1"}


@dataclass(frozen=True)
class Region:
    """One AWS region and its names on bills, in AZ ids and in the price list."""

    code: str
    prefix: str
    az_id_prefix: str
    partition: str
    location: str


@dataclass(frozen=True)
class UsageType:
    """A usage type taken apart; `region` is empty where the text does not name it."""

    meter: str
    region: str
    to_region: str = ""


@cache
def _table() -> dict[str, Region]:
    text = Path(__file__).with_name("aws_regions.csv").read_text(encoding="utf-8")
    rows = (Region(*row) for row in list(csv.reader(text.splitlines()))[1:])
    return {row.code: row for row in rows}


@cache
def _by_prefix() -> dict[str, str]:
    return {row.prefix: row.code for row in _table().values()} | _READ_ALSO


@cache
def _by_az_prefix() -> dict[str, str]:
    return {row.az_id_prefix: row.code for row in _table().values() if row.az_id_prefix}


def regions(partition: str = "") -> tuple[Region, ...]:
    """Return the known regions, sorted by code; those of one partition (`aws`) if asked."""
    return tuple(row for row in _table().values() if partition in ("", row.partition))


def region_of_prefix(prefix: str) -> str:
    """Return the region of a billing prefix (`APS3` -> `ap-south-1`); empty if not known.

    The empty prefix is us-east-1's on its older meters.
    """
    return "us-east-1" if prefix == "" else _by_prefix().get(prefix, "")


def region_of_az(az_id: str) -> str:
    """Return the region of an AZ id (`aps1-az1` -> `ap-south-1`); empty if not known.

    A local zone (`usw2-lax1-az1`) belongs to its parent region.
    """
    return _by_az_prefix().get(az_id.partition("-")[0], "")


def _spelling(meter: str) -> _Prefix | None:
    return _METERS[meter][1] if meter in _METERS else None


def _spelled(region: str) -> str:
    row = _table().get(region)
    return row.prefix if row else region or "?"


def usage_type(meter: str, region: str, to_region: str = "") -> str:
    """Return the usage type under which AWS bills `meter` in `region`.

    Args:
        meter: a name of `METERS`, without region part.
        region: region code of the observed end; the source of `AWS-Out-Bytes`, the receiver of
            `AWS-In-Bytes`.
        to_region: the other region of an inter-region meter; the location code (`EqDC2`) of a
            Direct Connect meter, which does not name the region.

    A region missing from the table keeps its own code in place of a prefix (`?` if empty): the
    usage type stays visible, joins no bill line and has no rate.

    Raises:
        ValueError: `meter` is unknown, or `to_region` is given or missing against its kind.
    """
    if meter not in _METERS:
        raise ValueError(f"unknown meter {meter!r}")
    prefix = _METERS[meter][1]
    if (prefix in (_Prefix.PAIR, _Prefix.LOCATION)) != bool(to_region):
        raise ValueError(f"{meter} {'needs' if not to_region else 'has no'} second region")
    if prefix is _Prefix.LOCATION:
        return f"{to_region}-{meter}"
    if prefix is _Prefix.PAIR:
        return f"{_spelled(region)}-{_spelled(to_region)}-{meter}"
    if prefix is _Prefix.GLOBAL or (prefix is _Prefix.OLD and region == "us-east-1"):
        return meter
    return f"{_spelled(region)}-{meter}"


def parse(text: str) -> UsageType | None:
    """Take a billed usage type apart; None if its meter is not one of `METERS`.

    Reading is more lenient than writing: a spelled-out `USE1` or an `EUW1` is understood. Old
    inter-region lines name the other region only (`EU-AWS-Out-Bytes`): `region` is empty.
    """
    if _spelling(text) in (_Prefix.OLD, _Prefix.GLOBAL):
        return UsageType(text, "us-east-1" if _spelling(text) is _Prefix.OLD else "")
    head, _, rest = text.partition("-")
    region = _by_prefix().get(head, "")
    match _spelling(rest):
        case _Prefix.LOCATION if head:
            found = UsageType(rest, "", head)
        case _Prefix.PAIR if region:
            found = UsageType(rest, "", region)
        case _Prefix.OLD | _Prefix.NEW if region:
            found = UsageType(rest, region)
        case _:
            second, _, meter = rest.partition("-")
            other = _by_prefix().get(second, "")
            if not (region and other and _spelling(meter) is _Prefix.PAIR):
                return None
            found = UsageType(meter, region, other)
    return found
