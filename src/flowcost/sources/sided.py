"""Rows whose end is not said by their direction alone: gateways, forwarders, undirected rows.

What the rules of `orient` ask of a row's context and addresses is looked up by position, so the
queries are expressions over columns and join nothing, unless gateways have clients or an
interface's one address must be found from its rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowcost.sources.code import REJECT, bits, small
from flowcost.sources.knowledge import ROLE, Role
from flowcost.sources.nat_like import nat_like
from flowcost.sources.oriented import (
    DESTINATION,
    FATE_NUMBERS,
    GROUPS,
    SOURCE,
    UNTOLD,
    Oriented,
)
from flowcost.sources.report import Fate

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


@dataclass
class Places:
    """What contexts are to the rules, by their position.

    Attributes:
        observer: the interface by number.
        managed: the record says that it has no instance.
        primary: a forwarder's own address, by position in `Oriented.packed`.
        own: (context, position of an address) where the address is the interface's own.
    """

    observer: list[int] = field(default_factory=list)
    role: list[Role] = field(default_factory=list)
    direction: list[int] = field(default_factory=list)
    known: list[bool] = field(default_factory=list)
    managed: list[bool] = field(default_factory=list)
    primary: list[int | None] = field(default_factory=list)
    own: list[tuple[int, int]] = field(default_factory=list)


_SIDE_NAT = f"""CASE
    WHEN translated = 2 THEN {SOURCE} WHEN translated = 1 THEN {DESTINATION}
    WHEN src_private AND NOT dst_private THEN {SOURCE}
    WHEN dst_private AND NOT src_private THEN {DESTINATION}
    WHEN direction = {DESTINATION} THEN {SOURCE} WHEN direction = {SOURCE} THEN {DESTINATION}
    ELSE {UNTOLD} END"""

_SIDE = f"""CASE
    WHEN direction <> {UNTOLD} THEN direction
    WHEN own_src AND NOT own_dst THEN {SOURCE} WHEN own_dst AND NOT own_src THEN {DESTINATION}
    WHEN translated = 1 THEN {SOURCE} WHEN translated = 2 THEN {DESTINATION}
    WHEN shared = src AND shared <> dst THEN {SOURCE}
    WHEN shared = dst AND shared <> src THEN {DESTINATION}
    WHEN src_private AND NOT dst_private THEN {SOURCE}
    WHEN dst_private AND NOT src_private THEN {DESTINATION}
    ELSE {UNTOLD} END"""

_LEG = f"""CASE
    WHEN known THEN NOT own_src AND NOT own_dst
    WHEN role = {ROLE[Role.REGIONAL_NAT]} THEN src_private <> dst_private
    ELSE translated <> 0 END"""

# What neither a direction nor the addresses' owner nor a translation decides.
_UNDECIDED = f"direction = {UNTOLD} AND own_src = own_dst AND translated NOT IN (1, 2)"

# The one address that every undirected row of an interface in a file has, if exactly one does.
_SHARED = f"""
WITH undirected AS (
    SELECT src, dst, part, observer, row_number() OVER () AS id
    FROM gathered WHERE direction = {UNTOLD} AND NOT at_nat
),
candidates AS (
    SELECT part, observer, address, count(DISTINCT id) AS times
    FROM (SELECT id, part, observer, unnest([src, dst]) AS address FROM undirected) GROUP BY ALL
),
totals AS (SELECT part, observer, count(*) AS total FROM undirected GROUP BY ALL)
SELECT part, observer, CASE WHEN count(*) = 1 THEN min(address) END AS shared
FROM candidates JOIN totals USING (part, observer) WHERE times = total GROUP BY ALL
"""


def sided(
    con: DuckDBPyConnection, result: Oriented, groups: pa.Table, places: Places, *,
    private: list[bool], simple: bool, packet_ends: bool, instances: bool,
) -> pa.Table:  # fmt: skip
    """Return groups with their ends and fate; interfaces like NAT gateways go to the result."""
    con.register("gathered", _gathered(result, groups, places, private))
    undecided = con.execute(
        f"SELECT count(*) FROM gathered WHERE NOT at_nat AND {_UNDECIDED}"
    ).fetchall()[0][0]
    con.execute(f"CREATE OR REPLACE TEMP VIEW sided AS {_sided(simple=simple, shared=undecided)}")
    gateways = any(result.at_gateway)
    judged = _judged(simple=simple, packet_ends=packet_ends, instances=instances, gateways=gateways)
    table = con.sql(judged).to_arrow_table()
    strange = any(
        role is Role.UNKNOWN and managed
        for role, managed in zip(places.role, places.managed, strict=True)
    )
    if strange and packet_ends and instances and not simple:
        result.nat_like = nat_like(con, result.grouped.contexts)
    con.execute("DROP VIEW sided")
    con.unregister("gathered")
    return table


def _gathered(result: Oriented, groups: pa.Table, places: Places, private: list[bool]) -> pa.Table:
    """Return groups with all that the rules ask of their contexts and addresses."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    context = groups["context"]
    known = {
        "observer": pa.array(places.observer, pa.int32()),
        "role": pa.array([ROLE[role] for role in places.role], pa.int8()),
        "direction": pa.array(places.direction, pa.int8()),
        "known": pa.array(places.known, pa.bool_()),
        "managed": pa.array(places.managed, pa.bool_()),
        "own_address": pa.array(places.primary, pa.int32()),
        "at_nat": pa.array(result.at_gateway, pa.bool_()),
    }
    columns = {name: column.take(context) for name, column in known.items()}
    code, scopes, count = groups["code"], pa.array(private, pa.bool_()), len(result.packed)
    columns["part"], columns["translated"] = small("part", code), small("translated", code)
    columns["valid"] = pc.invert(result.broken(groups))
    pairs = pa.array([place * count + address for place, address in places.own], pa.int64())
    base = pc.multiply(context.cast(pa.int64()), count)
    for end in ("src", "dst"):
        columns[f"{end}_private"] = scopes.take(groups[end])
        columns[f"own_{end}"] = pc.is_in(pc.add(base, groups[end].cast(pa.int64())), pairs)
    table = groups.select(GROUPS)
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def _sided(*, simple: bool, shared: bool) -> str:
    at_nat = "translated <> 0" if simple else "at_nat"
    rows = "SELECT *, NULL::INTEGER AS shared FROM gathered"
    if shared:
        rows = (
            f"SELECT g.*, h.shared FROM gathered g LEFT JOIN ({_SHARED}) h"
            " ON h.observer = g.observer AND h.part = g.part"
        )
    return f"""
SELECT * REPLACE ({at_nat} AS at_nat),
       CASE WHEN {at_nat} THEN {"TRUE" if simple else _LEG} END AS leg,
       CASE WHEN {at_nat} THEN {_SIDE_NAT} ELSE {_SIDE} END AS side
FROM ({rows})
"""


