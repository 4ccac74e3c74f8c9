"""An independent writer of bills and ledgers: it shares no code with the room it checks.

A world is a list of `Use`s: who moved how many bytes over which meter. `bill_of` meters them as
AWS does (one line per account, hour, resource, usage type, operation and tier), `ledger_of` books
them as sensors saw them. Rounding is done here in whole numbers, apart from `flowcost.bill`.
"""

import csv
import gzip
import io
import json
import random as randoms
import zipfile
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from flowcost import money
from flowcost.content import content_id
from flowcost.ledger import Input, Ledger, Partition
from flowcost.schema import CHARGES, DUCKDB_TYPES, IDENTITY_FIELDS

GIB = 1 << 30
SCALE = 10**10
MONTH = datetime(2026, 9, 1)  # noqa: DTZ001 - the engine's naive UTC
NEXT_MONTH = datetime(2026, 10, 1)  # noqa: DTZ001
PAYER = "999999999999"
HOUR = timedelta(hours=1)

# usage type -> [(from bytes, price)], a small first tier for egress so that worlds cross it
PRICES = {
    "DataTransfer-Regional-Bytes": [(0, "0.01")],
    "EU-DataTransfer-Regional-Bytes": [(0, "0.01")],
    "DataTransfer-Out-Bytes": [(0, "0.09"), (200 * GIB, "0.085"), (900 * GIB, "0.07")],
    "EU-DataTransfer-Out-Bytes": [(0, "0.09"), (300 * GIB, "0.085")],
    "DataTransfer-In-Bytes": [(0, "0")],
    "USE1-EU-AWS-Out-Bytes": [(0, "0.02")],
    "NatGateway-Bytes": [(0, "0.045")],
    "EU-NatGateway-Bytes": [(0, "0.048")],
    "USE1-VpcEndpoint-Bytes": [(0, "0.01")],
    "USE1-TransitGateway-Bytes": [(0, "0.02")],
    "NatGateway-Hours": [(0, "0.045")],
}
# (usage type, operation, region, to region, kind of resource)
METERS = [
    ("DataTransfer-Regional-Bytes", "InterZone-Out", "us-east-1", "", "i"),
    ("DataTransfer-Regional-Bytes", "InterZone-In", "us-east-1", "", "i"),
    ("DataTransfer-Out-Bytes", "RunInstances", "us-east-1", "", "i"),
    ("DataTransfer-In-Bytes", "RunInstances", "us-east-1", "", "i"),
    ("USE1-EU-AWS-Out-Bytes", "VPCPeering-Out", "us-east-1", "eu-west-1", "i"),
    ("EU-DataTransfer-Out-Bytes", "RunInstances", "eu-west-1", "", "i-eu"),
    ("EU-DataTransfer-Regional-Bytes", "InterZone-Out", "eu-west-1", "", "i-eu"),
    ("NatGateway-Bytes", "NatGateway", "us-east-1", "", "nat"),
    ("DataTransfer-Out-Bytes", "NatGateway", "us-east-1", "", "nat"),
    ("USE1-VpcEndpoint-Bytes", "VpcEndpoint", "us-east-1", "", "vpce"),
]
ACCOUNTS = ["111111111111", "222222222222", "012345678901"]
OWNERS = ["cart", "checkout", "search", "batch"]


@dataclass(frozen=True)
class Use:
    account: str
    hour: datetime
    resource: str
    usage_type: str
    operation: str
    region: str
    to_region: str
    owner: str
    bytes: int


@dataclass(frozen=True)
class Line:
    account: str
    start: datetime
    end: datetime
    resource: str
    usage_type: str
    operation: str
    region: str
    to_region: str
    quantity: Decimal
    unit: str
    price: Decimal
    cost: Decimal
    bytes: int
    list_price: Decimal
    line_type: str = "Usage"
    payer: str = PAYER
    invoice: str = "INV-1"
    currency: str = "USD"

    @property
    def cell(self):
        return (self.account, self.start, self.resource, self.usage_type, self.operation)


