"""What a billed line meters: a pure function of the few distinct names on a bill.

Lines are chosen by usage type and operation, never by product: transfer is billed under EC2, ECS,
ELB, RDS, VPC, S3, Lambda and more. `EU-DataTransfer-Out-Bytes` is egress of eu-west-1 and of
CloudFront's European edge; only the operation (an HTTP method) tells them apart.
"""

from __future__ import annotations

import re

from msgspec import Struct

from flowcost import usage_types
from flowcost.money import GIB

# CloudFront names its lines by HTTP method; CloudWatch Logs shares a meter name with Classic ELB.
HTTP_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROXY"})
CLOUDFRONT = "CloudFront"
_ONLY_LOAD_BALANCING = frozenset({"DataProcessing-Bytes", "LCUUsage", "LoadBalancerUsage"})
# Parts of names that are network meters even where Flowcost does not know them.
_NETWORK = (
    "DataTransfer",
    "AWS-Out-Bytes",
    "AWS-In-Bytes",
    "DataXfer",
    "CloudFront-",
    "NatGateway",
    "TransitGateway",
    "VpcEndpoint",
    "VpcPeering",
    "PublicIPv4",
    "DT-Premium",
    "VPN-Usage",
)
# A text of which every network usage type of AWS contains one: what a scan can sieve by.
SIEVE = ("Bytes", "LoadBalancerUsage", "LCUUsage", "DataXfer", "PublicIPv4", *_NETWORK[5:])

# Without usage types only words can sieve; the names decide later.
_CATEGORIES = ("network", "bandwidth")
_DESCRIPTIONS = ("data transfer", "nat gateway", "public ipv4", "balancer")

OTHER = "other"
NOTHING = "coalesce('')"  # SQL of a text column that a file lacks
_UNITS = {  # billing unit, lower case -> bytes; AWS's, Google's and Azure's GB is 2**30
    "gb": GIB,
    "gib": GIB,
    "gibibyte": GIB,
    "gigabytes": GIB,
    "gigabyte": GIB,
    "mib": 1 << 20,
    "mebibyte": 1 << 20,
    "tib": 1 << 40,
    "tebibyte": 1 << 40,
    "byte": 1,
    "bytes": 1,
    "by": 1,
}
_HOURS = ("hour", "hrs", "hour(s)", "hours", "hourly", "h")
_ISP = "Routing Preference: Internet"  # Azure's one product whose GB is 10**9 (first tier 10100)

# AWS's FOCUS export without x_ columns names a meter only in its description (wording of the
# public sample bill of 2024-09). The region is a column, or stands in the description.
_DESCRIBED = (
    (r"regional data transfer", "DataTransfer-Regional-Bytes"),
    (r"data transfer in per month", "DataTransfer-In-Bytes"),
    (r"data transfer out under the monthly global free tier", "DataTransfer-Out-Bytes"),
    (r"(first|next|greater than).* data transfer out", "DataTransfer-Out-Bytes"),
    (r"data processed by (the )?nat gateway", "NatGateway-Bytes"),
    (r"per nat gateway hour", "NatGateway-Hours"),
    (r"in-use public ipv4 address", "PublicIPv4:InUseAddress"),
    (r"idle public ipv4 address", "PublicIPv4:IdleAddress"),
    (r"load balancer capacity unit", "LCUUsage"),
    (r"loadbalancer-hour", "LoadBalancerUsage"),
    (r"data transfer out of .* to cloudfront", "CloudFront-Out-Bytes"),
    (r"data transfer in to .* from cloudfront", "CloudFront-In-Bytes"),
    (r"vpn connection.?hour", "VPN-Usage-Hours:ipsec.1"),
)
_PAIR = re.compile(r"per GB - (?P<here>.+?) data transfer (?P<way>to|from) (?P<there>.+?)$")
_LOCATIONS = {"EU (Germany)": "eu-central-1", "EU (Frankfurt)": "eu-central-1"}


class Named(Struct, frozen=True):
    """What a line meters; `meter` is empty where Flowcost books no such meter."""

    metered_as: str
    meter: str
    region: str
    to_region: str
    counts: str
    unit_bytes: int


class Words(Struct, frozen=True):
    """The words of a line that can decide what it meters."""

    provider: str
    usage_type: str
    operation: str
    unit: str
    region: str
    from_region: str
    to_region: str
    category: str
    description: str


def provider_of(text: str) -> str:
    """Return our name of a provider as a FOCUS bill spells it."""
    lower = text.lower()
    for word, name in (("aws", "aws"), ("amazon", "aws"), ("microsoft", "azure")):
        if word in lower:
            return name
    for word, name in (("google", "gcp"), ("azure", "azure"), ("oracle", "oci")):
        if word in lower:
            return name
    return lower


def may_be_network(usage_type: str, category: str, description: str) -> bool:
    """Say whether a line of these words may be a network line; `name` decides which is."""
    return (
        any(part in usage_type for part in SIEVE)
        or any(part in category.lower() for part in _CATEGORIES)
        or any(part in description.lower() for part in _DESCRIPTIONS)
    )


