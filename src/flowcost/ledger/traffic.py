"""What was sent in a day, rolled up: of all clusters, so that the first question reads little.

As every roll-up it is a ledger of its own, with a partition per day that names the hours it was
made from. Its charges have ends that say no more than `once.KIND` tells apart; counted again, they
are what they were made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import pyarrow as pa

from flowcost import clock
from flowcost.content import remember
from flowcost.ledger import once
from flowcost.ledger.attach import attach_held
from flowcost.ledger.catalogue import Held
from flowcost.ledger.levels import ROLLED, TRAFFIC, Contents
from flowcost.ledger.partition import STORED, Input, Partition
from flowcost.ledger.store import Ledger
from flowcost.model import EndKind, Identity, Path, Provenance
from flowcost.schema import CHARGES, DUCKDB_TYPES, IDENTITIES, duckdb_nothing

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# What an end is told by.
_END = ("kind", "service_name", "owner_team", "cloud_availability_zone", "cloud_region")
# `once` has one service and team: the receiver's of what arrives from outside, else the sender's.
_ENDS = f"""
CREATE OR REPLACE TEMP TABLE sent AS
SELECT path, hour, bytes,
    ('{EndKind.UNKNOWN}', CASE WHEN inward THEN '' ELSE service END,
        CASE WHEN inward THEN '' ELSE team END, src_zone, src_region) AS sender,
    (CASE WHEN dst_internet THEN '{EndKind.INTERNET}' ELSE '{EndKind.UNKNOWN}' END,
        CASE WHEN inward THEN service ELSE '' END, CASE WHEN inward THEN team ELSE '' END,
        dst_zone, dst_region) AS receiver
FROM (SELECT *, path = '{Path.INTERNET_INGRESS}' AS inward FROM once)
"""


def roll(ledger: Ledger, tenant: str, hours: Sequence[Held]) -> bool:
    """Roll up what was sent in these hours, all of one tenant's day; return if it changed."""
    rolled = Ledger.open(ledger.root / ROLLED / TRAFFIC, create=True)
    day = clock.day_of(hours[0].partition.hour)
    partition = Partition(tenant, "", day)
    inputs = tuple(sorted(_input(one.manifest.hour, one.partition.cluster, one.digest)
                          for one in hours))  # fmt: skip
    before = rolled.manifest(partition)
    if before and before.inputs == inputs:
        return False
    until = max(one.partition.hour for one in hours) + clock.HOUR
    held = ledger.shelves.chosen(day, until, tenant=tenant, detail=once.DETAIL)
    contents = ledger.shelves.contents(held)
    if tuple(sorted(_inputs(contents))) != inputs:
        return False  # an hour was rewritten meanwhile
    with closing(ledger.engine.connect()) as con:
        attach_held(con, held)
        once.create(con)
        once.insert(con, list(contents), None)
        return rolled.put(con, partition, _tables(con, tenant), inputs)


def _inputs(contents: Contents) -> Iterable[Input]:
    return (_input(hour, *part) for hour, parts in contents.items() for part in parts)


def _input(hour: str, cluster: str, digest: str) -> Input:
    return Input(f"{hour} {cluster}", digest)


def _tables(con: DuckDBPyConnection, tenant: str) -> dict[str, str | pa.Table]:
    """Return the contents of a partition that says what `once` says."""
    con.execute(_ENDS)
    rows = con.execute(
        "SELECT DISTINCT unnest([sender, receiver]) AS one FROM sent ORDER BY one"
    ).fetchall()
    known: dict[int, Identity] = {}
    ids = [
        remember(known, Identity(**dict(zip(_END, (EndKind(kind), *words), strict=True))))
        for ((kind, *words),) in rows
    ]
    names = {name: pa.array([row[0][place] for row in rows]) for place, name in enumerate(_END)}
    con.register("given", pa.table({"identity_id": pa.array(ids, pa.int64()), **names}))
    con.execute("CREATE OR REPLACE TEMP TABLE sent_ends AS SELECT * FROM given")
    con.unregister("given")
    told = {"identity_id", *_END}
    ends = ", ".join(c.name if c.name in told else f"'' AS {c.name}" for c in IDENTITIES)
    values = {
        "hour": "c.hour",
        "tenant": "'" + tenant.replace("'", "''") + "'",
        "path": "c.path",
        "direction": "'transmit'",
        "provenance": f"'{Provenance.OBSERVED}'",
        "local_id": "sender.identity_id",
        "remote_id": "receiver.identity_id",
        "bytes": "c.bytes",
        "unit": "'bytes'",
        "verdict_id": "0",
    }
    nothing = {"text": "''", "int": "0"}
    nulls = {"rate_id": "NULL"}
    columns = ", ".join(
        f"CAST({(values | nulls).get(c.name, nothing.get(c.type, 'NULL'))}"
        f" AS {DUCKDB_TYPES[c.type]}) AS {c.name}"
        for c in CHARGES
    )
    joins = " ".join(
        f"JOIN sent_ends AS {end} ON c.{end} = ({', '.join(f'{end}.{name}' for name in _END)})"
        for end in ("sender", "receiver")
    )
    return {
        "charges": f"SELECT {columns} FROM sent AS c {joins}",
        "identities": f"SELECT {ends} FROM sent_ends",
        **{table: duckdb_nothing(STORED[table]) for table in ("verdicts", "rates")},
    }