def _resource(kind, account, number):
    return f"{kind.split('-')[0]}-{int(account) % 97:02x}{number:015x}"


def world(seed, *, hours=6, uses=60, resources=3):
    """Return random uses: several owners behind one instance, NAT and endpoint."""
    random = randoms.Random(seed)
    found = {}
    for _ in range(uses):
        usage_type, operation, region, to_region, kind = random.choice(METERS)
        account = random.choice(ACCOUNTS)
        number = random.randrange(resources) + (100 if kind == "i-eu" else 0)
        hour = MONTH + HOUR * random.randrange(hours)
        owner = random.choice(OWNERS)
        size = random.choice([random.randrange(1, 5000), random.randrange(1, 200 * GIB)])
        key = (account, hour, _resource(kind, account, number), usage_type, operation, owner)
        before = found[key].bytes if key in found else 0
        found[key] = Use(
            account, hour, key[2], usage_type, operation, region, to_region, owner, before + size
        )
    return [found[key] for key in sorted(found)]


def half_up(numerator, denominator):
    """Return numerator / denominator rounded half up, in whole numbers."""
    return (2 * numerator + denominator) // (2 * denominator)


def metered_line(cell, size, price, *, unit="GB", discount=Decimal(1)):
    """Return the line AWS prints for `size` bytes of a cell at one price."""
    account, hour, resource, usage_type, operation, region, to_region = cell
    quantity = half_up(size * SCALE, GIB)
    paid = Decimal(price) * discount
    cost = half_up(quantity * int(paid * SCALE), SCALE)
    return Line(
        account, hour, hour + HOUR, resource, usage_type, operation, region, to_region,
        Decimal(quantity).scaleb(-10), unit, paid, Decimal(cost).scaleb(-10), size, Decimal(price),
    )  # fmt: skip


def bill_of(uses, *, hours=True, discount=Decimal(1)):
    """Return the month's lines: tiers per payer and region in order of time, NAT hours."""
    cells = defaultdict(int)
    for use in uses:
        cell = (use.account, use.hour, use.resource, use.usage_type, use.operation)
        cells[(*cell, use.region, use.to_region)] += use.bytes
    metered = defaultdict(int)
    lines = []
    for cell in sorted(cells, key=lambda cell: (cell[1], cell)):
        left, tiers = cells[cell], PRICES[cell[3]]
        for index, (_, price) in enumerate(tiers):
            end = tiers[index + 1][0] if index + 1 < len(tiers) else None
            at = metered[cell[3]]
            part = left if end is None else max(0, min(left, end - at))
            if part:
                lines.append(metered_line(cell, part, price, discount=discount))
                metered[cell[3]] += part
                left -= part
    if hours:
        gateways = {(use.account, use.hour, use.resource) for use in uses if "nat-" in use.resource}
        lines += [hour_line(*gateway) for gateway in sorted(gateways)]
    return lines


def hour_line(account, hour, resource, usage_type="NatGateway-Hours", price="0.045"):
    one = Decimal(1).quantize(Decimal("1.0000000000"))
    paid = Decimal(price).quantize(Decimal("1.0000000000"))
    return Line(
        account, hour, hour + HOUR, resource, usage_type, "NatGateway", "us-east-1", "",
        one, "Hrs", paid, paid, 0, paid,
    )  # fmt: skip


def other_lines():
    """Return what else stands on every bill: compute, tax, credit, a discount on transfer."""
    hour, account = MONTH, ACCOUNTS[0]
    base = Line(
        account, hour, hour + HOUR, "i-1", "BoxUsage:m5.large", "RunInstances", "us-east-1", "",
        Decimal("1.0000000000"), "Hrs", Decimal("0.096"), Decimal("0.0960000000"), 0,
        Decimal("0.096"),
    )  # fmt: skip
    minus = Decimal("-1.2300000000")
    return [
        base,
        replace(base, usage_type="TimedStorage-ByteHrs", operation="StandardStorage", unit="GB-Mo"),
        replace(base, usage_type="DataProcessing-Bytes", operation="PutLogEvents", unit="GB"),
        replace(base, usage_type="", operation="", line_type="Tax"),
        replace(base, usage_type="DataTransfer-Out-Bytes", line_type="EdpDiscount", cost=minus),
        replace(base, usage_type="NatGateway-Bytes", line_type="Credit", cost=minus),
    ]


