"""The ledger at the bill's own grain: account, hour, resource, usage type, operation.

Enters: the views `charges` and `identities`. Leaves: `ledger_cells`, what was booked per cell of
the bill, and `watched`, which resources any sensor saw in which hour, with the bytes it could not
put on a path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

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
PARTITIONED = ("account", "hour", "resource", "usage_type", "operation")


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


# Cells are numbered by content, so that ties of a split do not depend on threads; a hash sorts
# faster than five texts.
_BOOKED = booked_resource_sql("resource_id", "usage_type")
CELLS = f"""
CREATE OR REPLACE TEMP TABLE ledger_cells AS
SELECT row_number() OVER (ORDER BY hash({", ".join(PARTITIONED)})) AS cell, *,
       CAST(hour AS DATE) AS day, CAST(date_trunc('month', hour) AS DATE) AS month, bytes AS rest
FROM (
    SELECT payer_account AS account, hour, {_BOOKED} AS resource, usage_type, operation,
           CAST(sum(quantity) AS BIGINT) AS bytes,
           CAST(coalesce(sum(list_cost), 0) AS DECIMAL(38,0)) AS list_cost
    FROM charges
    WHERE unit = 'bytes' AND usage_type <> ''
    GROUP BY ALL HAVING sum(quantity) > 0
)
"""

WATCHED = f"""
CREATE OR REPLACE TEMP TABLE watched AS
SELECT account, hour, {resource_sql("resource")} AS resource,
       CAST(sum(unproven) AS BIGINT) AS unproven_bytes
FROM (
    SELECT c.hour,
           CASE WHEN c.resource_id <> '' THEN c.payer_account
                ELSE coalesce(nullif(i.cloud_account_id, ''), c.payer_account) END AS account,
           coalesce(nullif(c.resource_id, ''), i.cloud_resource_id, '') AS resource,
           CASE WHEN c.usage_type = '' AND c.list_cost IS NULL THEN c.quantity ELSE 0 END
               AS unproven
    FROM charges c LEFT JOIN identities i ON i.identity_id = c.local_id
    WHERE c.provenance = 'observed'
)
GROUP BY ALL
"""


def gather(con: DuckDBPyConnection) -> None:
    """Create `ledger_cells` and `watched` from the attached ledger."""
    con.execute(CELLS)
    con.execute(WATCHED)
