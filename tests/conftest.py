"""A small ledger, written through the store, for whatever reads ledgers."""

from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import settings

from flowcost import address, money
from flowcost.content import content_id
from flowcost.ledger import Input, Ledger, Partition
from flowcost.model import EndKind, Facts, Identity
from flowcost.money import GIB
from flowcost.schema import (
    CHARGES,
    DUCKDB_TYPES,
    IDENTITIES,
    IDENTITY_FIELDS,
    RATES,
    VERDICTS,
)

# A busy machine is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

HOUR = datetime(2026, 11, 2, 10, tzinfo=UTC)
NEXT_DAY = datetime(2026, 11, 3, 0, tzinfo=UTC)

CART = Identity(
    kind=EndKind.COMPUTE,
    cloud_provider="aws",
    cloud_account_id="111111111111",
    cloud_region="us-east-1",
    cloud_availability_zone="use1-az1",
    k8s_cluster_name="prod",
    k8s_namespace_name="shop",
    k8s_workload_kind="Deployment",
    k8s_workload_name="cart",
    owner_team="storefront",
)
CHECKOUT = Identity(
    kind=EndKind.COMPUTE,
    cloud_provider="aws",
    cloud_account_id="111111111111",
    cloud_region="us-east-1",
    cloud_availability_zone="use1-az2",
    k8s_cluster_name="prod",
    k8s_namespace_name="shop",
    k8s_workload_kind="StatefulSet",
    k8s_workload_name="checkout",
    service_name="checkout",
    owner_team="payments",
)
REPLICA = Identity(
    kind=EndKind.COMPUTE,
    cloud_provider="aws",
    cloud_account_id="222222222222",
    cloud_region="us-east-1",
    cloud_availability_zone="use1-az4",
    cloud_resource_id="i-replica",
)
S3 = Identity(
    kind=EndKind.SERVICE, cloud_provider="aws", cloud_region="us-east-1", cloud_service="S3"
)
INTERNET = Identity(kind=EndKind.INTERNET)

PRICES = {
    "DataTransfer-Regional-Bytes": "0.01",
    "NatGateway-Bytes": "0.045",
    "DataTransfer-Out-Bytes": "0.09",
    "": "0",
}


def charge(path, usage_type="", price=True, **fields):
    """Return one charge as a dict; `price=False` leaves it unpriced."""
    row = {
        "hour": HOUR,
        "tenant": "t1",
        "cluster": "prod",
        "provider": "aws",
        "payer_account": "111111111111",
        "region": "us-east-1",
        "usage_type": usage_type,
        "operation": "",
        "resource_id": "",
        "path": path,
        "direction": "transmit",
        "leg": "transmit" if usage_type else "",
        "provenance": "observed",
        "confidence": "measured",
        "local": CART,
        "remote": CHECKOUT,
        "local_address": None,
        "remote_address": None,
        "dialed_service": "",
        "initiator": "local",
        "via": "",
        "bytes": 0,
        "packets": 0,
        "quantity": 0,
        "unit": "bytes",
        "priced": price,
        "observer_type": "node_agent",
        "source": "node-a",
    }
    row.update(fields)
    return row


def shop_charges():
    """Return the shop's day: two observed legs, one implied, NAT, free, unknown."""
    regional = "DataTransfer-Regional-Bytes"
    crossing = {"operation": "InterZone-Out", "bytes": GIB, "quantity": GIB}
    nat = {"remote": INTERNET, "via": "nat-1", "resource_id": "nat-1", "quantity": 2 * GIB}
    return [
        charge("cross_az", regional, **crossing, dialed_service="shop/checkout"),
        charge(
            "cross_az",
            regional,
            **crossing | {"operation": "InterZone-In"},
            direction="receive",
            leg="receive",
            local=CHECKOUT,
            remote=CART,
            initiator="remote",
        ),
        charge("cross_az", regional, **crossing, remote=REPLICA),
        charge(
            "cross_az",
            regional,
            operation="InterZone-In",
            direction="receive",
            leg="receive",
            provenance="implied",
            local=REPLICA,
            remote=CART,
            initiator="remote",
            payer_account="222222222222",
            quantity=GIB,
        ),
        charge("nat_gateway", "NatGateway-Bytes", leg="processing", bytes=2 * GIB, **nat),
        charge("nat_gateway", "DataTransfer-Out-Bytes", operation="NatGateway", **nat),
        charge("same_zone", bytes=100 * GIB, quantity=100 * GIB, remote=REPLICA),
        charge(
            "unknown",
            price=False,
            local=None,
            remote=None,
            local_address=address.pack("10.9.9.9"),
            remote_address=address.pack("2001:db8::7"),
            initiator="unknown",
            bytes=3 * GIB,
            quantity=3 * GIB,
        ),
        charge("cross_az", regional, **crossing | {"bytes": 7, "quantity": 7}, hour=NEXT_DAY),
    ]


