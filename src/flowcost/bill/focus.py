"""The bill as FOCUS rows, each split to who moved the bytes.

Enters: a reconciled bill. Leaves: a CSV or Parquet file with one row per billed line and consumer,
and one per named residual, whose allocated columns are empty. Every quantity and cost of a line is
split by largest remainder at ten places, so the rows of a line sum to the line and its ratios to
one. An origin line never stands beside its split rows. Columns: FOCUS specification 1.2 and 1.3
(focus.finops.org); ours begin with `x_`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flowcost.bill.basis import NUMBERED
from flowcost.bill.resources import resource_type_sql
from flowcost.bill.rounding import DIGIT, digits_sql
from flowcost.bill.shares import split_sql
from flowcost.errors import UsageError
from flowcost.money import PRICE_SCALE

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

VERSIONS = ("1.2", "1.3")
METHOD = "flowcost-measured-bytes"

# What is split; each sums to the line's own value.
_SPLIT = {
    "billed": f"CAST(cost AS HUGEINT) // {DIGIT}",
    "effective": f"CAST(coalesce(effective_cost, cost) AS HUGEINT) // {DIGIT}",
    "list": f"CAST(coalesce(list_cost, cost) AS HUGEINT) // {DIGIT}",
    "contracted": f"CAST(coalesce(contracted_cost, cost) AS HUGEINT) // {DIGIT}",
    "quantity": digits_sql("coalesce(quantity, 0)"),
    "ratio": f"CAST({PRICE_SCALE} AS HUGEINT)",
}

# Who took part in a pool, and with how many bytes.
CONSUMERS = f"""
CREATE OR REPLACE TEMP TABLE focus_consumers AS
WITH met AS (SELECT row_number() OVER (ORDER BY cell, pool) AS share, * FROM weights),
sums AS (SELECT cell, sum(quantity) AS scale, count(*) AS rows FROM charge_cells
         WHERE cell IS NOT NULL GROUP BY cell),
parts AS ({
    split_sql(
        "SELECT m.share AS pool, c.row, m.weight AS total, c.quantity AS weight, scale, rows"
        " FROM met m JOIN charge_cells c USING (cell) JOIN sums USING (cell)"
    )
})
SELECT m.pool, c.local_id, c.remote_id, c.path, c.verdict_id, sum(p.part) AS weight
FROM parts p JOIN met m ON m.share = p.pool JOIN charge_cells c ON c.row = p.row
GROUP BY ALL
"""

# A line's rows: its consumers, and its residuals.
ROWS = f"""
CREATE OR REPLACE TEMP TABLE focus_rows AS
WITH taking AS (
    SELECT row_number() OVER (ORDER BY s.line, s.pool, c.local_id, c.remote_id, c.path,
                              c.verdict_id) AS row,
           s.line, s.pool, s.bytes, c.* EXCLUDE (pool)
    FROM line_shares s JOIN focus_consumers c USING (pool)
),
pairs AS (SELECT row_number() OVER (ORDER BY line, pool) AS pair, line, pool,
                 sum(weight) AS scale, count(*) AS rows FROM taking GROUP BY line, pool),
parts AS ({
    split_sql(
        "SELECT pair AS pool, row, t.bytes AS total, weight, scale, rows"
        " FROM taking t JOIN pairs USING (line, pool)"
    )
})
SELECT t.line, '' AS reason, local_id, remote_id, path, verdict_id, p.part AS bytes,
       CASE WHEN t.bytes > 0 THEN p.part ELSE t.weight END AS weight