def sieve_sql(usage_type: str, category: str, description: str) -> str:
    """Return SQL of `may_be_network`, for text that is read but once."""
    tests = [f"contains({usage_type}, '{part}')" for part in SIEVE]
    for column, parts in ((category, _CATEGORIES), (description, _DESCRIPTIONS)):
        if column != NOTHING:
            tests += [f"{column} ILIKE '%{part}%'" for part in parts]
    return " OR ".join(tests)


def name(words: Words) -> Named | None:
    """Return what a line meters, or None where it is no network line."""
    if provider_of(words.provider) == "aws":
        return _aws(words)
    return _by_unit(words)


def _aws(words: Words) -> Named | None:
    if not words.usage_type:
        return _described(words)
    parsed = usage_types.parse(words.usage_type)
    if parsed is not None and _excluded(parsed.meter, words):
        parsed = None
        if words.operation not in HTTP_METHODS:
            return None  # CloudWatch's, not the load balancer's
    if parsed is None:
        return _unknown(words)
    region = parsed.region or words.from_region or words.region
    to_region = parsed.to_region
    per = usage_types.METERS[parsed.meter]
    try:
        metered_as = usage_types.usage_type(parsed.meter, region, to_region)
    except ValueError:
        metered_as = words.usage_type
    return Named(
        metered_as=metered_as,
        meter=parsed.meter,
        region=region or words.region,
        to_region=to_region,
        counts=per.value,
        unit_bytes=GIB if per is usage_types.Per.BYTES else 1,
    )


def _excluded(meter: str, words: Words) -> bool:
    if words.operation in HTTP_METHODS:
        return meter in ("DataTransfer-Out-Bytes", "DataTransfer-In-Bytes")
    return (
        meter in _ONLY_LOAD_BALANCING
        and bool(words.operation)
        and not words.operation.startswith("LoadBalancing")
    )


def _unknown(words: Words) -> Named | None:
    """Keep a network line visible whose meter or region prefix is not in the table."""
    if not any(part in words.usage_type for part in _NETWORK):
        return None
    counts = "bytes" if words.usage_type.endswith("Bytes") else _counts(words.unit)
    return Named(
        metered_as=words.usage_type,
        meter="",
        region=words.from_region or words.region,
        to_region=words.to_region,
        counts=counts,
        unit_bytes=GIB if counts == "bytes" else 1,
    )


def _described(words: Words) -> Named | None:
    """Name a line by its description, region column and unit."""
    pair = _PAIR.search(words.description)
    meter, to_region = "", ""
    if pair:
        to_region = _region_of_location(pair["there"])
        meter = "AWS-Out-Bytes" if pair["way"] == "to" else "AWS-In-Bytes"
    else:
        text = words.description.lower()
        meter = next((found for wording, found in _DESCRIBED if re.search(wording, text)), "")
    if not meter or not words.region or (pair and not to_region):
        if "data transfer" not in words.description.lower():
            return None
        return Named(words.description, "", words.region, "", _counts(words.unit), GIB)
    per = usage_types.METERS[meter]
    return Named(
        metered_as=usage_types.usage_type(meter, words.region, to_region),
        meter=meter,
        region=words.region,
        to_region=to_region,
        counts=per.value,
        unit_bytes=GIB if per is usage_types.Per.BYTES else 1,
    )


def _region_of_location(location: str) -> str:
    if location in _LOCATIONS:
        return _LOCATIONS[location]
    wanted = location.replace("Europe", "EU").replace("Northern Virginia", "N. Virginia")
    wanted = wanted.replace("Northern California", "N. California")
    for region in usage_types.regions():
        if region.location.replace("Europe", "EU") == wanted:
            return region.code
    return ""


def _by_unit(words: Words) -> Named | None:
    """Name a line of a provider whose meters carry no region: by meter name and unit."""
    meter = words.usage_type or words.description
    text = f"{words.category} {meter} {words.description}".lower()
    wanted = ("networking", "bandwidth", "virtual network", "nat gateway", "private link")
    also = ("data transfer", "network", "egress", "interconnect", "load balancer", "peering")
    if not any(word in text for word in (*wanted, *also)):
        return None
    # Azure's unit may name a pricing block ("100 GB"); the quantity counts GB all the same.
    unit = re.sub(r"^\d+k? ", "", words.unit.strip().lower())
    size = _UNITS.get(unit, 0)
    if _ISP in f"{words.category} {words.description} {meter}" and size == GIB:
        size = 10**9
    return Named(
        metered_as=meter,
        meter=meter,
        region=words.region,
        to_region=words.to_region,
        counts="bytes" if size else _counts(unit),
        unit_bytes=size or 1,
    )


def _counts(unit: str) -> str:
    lower = unit.strip().lower()
    if lower in _UNITS:
        return "bytes"
    if lower.startswith("lcu"):
        return "lcu_hours"
    return "hours" if lower in _HOURS or lower.endswith("hours") else OTHER