def write(folder, charges, tenant="t1"):
    """Write charges of a tenant into a ledger through the store."""
    ledger = Ledger.open(folder, create=True)
    for cluster, hour in sorted({(row["cluster"], row["hour"]) for row in charges}):
        rows = [row for row in charges if (row["cluster"], row["hour"]) == (cluster, hour)]
        put(ledger, Partition(tenant, cluster, hour), rows)
    return ledger


def put(ledger, partition, charges):
    """Write one partition, in the place of what it held."""
    rows = [row | {"tenant": partition.tenant} for row in charges]
    with duckdb.connect() as con:
        ledger.put(con, partition, _queries(con, rows), [Input("test", "0" * 64)])


@pytest.fixture
def make_ledger(tmp_path):
    """Return a function that writes charges into a new ledger."""
    return lambda charges, name="ledger": write(tmp_path / name, charges)


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """Return the shop's ledger; nobody writes to it."""
    return write(tmp_path_factory.mktemp("shop"), shop_charges())


def _queries(con, rows):
    tables = {"identities": {}, "verdicts": {}, "rates": {}}
    charges = [_charge(row, tables) for row in rows]
    types = {column.name: DUCKDB_TYPES[column.type] for column in CHARGES}
    con.register("posted", pa.Table.from_pylist(charges, schema=_arrow(CHARGES)))
    queries = {
        "charges": "SELECT "
        + ", ".join(f"CAST({name} AS {word}) AS {name}" for name, word in types.items())
        + " FROM posted"
    }
    for name, columns in (
        ("identities", IDENTITIES),
        ("verdicts", VERDICTS),
        ("rates", RATES),
    ):
        arrow = pa.Table.from_pylist(list(tables[name].values()), schema=_arrow(columns))
        con.register(f"given_{name}", arrow)
        queries[name] = f"SELECT * FROM given_{name}"
    return queries


def _charge(row, tables):
    row = dict(row)
    for end in ("local", "remote"):
        identity = row.pop(end)
        row[f"{end}_id"] = 0 if identity is None else _identity(identity, tables["identities"])
    row["verdict_id"] = _verdict(row, tables["verdicts"])
    row["rate_id"], row["list_cost"] = None, None
    if row.pop("priced"):
        rate = _rate(row, tables["rates"])
        row["rate_id"] = rate["rate_id"]
        row["list_cost"] = Decimal(row["quantity"] * int(rate["numerator"]))
    row["hour"] = row["hour"].replace(tzinfo=None)
    return row


def _identity(identity, table):
    key = content_id(identity)
    table[key] = {
        "identity_id": key,
        **{name: str(getattr(identity, name)) for name in IDENTITY_FIELDS},
    }
    return key


def _verdict(row, table):
    facts = Facts(provider="aws", direction=row["direction"], local_region="us-east-1")
    verdict = {
        "path": row["path"],
        "rule": f"test-{row['path']}",
        "confidence": row["confidence"],
        "evidence": ["zone of the local end", "zone of the remote end"],
        "facts": '{"provider":"aws","direction":"' + facts.direction + '"}',
    }
    key = content_id(verdict)
    table[key] = {"verdict_id": key, **verdict}
    return key


def _rate(row, table):
    price = Decimal(PRICES[row["usage_type"]])
    rate = {
        "book": "aws-list",
        "provider": "aws",
        "usage_type": row["usage_type"],
        "operation": row["operation"],
        "region": "us-east-1",
        "to_region": "",
        "tier_from": Decimal(0),
        "effective_from": date(2024, 2, 1),
        "effective_to": None,
        "price": f"{price:f}",
        "unit": "GiB",
        "unit_bytes": GIB,
        "currency": "USD",
        "sku": "",
        "source_url": "https://aws.amazon.com/ec2/pricing/on-demand/",
        "checked_on": date(2026, 11, 1),
        "numerator": Decimal(money.price_numerator(price, GIB)),
    }
    key = content_id([rate["usage_type"], rate["operation"]])
    table[key] = {"rate_id": key, **rate}
    return {"rate_id": key, **rate}


_ARROW = {
    "int": pa.int64(),
    "small": pa.int32(),
    "exact": pa.decimal128(38, 0),
    "text": pa.string(),
    "flag": pa.bool_(),
    "address": pa.binary(),
    "instant": pa.timestamp("us"),
    "day": pa.date32(),
    "list": pa.list_(pa.string()),
}


def _arrow(columns):
    return pa.schema([(column.name, _ARROW[column.type]) for column in columns])
