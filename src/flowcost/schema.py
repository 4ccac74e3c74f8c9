"""Columns are data: one table from which files, group keys and documents derive.

Types are words, not library objects: `int` is 64-bit signed, `exact` an integer of up to 38
digits (money numerators, summed bytes), `printed` a decimal as a bill prints it (ten places),
`address` 16 bytes, `instant` microseconds UTC. What a view shows also says `bytes` (an integer
count of bytes) and `money` (a numerator over `money.ONE`), so that it is written in the reader's
units.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from flowcost.model import Identity


@dataclass(frozen=True)
class Column:
    """One column: its name, its type word, and what it says."""

    name: str
    type: str
    doc: str
    group_key: bool = False


# type word -> (DuckDB type, Arrow type name)
DUCKDB_TYPES = {
    "int": "BIGINT",
    "small": "INTEGER",
    "exact": "DECIMAL(38,0)",
    "printed": "DECIMAL(38,10)",
    "money": "DECIMAL(38,0)",
    "bytes": "BIGINT",
    "text": "VARCHAR",
    "flag": "BOOLEAN",
    "address": "BLOB",
    "instant": "TIMESTAMP",
    "day": "DATE",
    "list": "VARCHAR[]",
}

FLOWS = (
    Column("window_start", "instant", "start of the observation window, UTC"),
    Column("window_end", "instant", "end of the observation window, exclusive"),
    Column("tenant", "text", "whose data this is"),
    Column("cluster", "text", "Kubernetes cluster, if the sensor knows it"),
    Column("observer", "text", "sensor: node name, interface id, gateway id"),
    Column("observer_type", "text", "node_agent, interface, gateway, tgw_attachment, exporter"),
    Column("account", "text", "account that owns the observed interface"),
    Column("region", "text", "region of the observed interface"),
    Column("az_id", "text", "availability zone id of the observed interface, if the record has it"),
    Column("vpc_id", "text", "VPC of the observed interface, if the record has it"),
    Column("subnet_id", "text", "subnet of the observed interface, if the record has it"),
    Column("direction", "text", "transmit or receive, seen from the local end"),
    Column("local_address", "address", "the observed end; the private client on a gateway row"),
    Column("local_port", "small", "0 if not known"),
    Column("remote_address", "address", "the true far end, behind any gateway"),
    Column("remote_port", "small", "0 if not known"),
    Column("transport", "small", "IANA protocol number"),
    Column("dialed_address", "address", "what the client asked for before DNAT; null if the same"),
    Column("dialed_port", "small", "0 if not known"),
    Column("initiator", "text", "local, remote or unknown"),
    Column("via", "text", "gateway the flow was seen at, empty if none"),
    Column("bytes", "int", "IP bytes on the wire"),
    Column("packets", "int", "packets on the wire"),
    Column("retransmitted_bytes", "int", "of these, TCP retransmissions"),
    Column("local_uid", "text", "pod uid, interface id or instance id of the local end"),
    Column("dns_name", "text", "name the local end resolved the remote address from"),
    Column("traffic_path", "small", "VPC flow log field traffic-path, 0 if absent"),
    Column("aws_service", "text", "VPC flow log field pkt-dst/src-aws-service of the remote end"),
    Column("next_hop_type", "text", "VPC flow log field next-hop-interface-type, empty if absent"),
    Column("next_hop_az_id", "text", "VPC flow log field next-hop-az-id, empty if absent"),
    Column("sampled", "small", "sampling rate already applied to bytes; 1 if unsampled"),
    Column("source", "text", "file or segment the flow came from"),
)

_KEY_DOCS = {
    "kind": "what the end is: compute, managed, nat_gateway, service, internet…",
    "cloud_provider": "aws, gcp, azure, oci",
    "cloud_account_id": "account that owns the end",
    "cloud_region": "region code",
    "cloud_availability_zone": "availability zone id (use1-az1), never the per-account name",
    "cloud_vpc_id": "virtual network",
    "cloud_subnet_id": "subnet",
    "cloud_resource_id": "instance, interface, gateway or load balancer id",
    "cloud_service": "provider service behind the address",
    "k8s_cluster_name": "cluster",
    "k8s_namespace_name": "namespace",
    "k8s_workload_kind": "Deployment, StatefulSet, DaemonSet, Job, CronJob…",
    "k8s_workload_name": "name of the owning workload",
    "k8s_pod_name": "pod",
    "k8s_pod_uid": "pod uid",
    "k8s_node_name": "node",
    "service_name": "application service",
    "owner_team": "team that owns the end",
    "stage": "dev, stage, prod",
    "dns_name": "name of an end outside",
}


def attribute_name(field: str) -> str:
    """Return the OpenTelemetry spelling of an identity field: `k8s_pod_name` -> `k8s.pod.name`.

    Names whose last words stay joined (`availability_zone`, `vpc_id`) keep their underscore.
    """
    for joined in ("availability_zone", "resource_id", "account_id", "vpc_id", "subnet_id"):
        if field.endswith(joined) and joined != "account_id":
            return field[: -len(joined)].replace("_", ".") + joined
    return field.replace("_", ".")


IDENTITY_FIELDS = tuple(field.name for field in msgspec.structs.fields(Identity))

IDENTITIES = (
    Column("identity_id", "int", "content hash of all other columns"),
    *(Column(name, "text", _KEY_DOCS[name], group_key=True) for name in IDENTITY_FIELDS),
)

VERDICTS = (
    Column("verdict_id", "int", "content hash of all other columns"),
    Column("path", "text", "billing path"),
    Column("rule", "text", "id of the rule that decided"),
    Column("confidence", "text", "measured, derived or assumed"),
    Column("evidence", "list", "what the rule relied on"),
    Column("facts", "text", "the facts as JSON"),
)

RATES = (
    Column("rate_id", "int", "content hash of all other columns"),
    Column("book", "text", "name of the rate book"),
    Column("provider", "text", "cloud provider"),
    Column("usage_type", "text", "provider usage type"),
    Column("operation", "text", "provider operation"),
    Column("region", "text", "region that prices it"),
    Column("to_region", "text", "destination region of an inter-region meter"),
    Column("tier_from", "exact", "start of the tier in quantities"),
    Column("effective_from", "day", "first day of validity"),
    Column("effective_to", "day", "day after the last day of validity; null if open"),
    Column("price", "text", "decimal price per unit"),
    Column("unit", "text", "billing unit"),
    Column("unit_bytes", "int", "quantities in a billing unit"),
    Column("currency", "text", "ISO 4217"),
    Column("sku", "text", "provider SKU, if seen"),
    Column("source_url", "text", "where the price was read"),
    Column("checked_on", "day", "when it was read"),
    Column("numerator", "exact", "price of one quantity as a numerator over money.ONE"),
)

CHARGES = (
    Column("hour", "instant", "UTC hour of use", group_key=True),
    Column("tenant", "text", "whose ledger", group_key=True),
    Column("cluster", "text", "cluster whose sensors saw it, if any", group_key=True),
    Column("provider", "text", "cloud provider", group_key=True),
    Column("payer_account", "text", "account that carries the line", group_key=True),
    Column("region", "text", "region whose rate applies", group_key=True),
    Column(
        "usage_type", "text", "provider usage type; empty where nothing is metered", group_key=True
    ),
    Column("operation", "text", "provider operation", group_key=True),
    Column("resource_id", "text", "resource that carries the line", group_key=True),
    Column("path", "text", "billing path", group_key=True),
    Column("direction", "text", "transmit or receive, seen from the local end", group_key=True),
    Column(
        "leg",
        "text",
        "transmit, receive, processing; empty where nothing is metered",
        group_key=True,
    ),
    Column("provenance", "text", "observed or implied", group_key=True),
    Column("confidence", "text", "measured, derived or assumed", group_key=True),
    Column("local_id", "int", "identity of the local end"),
    Column("remote_id", "int", "identity of the remote end"),
    Column("local_address", "address", "kept only where no identity was found"),
    Column("remote_address", "address", "kept only where no identity was found"),
    Column("dialed_service", "text", "Service the client dialed (namespace/name)", group_key=True),
    Column("initiator", "text", "local, remote or unknown", group_key=True),
    Column("via", "text", "gateway on the path", group_key=True),
    Column("bytes", "int", "flow bytes, carried by one charge of each observation"),
    Column("packets", "int", "packets, carried like bytes"),
    Column("quantity", "int", "metered quantity"),
    Column("unit", "text", "bytes or hours", group_key=True),
    Column("rate_id", "int", "rate applied; null if unpriced"),
    Column("list_cost", "exact", "numerator over money.ONE; null if unpriced"),
    Column("verdict_id", "int", "verdict behind the charge"),
    Column("observer_type", "text", "kind of sensor", group_key=True),
    Column("source", "text", "where the flows came from", group_key=True),
)

BILL_LINES = (
    Column("line", "int", "number of the line in the order read"),
    Column("provider", "text", "cloud provider"),
    Column("payer_account", "text", "account that is invoiced"),
    Column("account", "text", "account that used; empty if the bill does not say"),
    Column("billing_month", "day", "first day of the month that is invoiced"),
    Column("period_start", "instant", "start of the charge period, UTC"),
    Column("period_end", "instant", "end of the charge period, exclusive"),
    Column("grain", "text", "hour, day or month: how long the period is"),
    Column("resource_id", "text", "resource as the bill prints it; empty if it does not"),
    Column("usage_type", "text", "usage type as the bill prints it"),
    Column("metered_as", "text", "usage type as the ledger spells it; joins both"),
    Column("meter", "text", "meter without its region; empty if Flowcost does not know it"),
    Column("counts", "text", "bytes, hours, lcu_hours, gbps_hours, or other"),
    Column("operation", "text", "operation as the bill prints it; empty if it does not"),
    Column("region", "text", "region whose rate applies"),
    Column("to_region", "text", "other region of an inter-region line"),
    Column("line_type", "text", "usage, credit, refund, tax, discount, fee or other"),
    Column("quantity", "printed", "quantity in units of `unit`"),
    Column("unit", "text", "unit as the bill prints it"),
    Column("unit_bytes", "int", "bytes (or ones) in a unit"),
    Column("bytes", "int", "metered bytes, recovered from the quantity; null if not bytes"),
    Column("unit_price", "printed", "price per unit on this line"),
    Column("list_price", "printed", "public price per unit"),
    Column("cost", "exact", "billed, before credits: numerator over money.ONE"),
    Column("list_cost", "exact", "at public prices"),
    Column("contracted_cost", "exact", "at negotiated prices"),
    Column("effective_cost", "exact", "after discounts and amortisation"),
    Column("currency", "text", "ISO 4217"),
    Column("sku", "text", "provider SKU"),
    Column("rate_code", "text", "SKU, term and tier of the price"),
    Column("invoice", "text", "invoice number; empty while the bill is an estimate"),
    Column("source", "text", "file the line was read from"),
)

TABLES = {
    "flows": FLOWS,
    "identities": IDENTITIES,
    "verdicts": VERDICTS,
    "rates": RATES,
    "charges": CHARGES,
    "bill_lines": BILL_LINES,
}


def duckdb_columns(columns: tuple[Column, ...]) -> str:
    """Return the column list of a `CREATE TABLE` for `columns`."""
    return ", ".join(f'"{column.name}" {DUCKDB_TYPES[column.type]}' for column in columns)


def duckdb_nothing(columns: tuple[Column, ...]) -> str:
    """Return a SELECT of no rows with `columns`."""
    cells = (f'CAST(NULL AS {DUCKDB_TYPES[one.type]}) AS "{one.name}"' for one in columns)
    return f"SELECT {', '.join(cells)} WHERE FALSE"