FROM taking t JOIN parts p USING (row)
UNION ALL
SELECT line, reason, 0, 0, '', NULL, bytes, bytes FROM line_shares WHERE reason <> ''
UNION ALL
-- Lines without a share (free hours, credits, refunds) are a row of their own.
SELECT line, 'not_split', 0, 0, '', NULL, coalesce(bytes, 0), 0 FROM bill_lines
WHERE line NOT IN (SELECT line FROM line_shares)
"""


def _split_measures() -> str:
    """Return the statement that creates `focus_split`: every measure of every row."""
    columns = ", ".join(f"{sql} AS {name}" for name, sql in _SPLIT.items())
    splits = ", ".join(f"of_{name} AS ({_split_one(name)})" for name in _SPLIT)
    joins = " ".join(f"JOIN of_{name} ON of_{name}.row = n.row" for name in _SPLIT)
    parts = ", ".join(
        f"CAST(of_{name}.part * sign(l.{name}) AS HUGEINT) AS {name}" for name in _SPLIT
    )
    return f"""
    CREATE OR REPLACE TEMP TABLE focus_split AS
    WITH numbered AS MATERIALIZED (
        SELECT row_number() OVER (ORDER BY line, reason, local_id, remote_id, path, verdict_id)
                   AS row, * FROM focus_rows
    ),
    sums AS MATERIALIZED (
        SELECT line, sum(weight) AS scale, count(*) AS rows FROM focus_rows GROUP BY line
    ),
    lines AS MATERIALIZED (SELECT line, {columns} FROM bill_lines),
    {splits}
    SELECT n.*, {parts} FROM numbered n JOIN lines l ON l.line = n.line {joins}
    """


def _split_one(name: str) -> str:
    return split_sql(
        f"SELECT n.line AS pool, n.row, abs({name}) AS total, weight, scale, rows"
        " FROM numbered n JOIN sums USING (line) JOIN lines USING (line)"
    )


def _decimal(name: str) -> str:
    """Return SQL of printed digits as a decimal."""
    return (
        f"CAST(f.{name} AS DECIMAL(38,0)) / 1::DECIMAL(1,0)"
        if not name
        else (
            f"CAST(CAST(f.{name} // {PRICE_SCALE} AS DECIMAL(28,0)) AS DECIMAL(38,10))"
            f" + CAST(f.{name} % {PRICE_SCALE} AS DECIMAL(38,10)) * 0.0000000001"
        )
    )


_ZULU = "'%Y-%m-%dT%H:%M:%SZ'"
# A service has one subcategory: FOCUS wants both to say the same thing.
_SERVICES = """CASE WHEN l.provider <> 'aws' THEN 'Networking'
    WHEN l.meter IN ('LCUUsage', 'LoadBalancerUsage', 'DataProcessing-Bytes')
    THEN 'Elastic Load Balancing'
    WHEN l.meter LIKE 'CloudFront%' THEN 'Amazon CloudFront'
    WHEN l.meter LIKE '%Gateway%' OR l.meter LIKE 'Vpc%' OR l.meter LIKE 'PublicIPv4%'
    THEN 'Amazon Virtual Private Cloud' ELSE 'AWS Data Transfer' END"""
_SUBCATEGORIES = f"""CASE {_SERVICES} WHEN 'Networking' THEN 'Other (Networking)'
    WHEN 'Elastic Load Balancing' THEN 'Application Networking'
    WHEN 'Amazon CloudFront' THEN 'Content Delivery'
    WHEN 'Amazon Virtual Private Cloud' THEN 'Network Infrastructure'
    ELSE 'Network Connectivity' END"""
_PROVIDERS = """CASE l.provider WHEN 'aws' THEN 'AWS' WHEN 'azure' THEN 'Microsoft'
    WHEN 'gcp' THEN 'Google Cloud' WHEN 'oci' THEN 'Oracle' ELSE l.provider END"""
_CATEGORIES = """CASE l.line_type WHEN 'usage' THEN 'Usage' WHEN 'tax' THEN 'Tax'
    WHEN 'credit' THEN 'Credit' WHEN 'fee' THEN 'Purchase' ELSE 'Adjustment' END"""
_ALLOCATED = """CASE WHEN f.reason = '' THEN coalesce(nullif(concat_ws('/',
    nullif(me.k8s_cluster_name, ''), nullif(me.k8s_namespace_name, ''),
    nullif(me.k8s_workload_kind, ''), nullif(me.k8s_workload_name, '')), ''),
    nullif(me.cloud_resource_id, ''), nullif(me.service_name, ''), 'unattributed') END"""
_NAMED = """CASE WHEN f.reason = '' THEN coalesce(nullif(me.k8s_workload_name, ''),
    nullif(me.service_name, ''), nullif(me.cloud_resource_id, '')) END"""
_TAGS = """CASE WHEN f.reason = '' THEN CAST(json_object('owner.team', coalesce(me.owner_team, ''),
    'k8s.namespace.name', coalesce(me.k8s_namespace_name, ''),
    'stage', coalesce(me.stage, '')) AS VARCHAR) ELSE '{}' END"""
_PEER = """CASE WHEN f.reason = '' THEN coalesce(nullif(peer.k8s_workload_name, ''),
    nullif(peer.service_name, ''), nullif(peer.dns_name, ''), nullif(peer.cloud_service, ''),
    nullif(peer.cloud_resource_id, ''), nullif(peer.kind, ''), 'unknown') END"""
_DETAILS = """CASE WHEN f.reason <> 'not_split' THEN CAST(json_object('Elements', [json_object(
    'AllocatedRatio', CAST({ratio} AS VARCHAR), 'UsageUnit', 'bytes',
    'UsageQuantity', CAST(f.bytes AS VARCHAR))]) AS VARCHAR) END"""


def _null(kind: str = "VARCHAR") -> str:
    return f"CAST(NULL AS {kind})"


def _filled(column: str) -> str:
    return f"nullif({column}, '')"


COLUMNS: Mapping[str, str] = {
    "AvailabilityZone": _null(),
    "BilledCost": _decimal("billed"),
    "BillingAccountId": "l.payer_account",
    "BillingAccountName": _null(),
    "BillingAccountType": "CASE WHEN l.provider = 'aws' THEN 'Payer' ELSE 'Account' END",
    "BillingCurrency": "l.currency",
    "BillingPeriodEnd": f"strftime(l.billing_month + INTERVAL 1 MONTH, {_ZULU})",
    "BillingPeriodStart": f"strftime(CAST(l.billing_month AS TIMESTAMP), {_ZULU})",
    "CapacityReservationId": _null(),
    "CapacityReservationStatus": _null(),
    "ChargeCategory": _CATEGORIES,
    "ChargeClass": "CASE WHEN l.line_type = 'refund' THEN 'Correction' END",
    "ChargeDescription": "concat_ws(' ', l.usage_type, nullif(l.operation, ''))",
    "ChargeFrequency": "CASE WHEN l.line_type = 'fee' THEN 'Recurring' ELSE 'Usage-Based' END",
    "ChargePeriodEnd": f"strftime(coalesce(l.period_end, l.period_start + INTERVAL 1 HOUR),"
    f" {_ZULU})",
    "ChargePeriodStart": f"strftime(l.period_start, {_ZULU})",
    "CommitmentDiscountCategory": _null(),
    "CommitmentDiscountId": _null(),
    "CommitmentDiscountName": _null(),
    "CommitmentDiscountQuantity": _null("DECIMAL(38,10)"),
    "CommitmentDiscountStatus": _null(),
    "CommitmentDiscountType": _null(),
    "CommitmentDiscountUnit": _null(),
    "ConsumedQuantity": f"CASE WHEN l.line_type = 'usage' THEN {_decimal('quantity')} END",
    "ConsumedUnit": "CASE WHEN l.line_type = 'usage' THEN l.unit END",
    "ContractedCost": _decimal("contracted"),
    "ContractedUnitPrice": "coalesce(l.unit_price, l.list_price)",
    "EffectiveCost": _decimal("effective"),
    "InvoiceId": _filled("l.invoice"),
    "InvoiceIssuerName": _PROVIDERS,
    "ListCost": _decimal("list"),
    "ListUnitPrice": "coalesce(l.list_price, l.unit_price)",
    "PricingCategory": "CASE WHEN l.line_type = 'usage' THEN 'Standard' END",
    "PricingCurrency": "l.currency",
    "PricingCurrencyContractedUnitPrice": "coalesce(l.unit_price, l.list_price)",
    "PricingCurrencyEffectiveCost": _decimal("effective"),
    "PricingCurrencyListUnitPrice": "coalesce(l.list_price, l.unit_price)",
    "PricingQuantity": f"CASE WHEN l.line_type = 'usage' THEN {_decimal('quantity')} END",
    "PricingUnit": "CASE WHEN l.line_type = 'usage' THEN l.unit END",
    "ProviderName": _PROVIDERS,
    "PublisherName": _PROVIDERS,
    "RegionId": _filled("l.region"),
    "RegionName": _filled("l.region"),
    "ResourceId": _filled("l.resource_id"),
    "ResourceName": _null(),
    "ResourceType": resource_type_sql("l.resource_id"),
    "ServiceCategory": "'Networking'",
    "ServiceName": _SERVICES,
    "ServiceSubcategory": _SUBCATEGORIES,
    "SkuId": "coalesce(nullif(l.sku, ''), l.metered_as)",
    "SkuMeter": "l.metered_as",
    "SkuPriceDetails": _null(),
    "SkuPriceId": "coalesce(nullif(l.rate_code, ''), l.metered_as)",
    "SubAccountId": _filled("l.account"),
    # Must not be null; a bill without names has an account's number for one.
    "SubAccountName": _filled("l.account"),
    "SubAccountType": "CASE WHEN l.account <> '' THEN 'Account' END",
    "Tags": _TAGS,
}
ALLOCATED: Mapping[str, str] = {
    "AllocatedMethodDetails": _DETAILS.format(ratio=_decimal("ratio")),
    "AllocatedMethodId": f"CASE WHEN f.reason <> 'not_split' THEN '{METHOD}' END",
    "AllocatedResourceId": _ALLOCATED,
    "AllocatedResourceName": _NAMED,
    "AllocatedTags": _TAGS,
    "ContractApplied": _null(),
    "HostProviderName": _PROVIDERS,
    "ServiceProviderName": _PROVIDERS,
}
OURS: Mapping[str, str] = {
    "x_AllocatedRatio": _decimal("ratio"),
    "x_MeteredBytes": "CAST(f.bytes AS BIGINT)",
    "x_Operation": _filled("l.operation"),
    "x_OriginLine": "l.line",
    "x_Path": _filled("f.path"),
    "x_Peer": _PEER,
    "x_Residual": _filled("f.reason"),
    "x_Rule": "v.rule",
    "x_UsageType": "l.usage_type",
}


def columns(version: str) -> dict[str, str]:
    """Return the columns of a FOCUS version and ours, each with its SQL.

    Raises:
        UsageError: a version that is not written here.
    """
    if version not in VERSIONS:
        raise UsageError(
            f"FOCUS {version} is not written", hint=f"versions are {', '.join(VERSIONS)}"
        )
    if version == "1.2":
        # 1.2 has no allocation columns; ours say the same under their own prefix.
        named = {f"x_{name}": ALLOCATED[name] for name in ("AllocatedMethodId",
                 "AllocatedResourceId", "AllocatedResourceName")}  # fmt: skip
        return {**COLUMNS, **named, **OURS}
    return {**dict(sorted({**COLUMNS, **ALLOCATED}.items())), **OURS}


def write(con: DuckDBPyConnection, path: Path, *, version: str) -> int:
    """Write the reconciled bill as FOCUS rows; return their number.

    Raises:
        UsageError: an unknown version, or a file that is neither `.csv` nor `.parquet`.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in ("csv", "parquet"):
        raise UsageError(
            f"{path}: neither CSV nor Parquet", hint="end the name in .csv or .parquet"
        )
    chosen = ", ".join(f'{sql} AS "{name}"' for name, sql in columns(version).items())
    con.execute(NUMBERED)
    con.execute(CONSUMERS)
    con.execute(ROWS)
    con.execute(_split_measures())
    options = "FORMAT csv, HEADER" if form == "csv" else "FORMAT parquet, COMPRESSION zstd"
    quoted = str(path).replace("'", "''")
    [(rows,)] = con.execute(
        f"COPY (SELECT {chosen} FROM focus_split f JOIN bill_lines l USING (line)"
        " LEFT JOIN identities me ON me.identity_id = f.local_id"
        " LEFT JOIN identities peer ON peer.identity_id = f.remote_id"
        " LEFT JOIN verdicts v ON v.verdict_id = f.verdict_id ORDER BY f.row)"
        f" TO '{quoted}' ({options})"
    ).fetchall()
    return int(rows)
