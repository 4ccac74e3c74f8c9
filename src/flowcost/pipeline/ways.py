"""Which way out: what two ends are to each other, and through which gateway they meet.

Enters: what `observe` leaves. Leaves a table `observations`, one row per row of `met`, with the
gateway (`via`, `account`), the Service that was dialed (`answers`), and `combination`: everything
a verdict can depend on, packed into one integer, so equal integers are equal facts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from flowcost.model import GatewayKind
from flowcost.pipeline.world import GATEWAY_KINDS, World

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# The route that holds: longest prefix has won, so one block per (route table, stretch).
ROUTE = """
CREATE OR REPLACE TEMP TABLE routed AS
WITH asked AS (
    SELECT DISTINCT n.scope_no, f.stretch
    FROM met m JOIN nears n USING (near) JOIN fars f USING (far)
    WHERE n.scope_no > 0 AND n.via = 0
),
starts AS (SELECT a.*, t.first AS start FROM asked a JOIN route_bounds t USING (stretch)),
blocks AS (SELECT DISTINCT scope_no, first, last FROM routes),
found AS (
    SELECT s.scope_no, s.stretch, b.first FROM starts s
    ASOF JOIN blocks b ON s.scope_no = b.scope_no AND s.start >= b.first
    WHERE s.start <= b.last
)
SELECT f.scope_no, f.stretch, r.kind, r.via, r.valid_from, r.valid_to
FROM found f JOIN routes r ON r.scope_no = f.scope_no AND r.first = f.first
"""

# The backend's node never sees what was dialed. Where all that one end sent to another in an hour
# was dialed through one Service, the answers belong to that Service too.
ANSWER = """
CREATE OR REPLACE TEMP TABLE answered AS
WITH asked AS (
    SELECT n.period, n.address AS local, f.address AS remote, coalesce(o.name, s.name) AS name
    FROM met m
    JOIN nears n USING (near)
    JOIN fars f USING (far)
    JOIN contexts c USING (context)
    LEFT JOIN services o ON o.cluster <> '' AND o.cluster = c.cluster
        AND o.address = c.dialed_address
        AND n.moment >= o.valid_from AND n.moment < o.valid_to
    LEFT JOIN services s ON s.cluster = '' AND s.address = c.dialed_address
        AND n.moment >= s.valid_from AND n.moment < s.valid_to
    WHERE n.initiator = 'local' AND EXISTS (FROM contexts WHERE dialed_address IS NOT NULL)
)
SELECT period, remote AS local, local AS remote, min(name) AS name
FROM asked GROUP BY ALL
HAVING count(*) = count(name) AND min(name) = max(name)
"""
_NO_WAY = ", ".join(
    str(GATEWAY_KINDS.index(kind)) for kind in (GatewayKind.UNKNOWN, GatewayKind.NONE)
)
_ANSWERED = """LEFT JOIN answered a ON n.initiator = 'remote' AND a.period = n.period
        AND a.local = n.address AND a.remote = f.address"""
# `vpc` is a position in `decide.VPC`: same, other, unknown.
OBSERVE = """
CREATE OR REPLACE TEMP TABLE observations AS
WITH ways AS (
    SELECT m.near, m.far, m.bytes, m.packets, n.at_gateway, n.led, n.moment, n.network,
           n.class AS near_class, f.class AS far_class, f.via_account,
           CASE WHEN n.network > 0 AND f.network > 0
                THEN CASE WHEN n.network = f.network THEN 0 ELSE 1 END
                WHEN n.cluster_no > 0 AND n.cluster_no = f.cluster_no THEN 0
                ELSE 2 END AS vpc,
           n.node > 0 AND n.node = f.node AS on_one_node,
           CASE WHEN n.via > 0 THEN n.via WHEN f.via > 0 THEN f.via
                ELSE coalesce(r.via, 0) END AS via,
           coalesce(r.kind, {unknown}) AS routed, {answers} AS answers
    FROM met m
    JOIN nears n USING (near)
    JOIN fars f USING (far)
    LEFT JOIN routed r ON n.via = 0 AND r.scope_no = n.scope_no AND r.stretch = f.stretch
        AND n.moment >= r.valid_from AND n.moment < r.valid_to
    {answered}
)
SELECT w.near, w.far, w.at_gateway, w.via, w.answers, coalesce(g.account, w.via_account) AS account,
       w.led OR w.via > 0 OR w.routed NOT IN ({no_way}) AS led,
       (((((w.near_class::BIGINT * {far_classes} + w.far_class) * 3 + w.vpc) * 2
           + w.on_one_node::INTEGER) * {kinds} + w.routed) * 2
           + (g.network > 0 AND w.network > 0 AND g.network <> w.network IS TRUE)::INTEGER)
           * {places} + coalesce(g.place + 1, 0) AS combination,
       w.bytes, w.packets
FROM ways w
LEFT JOIN gateways g ON g.via = w.via AND w.moment >= g.valid_from AND w.moment < g.valid_to
"""


class Radix(Struct, frozen=True):
    """How many values each part of a combination can have."""

    far_classes: int
    places: int


class Parts(Struct, frozen=True):
    """The parts of a combination; `gateway_place` is -1 where no gateway is known."""

    near_class: int
    far_class: int
    vpc: int
    on_one_node: bool
    routed: GatewayKind
    gateway_elsewhere: bool
    gateway_place: int


def unpack(combination: int, radix: Radix) -> Parts:
    """Return the parts of a combination."""
    combination, place = divmod(combination, radix.places)
    combination, elsewhere = divmod(combination, 2)
    combination, routed = divmod(combination, len(GATEWAY_KINDS))
    combination, on_one_node = divmod(combination, 2)
    combination, vpc = divmod(combination, 3)
    near_class, far_class = divmod(combination, radix.far_classes)
    return Parts(
        near_class, far_class, vpc, bool(on_one_node), GATEWAY_KINDS[routed], bool(elsewhere),
        place - 1,
    )  # fmt: skip


def find_ways(con: DuckDBPyConnection, world: World) -> Radix:
    """Create the table `observations`; return how its combinations are packed."""
    con.execute(ROUTE)
    con.execute(ANSWER)
    answered = con.execute("SELECT count(*) FROM answered").fetchall()[0][0]
    classes = con.execute("SELECT count(*) FROM fars_classes").fetchall()[0][0]
    radix = Radix(far_classes=classes, places=len(world.places) + 1)
    con.execute(
        OBSERVE.format(
            unknown=GATEWAY_KINDS.index(GatewayKind.UNKNOWN),
            no_way=_NO_WAY,
            answers="coalesce(a.name, 0)" if answered else "0",
            answered=_ANSWERED if answered else "",
            kinds=len(GATEWAY_KINDS),
            far_classes=radix.far_classes,
            places=radix.places,
        )
    )
    return radix
