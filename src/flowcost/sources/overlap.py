"""Several flow logs of one interface: one of them is booked per interface and hour (law 4).

A flow log can be made for a VPC, a subnet or an interface; each then logs the same packets. Which
one counts is a function of the set of files alone: the one whose format shows the packet's own
addresses, then the one with more bytes, then the smaller id. Files without a provider's name tell
no flow log apart, so they are never taken for one another's copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowcost.model import Finding
from flowcost.sources.raw import literal
from flowcost.sources.scan import Scanned

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SENSORS = """
CREATE OR REPLACE TEMP TABLE sensors AS
SELECT observer, date_trunc('hour', window_start) AS hour, source, sum(bytes)::HUGEINT AS bytes,
       count(*) AS flows
FROM read_parquet({files})
WHERE source LIKE 'fl-%' AND observer IN (
    SELECT observer FROM (SELECT DISTINCT observer, source FROM read_parquet({files}))
    GROUP BY observer HAVING count(*) > 1
)
GROUP BY ALL
"""

_CHOSEN = """
CREATE OR REPLACE TEMP TABLE cross_checks AS
SELECT observer, hour, source, bytes, flows FROM (
    SELECT *, row_number() OVER (
        PARTITION BY observer, hour
        ORDER BY source IN ({detailed}) DESC, bytes DESC, source
    ) AS place FROM sensors
) WHERE place > 1
"""


def create_flows(con: DuckDBPyConnection, scanned: Scanned, name: str = "flows") -> list[Finding]:
    """Create the view `name` over the partials, each interface and hour from one flow log.

    Also creates the table `cross_checks` (observer, hour, source, bytes, flows): what was left
    out. Returns a finding if there is any.
    """
    files = _list([str(path) for path in scanned.partials])
    if not scanned.partials:
        from flowcost.sources.emit import no_flows  # noqa: PLC0415 - heavy

        con.register(f"{name}_none", no_flows())
        con.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS FROM {name}_none")
        return []
    con.execute(_SENSORS.format(files=files))
    detailed = sorted({r.flow_log_id for r in scanned.reports if r.packet_ends and r.flow_log_id})
    chosen = ", ".join(literal(source) for source in detailed) or "''"
    con.execute(_CHOSEN.format(detailed=chosen))
    count, total, example = con.execute(
        "SELECT coalesce(sum(flows), 0)::BIGINT, coalesce(sum(bytes), 0)::HUGEINT,"
        " min(observer || ' in ' || source) FROM cross_checks"
    ).fetchall()[0]
    left_out = (
        " WHERE NOT EXISTS (SELECT 1 FROM cross_checks c WHERE c.observer = f.observer"
        " AND c.source = f.source AND c.hour = date_trunc('hour', f.window_start))"
        if count
        else ""
    )
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT f.* FROM read_parquet({files}) f{left_out}"
    )
    if not count:
        return []
    return [
        Finding(
            code="flow-log-overlap",
            severity="info",
            subject="flow logs",
            count=count,
            bytes=int(total),
            sample=example,
            hint="several flow logs cover these interfaces; one is booked, the others are checks",
        )
    ]


def _list(texts: Sequence[str]) -> str:
    return "[" + ", ".join(literal(text) for text in texts) + "]"