def _judged(*, simple: bool, packet_ends: bool, instances: bool, gateways: bool) -> str:
    """Return the rows of `sided` with their fate and ends."""
    booked, unoriented, transit = (
        FATE_NUMBERS[fate] for fate in (Fate.BOOKED, Fate.UNORIENTED, Fate.TRANSIT)
    )
    hidden = transit if instances else unoriented
    local_own = f"CASE side WHEN {SOURCE} THEN own_src ELSE own_dst END"
    source, stranger = "sided s", "FALSE"
    if gateways and not simple:
        stranger = "c.remote IS NULL"
        source = f"""sided s LEFT JOIN (
    SELECT DISTINCT part, CASE side WHEN {SOURCE} THEN dst ELSE src END AS remote
    FROM sided WHERE at_nat AND leg
) c ON c.remote = s.src AND c.part = s.part"""
    named = ", ".join(f"s.{name}" for name in GROUPS)
    return f"""
SELECT {named},
    (CASE
    WHEN {bits("kind")} = {REJECT} AND NOT ({simple} AND at_nat) THEN {FATE_NUMBERS[Fate.REJECT]}
    WHEN NOT valid THEN {FATE_NUMBERS[Fate.BROKEN]}
    WHEN at_nat AND NOT {packet_ends} THEN {FATE_NUMBERS[Fate.NO_PACKET_ENDS]}
    WHEN at_nat AND leg THEN CASE WHEN side = {UNTOLD} THEN {unoriented} ELSE {booked} END
    WHEN at_nat AND (own_dst OR (NOT known AND dst_private)) AND NOT own_src AND NOT src_private
        AND {stranger} THEN {FATE_NUMBERS[Fate.UNSOLICITED]}
    WHEN at_nat OR {simple} THEN {FATE_NUMBERS[Fate.CROSS_CHECK]}
    WHEN side = {UNTOLD} THEN {unoriented}
    WHEN role = {ROLE[Role.PASSING]} AND NOT {local_own} THEN {transit}
    WHEN role = {ROLE[Role.FORWARDER]} AND NOT {local_own} AND own_address IS NULL THEN {transit}
    WHEN role = {ROLE[Role.UNKNOWN]} AND translated & side = side AND managed THEN {hidden}
    ELSE {booked} END)::TINYINT AS fate,
    side::TINYINT AS side,
    (CASE WHEN role = {ROLE[Role.FORWARDER]} AND NOT at_nat AND NOT {local_own}
         THEN coalesce(own_address, src)
         WHEN side = {SOURCE} THEN src ELSE dst END)::INTEGER AS local,
    (CASE WHEN side = {SOURCE} THEN dst ELSE src END)::INTEGER AS remote,
    at_nat, translated::TINYINT AS translated
FROM {source}
"""
