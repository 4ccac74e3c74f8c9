"""The rows of a VPC flow log, oriented; the rules are told in `orient`."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowcost.sources.code import FLOW, REJECT, bits
from flowcost.sources.knowledge import Face, Index, Role
from flowcost.sources.nat_like import nat_like
from flowcost.sources.oriented import (
    DESTINATION,
    FATE_NUMBERS,
    SOURCE,
    UNTOLD,
    Oriented,
    register_addresses,
)
from flowcost.sources.report import Fate

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

KIND, PART_NO, TRANSLATED = bits("kind"), bits("part"), bits("translated")
_DIRECTIONS = {"egress": SOURCE, "ingress": DESTINATION}


@dataclass
class _Places:
    """Contexts as the query needs them, one list per column of the table `contexts`."""

    role: list[str] = field(default_factory=list)
    direction: list[int] = field(default_factory=list)
    known: list[bool] = field(default_factory=list)
    managed: list[bool] = field(default_factory=list)  # the record says: no instance
    owner: list[int] = field(default_factory=list)
    primary: list[int | None] = field(default_factory=list)


def _places(result: Oriented, index: Index, *, simple: bool) -> tuple[_Places, dict[int, Face]]:
    places, owners = _Places(), {}
    for number, context in enumerate(result.grouped.contexts):
        face = index.face(context.observer, context.device, context.device_type)
        places.role.append(face.role.value)
        places.direction.append(_DIRECTIONS.get(context.direction, UNTOLD))
        places.known.append(face.addresses_known)
        places.managed.append(context.instance == "")
        places.owner.append(number)
        primary = None
        if face.role is Role.FORWARDER and face.primary is not None:
            primary = len(result.packed)
            result.packed.append(face.primary)
        places.primary.append(primary)
        at_nat = face.role in (Role.NAT, Role.REGIONAL_NAT)
        result.via.append((face.gateway or context.observer) if at_nat else "")
        result.at_gateway.append(at_nat)
        if simple or face.role is not Role.END or places.direction[-1] == UNTOLD:
            owners[number] = face
    return places, owners


def _own(result: Oriented, index: Index, owners: dict[int, Face]) -> Iterator[tuple[int, int]]:
    """Yield (context, address) where the address is the interface's or gateway's own."""
    if not owners:
        return
    position = {address: n for n, address in enumerate(result.packed) if address is not None}
    again: dict[bytes, list[int]] = {}
    if len(position) + result.packed.count(None) < len(result.packed):
        # An address is there twice: in two spellings, or added as a forwarder's primary one.
        for n, address in enumerate(result.packed):
            if address is not None and position[address] != n:
                again.setdefault(address, []).append(n)
    ordered: list[bytes] = []
    for number, face in owners.items():
        for first, last in _blocks(index, face, result.grouped.contexts[number].observer):
            found = [first] if first in position else []
            if first != last:
                ordered = ordered or sorted(position)
                found = ordered[bisect_left(ordered, first) : bisect_right(ordered, last)]
            for address in found:
                yield number, position[address]
                yield from ((number, other) for other in again.get(address, ()))


def _blocks(index: Index, face: Face, observer: str) -> Iterable[tuple[bytes, bytes]]:
    """Return (first, last) of the addresses that are an interface's or gateway's own."""
    if face.gateway:
        gateway = index.gateway_of.get(face.gateway)
        return [(address, address) for address in gateway.addresses] if gateway else ()
    interface = index.interface_of.get(observer)
    return interface.blocks if interface else ()


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
    WHEN role = '{Role.REGIONAL_NAT}' THEN src_private <> dst_private
    ELSE translated <> 0 END"""

# The one address that every undirected row of an interface in a file has, if exactly one does.
_SHARED = f"""
WITH undirected AS (
    SELECT g.src, g.dst, {PART_NO} AS part, c.observer, row_number() OVER () AS id
    FROM groups g JOIN contexts c ON c.id = g.context
    WHERE c.direction = {UNTOLD} AND NOT c.at_nat AND {KIND} IN ({FLOW}, {REJECT})
),
candidates AS (
    SELECT part, observer, address, count(DISTINCT id) AS times
    FROM (SELECT id, part, observer, unnest([src, dst]) AS address FROM undirected) GROUP BY ALL
),
totals AS (SELECT part, observer, count(*) AS total FROM undirected GROUP BY ALL)
SELECT part, observer, CASE WHEN count(*) = 1 THEN min(address) END AS shared
FROM candidates JOIN totals USING (part, observer) WHERE times = total GROUP BY ALL
"""


