"""Charges: decided meters joined back to the booked rows, summed exactly, hour by hour.

Enters: `booked`, `fired`. Leaves: for each tenant and hour, rows with the columns of
`schema.CHARGES`. Rows are summed by numbers; `kinds` are the distinct combinations of everything
that a charge says in words, and words are only looked up once per kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from flowcost.ledger import Partition
from flowcost.pipeline.partitions import Hour
from flowcost.pipeline.world import World
from flowcost.schema import CHARGES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# A gateway's row fires the client's own leg only where the client has no sensor of its own, and
# what a device on the way charges the client only where the client's sensor does not know the
# way. A transit gateway on that way is charged from its own log where there is one. The far end's
# meters fire only where the far end is ours and has no sensor.
SUM = """
CREATE OR REPLACE TEMP TABLE summed AS
SELECT n.period, n.label, f.fired_no, b.via, b.account, b.answers,
       NOT (b.at_gateway AND n.sensor) AND NOT b.carried_elsewhere AS carries,
       CASE WHEN f.mirrored THEN r.party ELSE n.party END AS near,
       CASE WHEN f.mirrored THEN n.party ELSE r.party END AS far,
       sum(b.bytes)::BIGINT AS bytes, sum(b.packets)::BIGINT AS packets
FROM booked b
JOIN fired f USING (combination)
JOIN nears n ON n.near = b.near
JOIN fars r ON r.far = b.far
WHERE b.counts AND CASE
    WHEN f.transit AND b.transit_seen THEN false
    WHEN f.mirrored THEN r.owned AND NOT r.sensor
    WHEN b.at_gateway AND f.position = 'local' AND f.leg = 'processing' THEN NOT b.explained
    WHEN b.at_gateway AND f.position = 'local' THEN NOT n.sensor
    ELSE true END
GROUP BY ALL
"""
_KIND = "period, label, fired_no, via, account, answers, carries"
KINDS = f"""
CREATE OR REPLACE TEMP TABLE kinds AS
SELECT *, row_number() OVER ()::INTEGER - 1 AS kind FROM (SELECT DISTINCT {_KIND} FROM summed)
"""
DESCRIBE = """
WITH labels AS (
    SELECT DISTINCT label, tenant, cluster, initiator, dialed_address, observer_type, source
    FROM contexts
)
SELECT p.hour, c.tenant, c.cluster, f.provider, f.region, f.usage_type, f.operation, f.path,
       f.direction, f.leg, f.provenance, f.confidence,
       CASE WHEN f.mirrored AND c.initiator = 'local' THEN 'remote'
            WHEN f.mirrored AND c.initiator = 'remote' THEN 'local'
            ELSE c.initiator END AS initiator,
       'bytes' AS unit, f.rate_id, f.verdict_id, c.observer_type, c.source,
       coalesce(o.name, d.name, k.answers) AS dialed_service, k.via
FROM kinds k
JOIN periods p USING (period)
JOIN labels c USING (label)
JOIN fired f USING (fired_no)
LEFT JOIN services o ON o.cluster <> '' AND o.cluster = c.cluster
    AND o.address = c.dialed_address AND p.hour >= o.valid_from AND p.hour < o.valid_to
LEFT JOIN services d ON d.cluster = '' AND d.address = c.dialed_address
    AND p.hour >= d.valid_from AND p.hour < d.valid_to
ORDER BY k.kind
"""
POST = f"""
SELECT s.period, k.kind, s.near, s.far, s.bytes AS quantity,
       f.ordinal = 0 AND NOT f.mirrored AND s.carries AS carried, s.packets,
       CASE WHEN f.position = 'gateway' THEN s.account ELSE i.account END AS payer,
       CASE WHEN f.leg = '' THEN 0 WHEN f.position = 'gateway' THEN -s.via
            ELSE i.resource END AS resource,
       (s.bytes::HUGEINT * f.numerator::HUGEINT)::DECIMAL(38, 0) AS list_cost
