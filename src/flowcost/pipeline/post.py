"""Charges: decided meters joined back to the booked rows, summed exactly, written by the hour.

Enters: `booked`, `combinations`, `fired`. Leaves: a table `charged` with the columns of
`schema.CHARGES`, and partitions in the ledger with the dimension rows they refer to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from flowcost.ledger import Input, Ledger, Partition
from flowcost.pipeline.decide import COMBINATION, Decisions
from flowcost.pipeline.partitions import Tables, create_rates, put_hours
from flowcost.pipeline.world import create

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
       verdict_id, observer_type, source
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
    create_rates(con, "rates_used", decisions.rates, book)
    create(con, "verdicts_decided", _verdicts(decisions))
    tables = Tables("charged", "identities_known", "verdicts_decided", "rates_used")
    return put_hours(con, ledger, tables, lambda _: inputs)


def _verdicts(decisions: Decisions) -> dict[str, pa.Array]:
    keys = list(decisions.verdicts)
    verdicts = [verdict for verdict, _ in decisions.verdicts.values()]
    facts = [msgspec.json.encode(facts).decode() for _, facts in decisions.verdicts.values()]
    text = pa.string()
    return {
        "verdict_id": pa.array(keys, pa.int64()),
        "path": pa.array([str(verdict.path) for verdict in verdicts], text),
        "rule": pa.array([verdict.rule for verdict in verdicts], text),
        "confidence": pa.array([str(verdict.confidence) for verdict in verdicts], text),
        "evidence": pa.array([list(verdict.evidence) for verdict in verdicts], pa.list_(text)),
        "facts": pa.array(facts, text),
    }
