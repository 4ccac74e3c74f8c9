"""Charges: decided meters joined back to the booked rows, summed exactly, written by the hour.

Enters: `booked`, `fired`. Leaves: a table `charged` with the columns of
`schema.CHARGES`, and partitions in the ledger with the dimension rows they refer to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from flowcost.ledger import Input, Ledger, Partition
from flowcost.pipeline.decide import KEY, Decisions
from flowcost.pipeline.partitions import Tables, create_rates, put_hours
from flowcost.pipeline.world import create

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# A gateway's row fires the client's own leg only where the client has no sensor of its own, and
# what a device on the way charges the client only where the client's sensor does not know the
# way. A transit gateway on that way is charged from its own log where there is one. The far end's
# meters fire only where the far end is ours and has no sensor. Rows are summed by numbers; texts
# are joined to the sums.
SUM = f"""
CREATE OR REPLACE TEMP TABLE summed AS
WITH keyed AS (SELECT *, {KEY} AS combination FROM booked WHERE counts)
SELECT k.hour, k.context, k.via, k.gateway_account, k.answers, f.fired_no,
       CASE WHEN f.mirrored THEN k.remote_id ELSE k.local_id END AS near_id,
       CASE WHEN f.mirrored THEN k.local_id ELSE k.remote_id END AS far_id,
       CASE WHEN f.mirrored AND k.remote_id = 0 THEN k.remote_address
            WHEN NOT f.mirrored AND k.local_id = 0 THEN k.local_address END AS near_address,
       CASE WHEN f.mirrored AND k.local_id = 0 THEN k.local_address
            WHEN NOT f.mirrored AND k.remote_id = 0 THEN k.remote_address END AS far_address,
       NOT (k.at_gateway AND k.local_sensor) AS carries,
       sum(k.bytes)::BIGINT AS bytes, sum(k.packets)::BIGINT AS packets
FROM keyed k
JOIN fired f USING (combination)
JOIN identities_known e ON e.identity_id = k.remote_id
WHERE CASE
    WHEN f.transit AND k.transit_seen THEN false
    WHEN f.mirrored THEN e.cloud_account_id <> '' AND NOT k.remote_sensor
    WHEN k.at_gateway AND f.position = 'local' AND f.leg = 'processing'
        THEN NOT k.local_explained
    WHEN k.at_gateway AND f.position = 'local' THEN NOT k.local_sensor
    ELSE true END
GROUP BY ALL
"""
POST = """
CREATE OR REPLACE TEMP TABLE charged AS
SELECT s.hour, c.tenant, c.cluster, f.provider,
       CASE WHEN f.position = 'gateway' THEN s.gateway_account
            ELSE n.cloud_account_id END AS payer_account,
       f.region, f.usage_type, f.operation,
       CASE WHEN f.leg = '' THEN '' WHEN f.position = 'gateway' THEN s.via
            ELSE n.cloud_resource_id END AS resource_id,
       f.path, f.direction, f.leg, f.provenance, f.confidence,
       s.near_id AS local_id, s.far_id AS remote_id,
       s.near_address AS local_address, s.far_address AS remote_address,
       coalesce(d.name, s.answers) AS dialed_service,
       CASE WHEN f.mirrored AND c.initiator = 'local' THEN 'remote'
            WHEN f.mirrored AND c.initiator = 'remote' THEN 'local'
            ELSE c.initiator END AS initiator,
       s.via,
       CASE WHEN f.ordinal = 0 AND NOT f.mirrored AND s.carries THEN s.bytes ELSE 0 END AS bytes,
       CASE WHEN f.ordinal = 0 AND NOT f.mirrored AND s.carries THEN s.packets ELSE 0 END
           AS packets,
       s.bytes AS quantity, 'bytes' AS unit, f.rate_id,
       (s.bytes::HUGEINT * f.numerator::HUGEINT)::DECIMAL(38, 0) AS list_cost,
       f.verdict_id, c.observer_type, c.source
FROM summed s
JOIN fired f USING (fired_no)
JOIN contexts c USING (context)
JOIN identities_known n ON n.identity_id = s.near_id
LEFT JOIN services d ON d.address = c.dialed_address
    AND s.hour >= d.valid_from AND s.hour < d.valid_to
ORDER BY s.hour  -- an hour is then a few row groups, not a scan of all
"""


def post(con: DuckDBPyConnection) -> None:
    """Create the table `charged` from what was booked and decided."""
    con.execute(SUM)
    con.execute(POST)


def write(
    con: DuckDBPyConnection,
    ledger: Ledger,
    decisions: Decisions,
    inputs: Callable[[Partition], Sequence[Input]],
    *,
    book: str,
) -> list[Partition]:
    """Write every hour of `charged` into `ledger`; return the partitions that changed."""
    create_rates(con, "rates_used", decisions.rates, book)
    create(con, "verdicts_decided", _verdicts(decisions))
    tables = Tables("charged", "identities_known", "verdicts_decided", "rates_used")
    return put_hours(con, ledger, tables, inputs)


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