FROM summed s
JOIN kinds k USING ({_KIND})
JOIN fired f USING (fired_no)
JOIN identities_known i ON i.party = greatest(s.near, 0)
ORDER BY s.period
"""


def post(con: DuckDBPyConnection, world: World) -> Iterator[Hour]:
    """Yield the charges of every tenant and hour, from what was booked and decided."""
    con.execute(SUM)
    con.execute(KINDS)
    kinds = con.sql(DESCRIBE).to_arrow_table().combine_chunks()
    words = _words(kinds, world)
    rows = con.sql(POST).to_arrow_table().combine_chunks()
    addresses = pa.array(
        [b"", *(a for (a,) in con.execute("SELECT address FROM addresses ORDER BY number")
                .fetchall())],
        pa.binary(),
    )  # fmt: skip
    found = con.execute(
        "SELECT period, tenant, hour, (SELECT count(*) FROM summed s WHERE s.period = p.period)"
        " FROM periods p ORDER BY period"
    ).fetchall()
    start = 0
    for _, tenant, hour, count in found:
        part = rows.slice(start, count)
        start += count
        moment = hour.replace(tzinfo=UTC)
        for cluster in _clusters(part, kinds):
            mine = part.filter(_in_cluster(part, kinds, cluster))
            yield Hour(
                Partition(tenant, cluster, moment), _charges(mine, kinds, words, addresses, world)
            )


def _clusters(part: pa.Table, kinds: pa.Table) -> list[str]:
    used = part["kind"].unique()
    return sorted(kinds["cluster"].take(used).unique().to_pylist())


def _in_cluster(part: pa.Table, kinds: pa.Table, cluster: str) -> Any:  # noqa: ANN401 - Arrow
    return pc.equal(kinds["cluster"], cluster).combine_chunks().take(part["kind"])


def _words(kinds: pa.Table, world: World) -> dict[str, pa.Array]:
    """Return the words of each kind, one array per text column of a charge."""
    words = {
        column.name: kinds[column.name].combine_chunks()
        for column in CHARGES
        if column.type == "text" and column.name in kinds.column_names
    }
    for name, numbers in (("via", world.vias), ("dialed_service", world.services)):
        texts = [numbers.values[number] for number in kinds[name].to_pylist()]
        words[name] = pa.array(texts, pa.string())
    return words


def _charges(
    rows: pa.Table, kinds: pa.Table, words: dict[str, pa.Array], addresses: pa.Array, world: World
) -> pa.Table:
    kind = rows["kind"].combine_chunks()
    ids = world.identity_rows["identity_id"]
    # A gateway's resource is its id, under minus its number.
    gateways = len(world.vias.values) - 1
    resources = pa.array([*reversed(world.vias.values[1:]), *world.resources.values], pa.string())
    given = {name: pa.DictionaryArray.from_arrays(kind, texts) for name, texts in words.items()}
    given["payer_account"] = _coded(rows["payer"], world.accounts.values)
    given["resource_id"] = pa.DictionaryArray.from_arrays(
        pc.add(rows["resource"], gateways).combine_chunks(), resources
    )
    for end, party in (("local", rows["near"]), ("remote", rows["far"])):
        known = pc.greater(party, 0)
        given[f"{end}_id"] = ids.take(pc.if_else(known, party, 0))
        number = pc.if_else(known, None, pc.negate(party))
        given[f"{end}_address"] = pa.DictionaryArray.from_arrays(number.combine_chunks(), addresses)
    for name in ("bytes", "packets"):
        measure = rows["quantity" if name == "bytes" else name]
        given[name] = pc.if_else(rows["carried"], measure, 0)
    given["quantity"], given["list_cost"] = rows["quantity"], rows["list_cost"]
    for name in ("hour", "rate_id", "verdict_id"):
        given[name] = kinds[name].combine_chunks().take(kind)
    return pa.table({column.name: given[column.name] for column in CHARGES})


def _coded(numbers: Any, words: Sequence[str]) -> pa.DictionaryArray:  # noqa: ANN401 - Arrow
    return pa.DictionaryArray.from_arrays(numbers.combine_chunks(), pa.array(words, pa.string()))
