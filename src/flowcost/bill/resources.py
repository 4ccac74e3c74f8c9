"""How a bill and a ledger spell one resource."""

from __future__ import annotations

# Resource types whose ids name themselves; an ARN and a bare id then mean the same thing.
_TYPES = (
    "loadbalancer",
    "natgateway",
    "instance",
    "vpc-endpoint",
    "transit-gateway-attachment",
    "transit-gateway",
    "vpn-connection",
    "network-interface",
    "elastic-ip",
)


def resource_sql(column: str) -> str:
    """Return SQL of a resource without account and region: `arn:…:natgateway/nat-1` -> `nat-1`."""
    bare = f"regexp_replace({column}, '^arn:[^:]*:[^:]*:[^:]*:[^:]*:', '')"
    typed = f"regexp_replace({bare}, '^({'|'.join(_TYPES)})/', '')"
    return f"CASE WHEN starts_with({column}, 'arn:') THEN {typed} ELSE {column} END"


# Processing is billed on the device, by its id. Seen from a client, the ledger may know only the
# client's: such a charge names no resource that the bill could have.
_DEVICES = {
    "TransitGateway-Bytes": "tgw-attach-",
    "NatGateway-Bytes": "nat-",
    "VpcEndpoint-Bytes": "vpce-",
    "VpcEndpoint-GWLBE-Bytes": "vpce-",
}


def booked_resource_sql(resource: str, usage_type: str) -> str:
    """Return SQL of the resource under which the bill would have a charge; empty if unknown."""
    bare = resource_sql(resource)
    unknown = " OR ".join(
        f"(ends_with({usage_type}, '{meter}') AND NOT starts_with({bare}, '{prefix}'))"
        for meter, prefix in _DEVICES.items()
    )
    return f"CASE WHEN {unknown} THEN '' ELSE {bare} END"


# First letters of an id -> what it is; AWS's own words, as they stand in an ARN.
_PREFIXES = {
    "i": "instance",
    "nat": "natgateway",
    "tgw-attach": "transit-gateway-attachment",
    "tgw": "transit-gateway",
    "vpce": "vpc-endpoint",
    "vpn": "vpn-connection",
    "eni": "network-interface",
    "eipalloc": "elastic-ip",
}


def resource_type_sql(column: str) -> str:
    """Return SQL of what a resource is: the type in its ARN, or by its id; null if unknown."""
    whens = " ".join(
        f"WHEN starts_with({column}, '{prefix}-') THEN '{kind}'"
        for prefix, kind in _PREFIXES.items()
    )
    typed = f"regexp_extract({column}, '^arn:[^:]*:[^:]*:[^:]*:[^:]*:([^:/]+)[:/]', 1)"
    return f"CASE WHEN starts_with({column}, 'arn:') THEN nullif({typed}, '') {whens} END"