# --- bills ---------------------------------------------------------------------------------


def _arn(line):
    if line.resource.startswith("nat-"):
        return f"arn:aws:ec2:{line.region}:{line.account}:natgateway/{line.resource}"
    return line.resource


def _iso(instant):
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def legacy_row(line, index):
    return {
        "identity/LineItemId": f"li{index:08d}",
        "identity/TimeInterval": f"{_iso(line.start)}/{_iso(line.end)}",
        "bill/InvoiceId": line.invoice,
        "bill/PayerAccountId": line.payer,
        "bill/BillingPeriodStartDate": _iso(MONTH),
        "bill/BillingPeriodEndDate": _iso(NEXT_MONTH),
        "lineItem/UsageAccountId": line.account,
        "lineItem/LineItemType": line.line_type,
        "lineItem/UsageStartDate": _iso(line.start),
        "lineItem/UsageEndDate": _iso(line.end),
        "lineItem/ProductCode": "AmazonEC2",
        "lineItem/UsageType": line.usage_type,
        "lineItem/Operation": line.operation,
        "lineItem/ResourceId": _arn(line),
        "lineItem/UsageAmount": f"{line.quantity:f}",
        "lineItem/CurrencyCode": line.currency,
        "lineItem/UnblendedRate": f"{line.price:f}",
        "lineItem/UnblendedCost": f"{line.cost:f}",
        "lineItem/LineItemDescription": f'${line.price:f} per {line.unit}, "quoted", and more',
        "product/region": line.region,
        "pricing/unit": line.unit,
        "pricing/publicOnDemandRate": f"{line.list_price:f}",
    }


def write_legacy(path, lines, *, drop=(), first=0):
    """Write a legacy CUR file; `.csv`, `.csv.gz` or `.zip` by its name."""
    rows = [legacy_row(line, first + index) for index, line in enumerate(lines)]
    columns = [name for name in legacy_row(lines[0], 0) if name not in drop]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.with_suffix(".csv").name, text.getvalue())
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
    else:
        path.write_text(text.getvalue())
    return path