def create_vpc(
    con: DuckDBPyConnection, result: Oriented, index: Index, *, private: list[bool], simple: bool,
    packet_ends: bool, instances: bool,
) -> None:  # fmt: skip
    """Create the table `oriented` from the groups of a VPC flow log."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    places, owners = _places(result, index, simple=simple)
    own = list(_own(result, index, owners))
    observers: dict[str, int] = {}
    numbered = [observers.setdefault(c.observer, len(observers)) for c in result.grouped.contexts]
    private += [False] * (len(result.packed) - len(private))
    register_addresses(con, result, private)
    con.register(
        "contexts",
        pa.table(
            {
                "id": pa.array(places.owner, pa.int32()),
                "observer": pa.array(numbered, pa.int32()),
                "role": pa.array(places.role, pa.string()),
                "direction": pa.array(places.direction, pa.int8()),
                "known": pa.array(places.known, pa.bool_()),
                "managed": pa.array(places.managed, pa.bool_()),
                "own_address": pa.array(places.primary, pa.int32()),
                "at_nat": pa.array(result.at_gateway, pa.bool_()),
                "plain": pa.array([n not in owners for n in places.owner], pa.bool_()),
            }
        ),
    )
    con.register(
        "own",
        pa.table(
            {
                "context": pa.array([context for context, _ in own], pa.int32()),
                "address": pa.array([address for _, address in own], pa.int32()),
            }
        ),
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE oriented AS {_plain(result)}")
    if owners:
        con.execute(f"CREATE OR REPLACE TEMP TABLE sided AS {_sided(simple=simple)}")
        query = _judged(simple=simple, packet_ends=packet_ends, instances=instances)
        con.execute(f"INSERT INTO oriented BY NAME {query}")
        if packet_ends and instances and not simple:
            result.nat_like = nat_like(con, result.grouped.contexts)
    for name in ("contexts", "own", "addresses"):
        con.unregister(name)


def _plain(result: Oriented) -> str:
    """Return the rows of interfaces that are ends, with a direction: the great majority."""
    bad = [n for n, address in enumerate(result.packed) if address is None]
    broken = "FALSE"
    if bad:
        listed = ", ".join(map(str, bad))
        broken = f"g.src IN ({listed}) OR g.dst IN ({listed})"
    refused, bad_end, booked = (
        FATE_NUMBERS[fate] for fate in (Fate.REJECT, Fate.BROKEN, Fate.BOOKED)
    )
    return f"""
SELECT g.*, CASE WHEN {KIND} = {REJECT} THEN {refused}
            WHEN {broken} THEN {bad_end} ELSE {booked} END AS fate,
       c.direction AS side,
       CASE c.direction WHEN {SOURCE} THEN g.src ELSE g.dst END AS local,
       CASE c.direction WHEN {SOURCE} THEN g.dst ELSE g.src END AS remote,
       FALSE AS at_nat, {TRANSLATED} AS translated
FROM groups g JOIN contexts c ON c.id = g.context
WHERE c.plain AND {KIND} IN ({FLOW}, {REJECT})
"""


def _sided(*, simple: bool) -> str:
    at_nat = "translated <> 0" if simple else "at_nat"
    return f"""
WITH shared AS ({_SHARED}),
rows AS (
    SELECT g.*, {PART_NO} AS part, {TRANSLATED} AS translated,
           c.observer, c.role, c.direction, c.known, c.managed, c.own_address, c.at_nat, h.shared,
           s.valid AND d.valid AS valid, s.private AS src_private, d.private AS dst_private,
           own_src.context IS NOT NULL AS own_src, own_dst.context IS NOT NULL AS own_dst
    FROM groups g JOIN contexts c ON c.id = g.context
    JOIN addresses s ON s.id = g.src JOIN addresses d ON d.id = g.dst
    LEFT JOIN own own_src ON own_src.context = g.context AND own_src.address = g.src
    LEFT JOIN own own_dst ON own_dst.context = g.context AND own_dst.address = g.dst
    LEFT JOIN shared h ON h.observer = c.observer AND h.part = {PART_NO}
    WHERE NOT c.plain AND {KIND} IN ({FLOW}, {REJECT})
)
SELECT * REPLACE ({at_nat} AS at_nat),
       CASE WHEN {at_nat} THEN {"TRUE" if simple else _LEG} END AS leg,
       CASE WHEN {at_nat} THEN {_SIDE_NAT} ELSE {_SIDE} END AS side
FROM rows
"""


def _judged(*, simple: bool, packet_ends: bool, instances: bool) -> str:
    """Return the rows of `sided` with their fate and ends."""
    booked, unoriented, transit = (
        FATE_NUMBERS[fate] for fate in (Fate.BOOKED, Fate.UNORIENTED, Fate.TRANSIT)
    )
    hidden = transit if instances else unoriented
    local_own = f"CASE side WHEN {SOURCE} THEN own_src ELSE own_dst END"
    return f"""
WITH clients AS (
    SELECT DISTINCT part, CASE side WHEN {SOURCE} THEN dst ELSE src END AS remote
    FROM sided WHERE at_nat AND leg
)
SELECT s.src, s.dst, s.context, s.code, s.moment, s.bytes, s.packets, s.rows, s.seconds,
    s.translated, s.at_nat, s.side,
    CASE
    WHEN {KIND} = {REJECT} AND NOT ({simple} AND at_nat) THEN {FATE_NUMBERS[Fate.REJECT]}
    WHEN NOT valid THEN {FATE_NUMBERS[Fate.BROKEN]}
    WHEN at_nat AND NOT {packet_ends} THEN {FATE_NUMBERS[Fate.NO_PACKET_ENDS]}
    WHEN at_nat AND leg THEN CASE WHEN side = {UNTOLD} THEN {unoriented} ELSE {booked} END
    WHEN at_nat AND (own_dst OR (NOT known AND dst_private)) AND NOT own_src AND NOT src_private
        AND c.remote IS NULL THEN {FATE_NUMBERS[Fate.UNSOLICITED]}
    WHEN at_nat OR {simple} THEN {FATE_NUMBERS[Fate.CROSS_CHECK]}
    WHEN side = {UNTOLD} THEN {unoriented}
    WHEN role = '{Role.PASSING}' AND NOT {local_own} THEN {transit}
    WHEN role = '{Role.FORWARDER}' AND NOT {local_own} AND own_address IS NULL THEN {transit}
    WHEN role = '{Role.UNKNOWN}' AND translated & side = side AND managed THEN {hidden}
    ELSE {booked} END AS fate,
    CASE WHEN role = '{Role.FORWARDER}' AND NOT at_nat AND NOT {local_own}
         THEN coalesce(own_address, src)
         WHEN side = {SOURCE} THEN src ELSE dst END AS local,
    CASE WHEN side = {SOURCE} THEN dst ELSE src END AS remote
FROM sided s LEFT JOIN clients c ON c.remote = s.src AND c.part = s.part
"""
