"""Charges: decided meters joined back to the booked rows, summed exactly, written by the hour.

Enters: `booked`, `combinations`, `fired`. Leaves: a table `charged` with the columns of
`schema.CHARGES`, and partitions in the ledger with the dimension rows they refer to.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from flowcost.ledger import Input, Ledger, Partition
from flowcost.pipeline.decide import COMBINATION, Decisions, numerator_of
from flowcost.pipeline.world import create
from flowcost.schema import CHARGES, IDENTITY_FIELDS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# A gateway's row fires the client's own leg only where the client has no sensor of its own;
# the far end's meters fire only where the far end is ours and has none.
POST = f"""
CREATE OR REPLACE TEMP TABLE charged AS
WITH joined AS (
    SELECT b.* EXCLUDE (direction, region), f.*
    FROM booked b
    JOIN combinations c ON {" AND ".join(f"b.{name} = c.{name}" for name in COMBINATION)}
    JOIN fired f ON f.combination = c.combination
    WHERE b.counts AND CASE
        WHEN f.mirrored THEN b.remote_account <> '' AND NOT b.remote_sensor
        WHEN b.at_gateway AND f.position = 'local' AND f.leg <> '' AND f.provenance = 'implied'
            THEN NOT b.local_sensor
        ELSE true END
),
turned AS (
    SELECT *,
        CASE WHEN mirrored THEN remote_id ELSE local_id END AS near_id,
        CASE WHEN mirrored THEN local_id ELSE remote_id END AS far_id,
        CASE WHEN mirrored THEN remote_address ELSE local_address END AS near_address,
        CASE WHEN mirrored THEN local_address ELSE remote_address END AS far_address,
        CASE WHEN position = 'gateway' THEN gateway_account
             WHEN mirrored THEN remote_account ELSE local_account END AS payer,
        CASE WHEN position = 'gateway' THEN via
             WHEN mirrored THEN remote_resource ELSE local_resource END AS resource,
        CASE WHEN mirrored AND initiator = 'local' THEN 'remote'
             WHEN mirrored AND initiator = 'remote' THEN 'local'
             ELSE initiator END AS opened_by,
        CASE WHEN ordinal = 0 AND NOT mirrored THEN 1 ELSE 0 END AS carries,
        CASE WHEN leg = '' THEN '' ELSE resource END AS line_resource
    FROM joined
)
SELECT hour, tenant, cluster, provider, payer AS payer_account, region,
       usage_type, operation, line_resource AS resource_id, path,
       direction, leg, provenance, confidence,
       near_id AS local_id, far_id AS remote_id,
       CASE WHEN near_id = 0 THEN near_address END AS local_address,
       CASE WHEN far_id = 0 THEN far_address END AS remote_address,
       dialed_service, opened_by AS initiator, via,
       (sum(bytes * carries))::BIGINT AS bytes,
       (sum(packets * carries))::BIGINT AS packets,
       sum(bytes)::BIGINT AS quantity, 'bytes' AS unit, rate_id,
       (sum(bytes)::HUGEINT * any_value(numerator)::HUGEINT)::DECIMAL(38, 0) AS list_cost,
       verdict_id, observer_type, source, any_value(tiered) AS tiered
FROM turned
GROUP BY ALL
"""


def post(con: DuckDBPyConnection) -> None:
    """Create the table `charged` from what was booked and decided."""
    con.execute(POST)


def write(
    con: DuckDBPyConnection,
    ledger: Ledger,
    decisions: Decisions,
    inputs: Sequence[Input],
    *,
    book: str,
) -> list[Partition]:
    """Write every hour of `charged` into `ledger`; return the partitions that changed."""
    _dimensions(con, decisions, book)
    keys = con.execute("SELECT DISTINCT tenant, cluster, hour FROM charged ORDER BY ALL").fetchall()
    changed = []
    for tenant, cluster, hour in keys:
        partition = Partition(tenant, cluster, hour.replace(tzinfo=UTC))
        con.execute(
            "CREATE OR REPLACE TEMP TABLE hour_charges AS SELECT * FROM charged"
            " WHERE tenant = ? AND cluster = ? AND hour = ?",
            [tenant, cluster, hour],
        )
        queries = {
            "charges": _charges_query(),
            "identities": f"SELECT identity_id, {', '.join(IDENTITY_FIELDS)} FROM identities_known"
            " WHERE identity_id IN (SELECT local_id FROM hour_charges"
            " UNION SELECT remote_id FROM hour_charges)",
            "verdicts": "SELECT * FROM verdicts_decided"
            " WHERE verdict_id IN (SELECT verdict_id FROM hour_charges)",
            "rates": "SELECT * FROM rates_used WHERE rate_id IN (SELECT rate_id FROM hour_charges)",
        }
        if ledger.put(con, partition, queries, inputs):
            changed.append(partition)
    return changed


def _charges_query() -> str:
    return f"SELECT {', '.join(column.name for column in CHARGES)} FROM hour_charges"


def _dimensions(con: DuckDBPyConnection, decisions: Decisions, book: str) -> None:
    verdicts = list(decisions.verdicts.items())
    create(
        con,
        "verdicts_decided",
        {
            "verdict_id": pa.array([key for key, _ in verdicts], pa.int64()),
            "path": pa.array([str(v.path) for _, (v, _) in verdicts], pa.string()),
            "rule": pa.array([v.rule for _, (v, _) in verdicts], pa.string()),
            "confidence": pa.array([str(v.confidence) for _, (v, _) in verdicts], pa.string()),
            "evidence": pa.array(
                [list(v.evidence) for _, (v, _) in verdicts], pa.list_(pa.string())
            ),
            "facts": pa.array(
                [msgspec.json.encode(f).decode() for _, (_, f) in verdicts], pa.string()
            ),
        },
    )
    rates = list(decisions.rates.items())
    text = pa.string()
    create(
        con,
        "rates_used",
        {
            "rate_id": pa.array([key for key, _ in rates], pa.int64()),
            "book": pa.array([book for _ in rates], text),
            **{
                name: pa.array([getattr(rate, name) for _, rate in rates], kind)
                for name, kind in (
                    ("provider", text),
                    ("usage_type", text),
                    ("operation", text),
                    ("region", text),
                    ("to_region", text),
                    ("effective_from", pa.date32()),
                    ("effective_to", pa.date32()),
                    ("unit", text),
                    ("unit_bytes", pa.int64()),
                    ("currency", text),
                    ("sku", text),
                    ("source_url", text),
                    ("checked_on", pa.date32()),
                )
            },
            "tier_from": pa.array([Decimal(r.tier_from) for _, r in rates], pa.decimal128(38, 0)),
            "price": pa.array([f"{r.price:f}" for _, r in rates], text),
            "numerator": pa.array(
                [Decimal(numerator_of(r)) for _, r in rates], pa.decimal128(38, 0)
            ),
        },
    )