def write_cur2(path, lines, first=0):
    """Write a CUR 2.0 Parquet file: snake case, doubles, maps, times without zone."""
    rows = [legacy_row(line, first + index) for index, line in enumerate(lines)]
    text = {
        "identity_line_item_id": "identity/LineItemId",
        "identity_time_interval": "identity/TimeInterval",
        "bill_invoice_id": "bill/InvoiceId",
        "bill_payer_account_id": "bill/PayerAccountId",
        "line_item_usage_account_id": "lineItem/UsageAccountId",
        "line_item_line_item_type": "lineItem/LineItemType",
        "line_item_usage_type": "lineItem/UsageType",
        "line_item_operation": "lineItem/Operation",
        "line_item_resource_id": "lineItem/ResourceId",
        "line_item_currency_code": "lineItem/CurrencyCode",
        "line_item_unblended_rate": "lineItem/UnblendedRate",
        "pricing_unit": "pricing/unit",
        "pricing_public_on_demand_rate": "pricing/publicOnDemandRate",
    }
    columns = {ours: pa.array([row[theirs] for row in rows]) for ours, theirs in text.items()}
    stamp = pa.timestamp("ms")
    columns["bill_billing_period_start_date"] = pa.array([MONTH for _ in lines], stamp)
    columns["line_item_usage_start_date"] = pa.array([line.start for line in lines], stamp)
    columns["line_item_usage_end_date"] = pa.array([line.end for line in lines], stamp)
    columns["line_item_usage_amount"] = pa.array([float(line.quantity) for line in lines])
    columns["line_item_unblended_cost"] = pa.array([float(line.cost) for line in lines])
    columns["pricing_public_on_demand_cost"] = pa.array([float(line.cost) for line in lines])
    columns["product_from_region_code"] = pa.array([line.region for line in lines])
    columns["product"] = pa.array(
        [[("sku", f"SKU{line.usage_type}"), ("region_code", line.region)] for line in lines],
        pa.map_(pa.string(), pa.string()),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def focus_row(line):
    category = {"Usage": "Usage", "Tax": "Tax", "Credit": "Credit"}.get(
        line.line_type, "Adjustment"
    )
    return {
        "BilledCost": line.cost,
        "BillingAccountId": line.payer,
        "BillingCurrency": line.currency,
        "BillingPeriodStart": _iso(MONTH),
        "BillingPeriodEnd": "2026-10-01T00:00:00Z",
        "ChargeCategory": category,
        "ChargeClass": "",
        "ChargeDescription": f"${line.price:f} per {line.unit}",
        "ChargePeriodStart": _iso(line.start),
        "ChargePeriodEnd": _iso(line.end),
        "ConsumedQuantity": line.quantity,
        "ConsumedUnit": line.unit,
        "ContractedCost": line.cost,
        "ContractedUnitPrice": line.price,
        "EffectiveCost": line.cost,
        "InvoiceId": line.invoice,
        "ListCost": line.cost,
        "ListUnitPrice": line.list_price,
        "PricingQuantity": line.quantity,
        "PricingUnit": line.unit,
        "ProviderName": "AWS",
        "RegionId": line.region,
        "ResourceId": _arn(line),
        "ServiceCategory": "Compute",
        "ServiceName": "Amazon Elastic Compute Cloud",
        "SkuId": f"SKU{line.usage_type}",
        "SkuPriceId": f"SKU{line.usage_type}.TERM.{line.price:f}",
        "SubAccountId": line.account,
        "x_Operation": line.operation,
        "x_UsageType": line.usage_type,
    }


def write_focus(path, lines, *, drop=()):
    """Write a FOCUS file, CSV or Parquet by its name."""
    rows = [focus_row(line) for line in lines]
    columns = [name for name in rows[0] if name not in drop]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        table = {}
        for name in columns:
            values = [row[name] for row in rows]
            kind = pa.decimal128(30, 10) if isinstance(values[0], Decimal) else pa.string()
            table[name] = pa.array(values, kind)
        pq.write_table(pa.table(table), path)
        return path
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, columns, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:f}" if isinstance(v, Decimal) else v for k, v in row.items()})
    return path


def write_cost_explorer(path, lines, *, monthly=True):
    """Write what `aws ce get-cost-and-usage` answers, by usage type and linked account."""
    groups = defaultdict(lambda: [Decimal(0), Decimal(0), ""])
    for line in lines:
        if line.line_type != "Usage":
            continue
        day = MONTH if monthly else line.start.replace(hour=0)
        group = groups[day, line.usage_type, line.account]
        group[0] += line.quantity
        group[1] += line.cost
        group[2] = line.unit
    keys = [{"Type": "DIMENSION", "Key": key} for key in ("USAGE_TYPE", "LINKED_ACCOUNT")]
    answer = {"GroupDefinitions": keys, "ResultsByTime": []}
    for day in sorted({key[0] for key in groups}):
        end = NEXT_MONTH if monthly else day + timedelta(days=1)
        answer["ResultsByTime"].append(
            {
                "TimePeriod": {"Start": f"{day:%Y-%m-%d}", "End": f"{end:%Y-%m-%d}"},
                "Total": {},
                "Groups": [
                    {
                        "Keys": [usage_type, account],
                        "Metrics": {
                            "UsageQuantity": {"Amount": f"{quantity:f}", "Unit": unit},
                            "UnblendedCost": {"Amount": f"{cost:f}", "Unit": "USD"},
                        },
                    }
                    for (start, usage_type, account), (quantity, cost, unit) in groups.items()
                    if start == day
                ],
                "Estimated": False,
            }
        )
    path.write_text(json.dumps(answer))
    return path


