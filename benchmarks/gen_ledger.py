"""A ledger of many pods over many hours, written by the store itself.

    python -m benchmarks.gen_ledger OUT [--pods 50000] [--hours 720] [--every 1]

Pods belong to workloads, workloads to namespaces and teams. Each pod talks to two others in an
hour, of workloads that its own always talks to; most of it crosses zones, some goes to the internet
or through a NAT gateway, some cannot be classified. Both ends of what crosses zones are charged.
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa

from flowcost.content import content_id
from flowcost.ledger import Input, Ledger, Partition
from flowcost.model import EndKind, Identity
from flowcost.money import GIB, price_numerator
from flowcost.schema import CHARGES, IDENTITY_FIELDS, RATES, VERDICTS, duckdb_columns

START = datetime(2026, 11, 1, tzinfo=UTC)
PODS_OF_A_WORKLOAD = 20
WORKLOADS_OF_A_NAMESPACE = 16
CENT = price_numerator(Decimal("0.01"), GIB)  # per byte and leg

PATHS = (
    # path, usage type, operation, numerator per byte (None: unpriced)
    ("same_zone", "", "", 0),
    ("cross_az", "DataTransfer-Regional-Bytes", "InterZone-Out", CENT),
    ("cross_az", "DataTransfer-Regional-Bytes", "InterZone-In", CENT),
    ("nat_gateway", "NatGateway-Bytes", "NatGateway", 9 * CENT // 2),
    ("internet_egress", "DataTransfer-Out-Bytes", "", 9 * CENT),
    ("unknown", "", "", None),
)

HOUR = """
CREATE OR REPLACE TEMP TABLE hour_charges AS
WITH peers AS (
    SELECT no, id, k, no // $size AS workload,
           CASE WHEN k = 0  -- within its namespace, or one of six services that its namespace uses
                THEN no // $size // $crowd * $crowd + (no // $size * 7 + 3) % $crowd
                ELSE (no // $size // $crowd * 31 + hash(no, $hour // 6) % 6) * $crowd END
           % $workloads::BIGINT
           * $size + (hash(no, k, $hour) % $size)::BIGINT AS other_no
    FROM pods CROSS JOIN (VALUES (0), (1)) AS t(k)
),
talks AS (
    SELECT p.id, other.id AS other,
           CASE WHEN k = 1 AND workload % 16 = 13 THEN 3 WHEN k = 1 AND workload % 16 = 14 THEN 4
                WHEN k = 1 AND workload % 16 = 15 THEN 5
                WHEN p.no % 3 = other.no % 3 THEN 0 ELSE 1 END AS way,
           1000 + (hash(p.no, k, $hour) % 50000000)::BIGINT AS size
    FROM peers p JOIN pods other ON other.no = p.other_no
),
legs AS (
    SELECT id, other, way, size, 'transmit' AS direction FROM talks
    UNION ALL SELECT other, id, 2, size, 'receive' FROM talks WHERE way = 1
)
SELECT TIMESTAMP '2026-11-01' + INTERVAL 1 HOUR * $hour AS hour, 'default' AS tenant,
       'prod' AS cluster, 'aws' AS provider, '111111111111' AS payer_account,
       'us-east-1' AS region, w.usage_type, w.operation, '' AS resource_id, w.path, l.direction,
       CASE WHEN w.usage_type = '' THEN '' WHEN l.way = 3 THEN 'processing' ELSE l.direction END
           AS leg,
       'observed' AS provenance, 'measured' AS confidence, l.id AS local_id,
       CASE WHEN l.way = 4 THEN $internet ELSE l.other END AS remote_id,
       NULL::BLOB AS local_address, NULL::BLOB AS remote_address, '' AS dialed_service,
       'local' AS initiator, CASE WHEN l.way = 3 THEN 'nat-1' ELSE '' END AS via, l.size AS bytes,
       l.size // 1000 + 1 AS packets, l.size AS quantity, 'bytes' AS unit,
       CASE WHEN w.numerator IS NULL THEN NULL ELSE w.way + 1 END AS rate_id,
       l.size::HUGEINT * w.numerator AS list_cost, w.way + 1 AS verdict_id,
       'node_agent' AS observer_type, 'segments/' || $hour AS source
FROM legs l JOIN ways w USING (way)
"""


def main() -> None:
    """Write the ledger and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--pods", type=int, default=50_000)
    parser.add_argument("--hours", type=int, default=720)
    parser.add_argument("--every", type=int, default=1, help="write only each such hour")
    chosen = parser.parse_args()
    began = time.monotonic()
    write(chosen.out, chosen.pods, chosen.hours, chosen.every)
    print(f"{chosen.hours} hours of {chosen.pods:,} pods in {time.monotonic() - began:.0f} s")


def write(out: Path, pods: int, hours: int, every: int = 1) -> None:
    """Write `hours` hours from `START`; the same arguments give the same ledger."""
    ledger = Ledger.open(out, create=True)
    identities = {content_id(who): who for who in _identities(pods)}
    internet = content_id(_INTERNET)
    with duckdb.connect() as con:
        _dimensions(con, identities)
        for hour in range(0, hours, every):
            values = {
                "hour": hour,
                "size": PODS_OF_A_WORKLOAD,
                "crowd": WORKLOADS_OF_A_NAMESPACE,
                "workloads": pods // PODS_OF_A_WORKLOAD,
                "internet": internet,
            }
            con.execute(HOUR, values)
            queries = {
                "charges": f"SELECT {', '.join(c.name for c in CHARGES)} FROM hour_charges",
                "identities": "SELECT * FROM identities WHERE identity_id IN (SELECT local_id FROM"
                " hour_charges UNION SELECT remote_id FROM hour_charges)",
                "verdicts": "SELECT * FROM verdicts",
                "rates": "SELECT * FROM rates",
            }
            partition = Partition("default", "prod", START + timedelta(hours=hour))
            ledger.put(con, partition, queries, [Input(f"segments/{hour}", str(pods))])


_INTERNET = Identity(kind=EndKind.INTERNET)


def _identities(pods: int) -> list[Identity]:
    found = [_INTERNET]
    for pod in range(pods):
        workload = pod // PODS_OF_A_WORKLOAD
        namespace = workload // WORKLOADS_OF_A_NAMESPACE
        found.append(
            Identity(
                kind=EndKind.COMPUTE,
                cloud_provider="aws",
                cloud_account_id="111111111111",
                cloud_region="us-east-1",
                cloud_availability_zone=f"use1-az{1 + pod % 3}",
                cloud_vpc_id="vpc-a",
                cloud_subnet_id=f"subnet-{pod % 3}",
                cloud_resource_id=f"i-{pod // 30:08x}",
                k8s_cluster_name="prod",
                k8s_namespace_name=f"ns-{namespace}",
                k8s_workload_kind="Deployment",
                k8s_workload_name=f"w-{workload}",
                k8s_pod_name=f"w-{workload}-{pod:05x}",
                k8s_pod_uid=f"00000000-0000-0000-0000-{pod:012x}",
                k8s_node_name=f"node-{pod // 30}",
                owner_team=f"team-{namespace % 40}",
                stage=("prod", "stage")[namespace % 5 == 0],
            )
        )
    return found


def _dimensions(con: duckdb.DuckDBPyConnection, identities: dict[int, Identity]) -> None:
    columns = {
        name: pa.array([str(getattr(who, name)) for who in identities.values()])
        for name in IDENTITY_FIELDS
    }
    con.register(
        "given", pa.table({"identity_id": pa.array(list(identities), pa.int64()), **columns})
    )
    con.execute("CREATE TEMP TABLE identities AS SELECT * FROM given")
    con.execute(
        "CREATE TEMP TABLE pods AS SELECT row_number() OVER () - 1 AS no, identity_id AS id"
        " FROM given WHERE kind = 'compute'"
    )
    con.execute(
        "CREATE TEMP TABLE ways (way INTEGER, path VARCHAR, usage_type VARCHAR,"
        " operation VARCHAR, numerator HUGEINT)"
    )
    con.executemany(
        "INSERT INTO ways VALUES (?, ?, ?, ?, ?)", [(no, *way) for no, way in enumerate(PATHS)]
    )
    con.execute(f"CREATE TEMP TABLE verdicts ({duckdb_columns(VERDICTS)})")
    con.execute(
        "INSERT INTO verdicts SELECT way + 1, path, 'rule-' || way, 'measured', ['generated'],"
        " '{}' FROM ways"
    )
    con.execute(f"CREATE TEMP TABLE rates ({duckdb_columns(RATES)})")
    con.execute(
        "INSERT INTO rates SELECT way + 1, 'list', 'aws', usage_type, operation, 'us-east-1', '',"
        " 0, DATE '2024-01-01', NULL, '0.01', 'GB', 1073741824, 'USD', '', 'https://aws.amazon.com',"
        " DATE '2026-11-20', numerator FROM ways WHERE numerator IS NOT NULL"
    )


if __name__ == "__main__":
    main()