# --- ledgers -------------------------------------------------------------------------------


def ledger_of(folder, uses, *, unknown=(), provenance="observed"):
    """Write uses into a ledger; those of `unknown` are seen but on no provable path."""
    ledger = Ledger.open(folder, create=True)
    rows = [(use, False) for use in uses] + [(use, True) for use in unknown]
    for hour in sorted({use.hour for use, _ in rows}):
        with duckdb.connect() as con:
            mine = [(use, hidden) for use, hidden in rows if use.hour == hour]
            queries = _queries(con, mine, provenance)
            partition = Partition("t1", "prod", hour.replace(tzinfo=UTC))
            ledger.put(con, partition, queries, [Input("world", "0")])
    return ledger


def _queries(con, rows, provenance):
    charges, identities = [], {}
    for use, hidden in rows:
        fields = {
            "kind": "compute",
            "cloud_account_id": use.account,
            "cloud_region": use.region,
            "cloud_resource_id": use.resource,
            "k8s_workload_name": use.owner,
            "owner_team": use.owner,
        }
        identity = content_id(fields)
        identities[identity] = {
            "identity_id": identity, **{name: fields.get(name, "") for name in IDENTITY_FIELDS}
        }  # fmt: skip
        price = Decimal(PRICES[use.usage_type][0][1])
        cost = Decimal(use.bytes * money.price_numerator(price, GIB))
        row = {column.name: "" if column.type == "text" else 0 for column in CHARGES}
        row |= {
            "hour": use.hour, "tenant": "t1", "provider": "aws", "payer_account": use.account,
            "region": use.region, "usage_type": "" if hidden else use.usage_type,
            "operation": "" if hidden else use.operation,
            "resource_id": "" if hidden else use.resource,
            "path": "unknown" if hidden else "cross_az", "direction": "transmit",
            "leg": "" if hidden else "transmit", "provenance": provenance,
            "confidence": "measured", "local_id": identity, "remote_id": 0,
            "local_address": None, "remote_address": b"\x00" * 16, "initiator": "local",
            "bytes": use.bytes, "quantity": use.bytes, "unit": "bytes", "rate_id": None,
            "list_cost": None if hidden else cost, "verdict_id": 1, "observer_type": "node_agent",
        }  # fmt: skip
        charges.append(row)
    con.register("posted", _table(charges))
    con.register("people", pa.Table.from_pylist(list(identities.values())))
    chosen = ", ".join(
        f"CAST({column.name} AS {DUCKDB_TYPES[column.type]}) AS {column.name}" for column in CHARGES
    )
    return {
        "charges": f"SELECT {chosen} FROM posted",
        "identities": "SELECT * FROM people",
        "verdicts": "SELECT 1 AS verdict_id, 'cross_az' AS path, 'test' AS rule,"
        " 'measured' AS confidence, ['x'] AS evidence, '{}' AS facts",
        "rates": "SELECT 1 AS rate_id, '' AS book, '' AS provider, '' AS usage_type,"
        " '' AS operation, '' AS region, '' AS to_region, 0 AS tier_from,"
        " DATE '2026-01-01' AS effective_from, NULL AS effective_to, '0' AS price, '' AS unit,"
        " 1 AS unit_bytes, 'USD' AS currency, '' AS sku, '' AS source_url,"
        " DATE '2026-01-01' AS checked_on, 0 AS numerator",
    }


def _table(rows):
    kinds = {
        "int": pa.int64(), "small": pa.int32(), "exact": pa.decimal128(38, 0),
        "text": pa.string(), "address": pa.binary(), "instant": pa.timestamp("us"),
    }  # fmt: skip
    schema = pa.schema([(column.name, kinds[column.type]) for column in CHARGES])
    return pa.Table.from_pylist(rows, schema=schema)
