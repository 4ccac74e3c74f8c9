"""Which end of a row is the observed one, and whether the row is booked (laws 3 and 4).

An interface's row is oriented to the interface: by flow-direction, else by which address is the
interface's, else by which end was translated to its primary address, else by the one address all
its rows share, else by private against public. The ends are those in the packet (pkt-srcaddr,
pkt-dstaddr), since the logged ones show the primary address of the interface only.

A NAT gateway logs every flow on both its sides. The row of the client's leg is the one in which
neither packet address is one of the gateway's own; it is oriented to the private client. Where
the gateway's addresses are not known, a zonal gateway's client leg is the translated row, and a
regional gateway's the row between a private and a public address. What reaches the gateway from
an address no client of the same file talks to is unsolicited.

A transit gateway logs every flow where it enters and where it leaves; the sender's side is
booked, except at a peering attachment (the sender's own gateway has charged it).

An interface that only passes packets on (a transit gateway's, a gateway load balancer's) is no
end, and its rows are a second sight. An instance that forwards is billed as an end of its own on
both sides, so there the interface's own address stands for the packet's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pyarrow as pa

from flowcost.address import Scope, pack, scope
from flowcost.sources.aggregate import CODE, FLOW, REJECT
from flowcost.sources.knowledge import Face, Index, Role
from flowcost.sources.report import Fate

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_KNOWN_ADDRESSES: dict[str, tuple[bytes, bool] | None] = {}
_MOST_KNOWN = 300_000


def _packed(text: str) -> tuple[bytes, bool] | None:
    """Return the 16 bytes of an address and whether it is private; None if it is no address."""
    try:
        address = pack(text)
    except ValueError:
        return None
    return address, scope(address) is Scope.PRIVATE


def create_addresses(con: DuckDBPyConnection) -> None:
    """Create the table `addresses`: text, 16 bytes, private; texts that are none are left out."""
    texts = con.sql(
        f"SELECT DISTINCT unnest([src, dst]) AS text FROM groups WHERE code & 7 IN ({FLOW}, {REJECT})"
    ).to_arrow_table()["text"]
    if len(_KNOWN_ADDRESSES) > _MOST_KNOWN:
        _KNOWN_ADDRESSES.clear()
    known = _KNOWN_ADDRESSES
    names, packed, private = [], [], []
    for text in texts.to_pylist():
        found = known.get(text, 0)
        if found == 0:
            found = known[text] = _packed(text)
        if found:
            names.append(text)
            packed.append(found[0])
            private.append(found[1])
    table = pa.table(
        {
            "text": pa.array(names, pa.string()),
            "packed": pa.array(packed, pa.binary()),
            "private": pa.array(private, pa.bool_()),
        }
    )
    con.register("addresses_found", table)
    con.execute("CREATE OR REPLACE TEMP TABLE addresses AS FROM addresses_found")
    con.unregister("addresses_found")


def create_faces(con: DuckDBPyConnection, index: Index) -> None:
    """Create the table `faces`: what each observed interface is."""
    found = con.execute(
        "SELECT DISTINCT observer, device, device_type FROM groups"
        f" WHERE code & 7 IN ({FLOW}, {REJECT})"
    ).fetchall()
    faces = [index.face(*row) for row in found]
    observers, devices, types = ([row[n] for row in found] for n in range(3))
    table = pa.table(
        {
            "observer": pa.array(observers, pa.string()),
            "device": pa.array(devices, pa.string()),
            "device_type": pa.array(types, pa.string()),
            "role": pa.array([face.role.value for face in faces], pa.string()),
            "gateway": pa.array([face.gateway for face in faces], pa.string()),
            "addresses_known": pa.array([face.addresses_known for face in faces], pa.bool_()),
            "primary_address": pa.array([face.primary for face in faces], pa.binary()),
        }
    )
    con.register("faces_found", table)
    con.execute("CREATE OR REPLACE TEMP TABLE faces AS FROM faces_found")
    con.unregister("faces_found")


def create_own(con: DuckDBPyConnection, index: Index) -> None:
    """Create `own` and `own_blocks`, once per connection: addresses by gateway and interface id."""
    single: list[tuple[str, bytes]] = []
    blocks: list[tuple[str, bytes, bytes]] = []
    for gateway in index.knowledge.gateways:
        single.extend((gateway.id, address) for address in sorted(gateway.addresses))
    for interface in index.knowledge.interfaces:
        for first, last in interface.blocks:
            if first == last:
                single.append((interface.id, first))
            else:
                blocks.append((interface.id, first, last))
    _create(con, "own", ("owner", "address"), list(dict.fromkeys(single)))
    _create(con, "own_blocks", ("owner", "first", "last"), list(dict.fromkeys(blocks)))


def _create(
    con: DuckDBPyConnection, name: str, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]
) -> None:
    rows = list(rows)
    types = (pa.string(), *(pa.binary() for _ in columns[1:]))
    table = pa.table(
        {
            column: pa.array([row[n] for row in rows], kind)
            for n, (column, kind) in enumerate(zip(columns, types, strict=True))
        }
    )
    con.register("rows_given", table)
    con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS FROM rows_given")
    con.unregister("rows_given")


def _bits(name: str) -> str:
    first, width = CODE[name]
    return f"((code >> {first}) & {(1 << width) - 1})"


_ENDS = f"""
CREATE OR REPLACE TEMP TABLE ends AS
SELECT g.*, code & 7 AS kind, {_bits("translated")} AS translated,
       coalesce(f.role, '{Role.END}') AS role, coalesce(f.gateway, '') AS gateway,
       coalesce(f.addresses_known, FALSE) AS addresses_known, f.primary_address,
       s.packed AS src_address, s.private AS src_private,
       d.packed AS dst_address, d.private AS dst_private
FROM groups g
LEFT JOIN faces f USING (observer, device, device_type)
LEFT JOIN addresses s ON s.text = g.src
LEFT JOIN addresses d ON d.text = g.dst
WHERE code & 7 IN ({FLOW}, {REJECT})
"""

_NAT = f"role IN ('{Role.NAT}', '{Role.REGIONAL_NAT}')"
_SLOW = f"(role NOT IN ('{Role.END}', '{Role.UNKNOWN}') OR direction NOT IN ('ingress', 'egress'))"


def _owned(end: str, *, blocks: bool) -> str:
    """Return the condition that an address is one of its gateway's or interface's own."""
    condition = f"own_{end}.owner IS NOT NULL"
    if blocks:
        condition += (
            f" OR EXISTS (SELECT 1 FROM own_blocks b WHERE b.owner = e.owner"
            f" AND e.{end}_address BETWEEN b.first AND b.last)"
        )
    return f"({condition})"


def _slow(*, blocks: bool) -> str:
    """Return rows whose orientation needs the inventory or the other rows of the interface."""
    return f"""
WITH e AS (
    SELECT rowid AS id, *, CASE WHEN {_NAT} THEN gateway ELSE observer END AS owner
    FROM ends WHERE {_SLOW}
),
undirected AS (SELECT * FROM e WHERE direction NOT IN ('ingress', 'egress') AND NOT {_NAT}),
candidates AS (
    SELECT observer, text, count(DISTINCT id) AS times
    FROM (SELECT id, observer, unnest([src, dst]) AS text FROM undirected) GROUP BY ALL
),
totals AS (SELECT observer, count(*) AS total FROM undirected GROUP BY ALL),
shared AS (
    SELECT observer, CASE WHEN count(*) = 1 THEN min(text) END AS shared
    FROM candidates JOIN totals USING (observer) WHERE times = total GROUP BY ALL
)
SELECT e.* EXCLUDE (id, owner), {_owned("src", blocks=blocks)} AS own_src,
       {_owned("dst", blocks=blocks)} AS own_dst, shared.shared
FROM e
LEFT JOIN own own_src ON own_src.owner = e.owner AND own_src.address = e.src_address
LEFT JOIN own own_dst ON own_dst.owner = e.owner AND own_dst.address = e.dst_address
LEFT JOIN shared ON shared.observer = e.observer
"""


_FAST = f"""
SELECT *, FALSE AS own_src, FALSE AS own_dst, NULL::VARCHAR AS shared FROM ends WHERE NOT {_SLOW}
"""

_NAT_LEG = f"""CASE
    WHEN addresses_known THEN NOT own_src AND NOT own_dst
    WHEN role = '{Role.REGIONAL_NAT}' THEN src_private <> dst_private
    ELSE translated <> 0 END"""

# 1: the observed end, or the client, is the source; 2: the destination; 0: cannot be told.
_NAT_SIDE = """CASE
    WHEN translated = 2 THEN 1 WHEN translated = 1 THEN 2
    WHEN src_private AND NOT dst_private THEN 1 WHEN dst_private AND NOT src_private THEN 2
    WHEN direction = 'ingress' THEN 1 WHEN direction = 'egress' THEN 2 ELSE 0 END"""
_SIDE = """CASE
    WHEN direction = 'egress' THEN 1 WHEN direction = 'ingress' THEN 2
    WHEN own_src AND NOT own_dst THEN 1 WHEN own_dst AND NOT own_src THEN 2
    WHEN translated = 1 THEN 1 WHEN translated = 2 THEN 2
    WHEN shared = src AND shared <> dst THEN 1 WHEN shared = dst AND shared <> src THEN 2
    WHEN src_private AND NOT dst_private THEN 1 WHEN dst_private AND NOT src_private THEN 2
    ELSE 0 END"""


def orient_vpc(
    con: DuckDBPyConnection, index: Index, *, nat_filter: str, packet_ends: bool, instances: bool
) -> None:
    """Create the table `oriented` from `groups` of VPC flow logs.

    Args:
        con: connection with the tables `groups` and `own`.
        index: what the inventory knows.
        nat_filter: `leg`, or `simple`: every translated row of any interface and action is a
            client's leg and nothing else is booked, as the bare comparison of addresses has it.
        packet_ends: the format has pkt-srcaddr and pkt-dstaddr.
        instances: the format has instance-id.
    """
    create_addresses(con)
    create_faces(con, index)
    con.execute(_ENDS)
    blocks = bool(con.execute("SELECT 1 FROM own_blocks LIMIT 1").fetchall())
    slow = con.execute(f"SELECT 1 FROM ends WHERE {_SLOW} LIMIT 1").fetchall()
    rows = f"{_FAST} UNION ALL BY NAME ({_slow(blocks=blocks)})" if slow else _FAST
    simple = nat_filter == "simple"
    nat = "translated <> 0" if simple else _NAT
    con.execute(f"""
CREATE OR REPLACE TEMP TABLE sided AS
SELECT *, {nat} AS at_nat, CASE WHEN {nat} THEN {"TRUE" if simple else _NAT_LEG} END AS leg,
       CASE WHEN {nat} THEN {_NAT_SIDE} ELSE {_SIDE} END AS side
FROM ({rows})
""")
    local_own = "CASE side WHEN 1 THEN own_src ELSE own_dst END"
    local_translated = "translated & side = side"
    con.execute(f"""
CREATE OR REPLACE TEMP TABLE oriented AS
WITH talked AS (
    SELECT DISTINCT gateway, CASE side WHEN 1 THEN dst ELSE src END AS remote
    FROM sided WHERE at_nat AND leg
)
SELECT s.*, CASE
    WHEN kind = {REJECT} AND NOT ({simple} AND at_nat) THEN '{Fate.REJECT}'
    WHEN src_address IS NULL OR dst_address IS NULL THEN '{Fate.BROKEN}'
    WHEN at_nat AND NOT {packet_ends} THEN '{Fate.NO_PACKET_ENDS}'
    WHEN at_nat AND leg THEN CASE WHEN side > 0 THEN '{Fate.BOOKED}' ELSE '{Fate.UNORIENTED}' END
    WHEN at_nat THEN CASE
        WHEN (own_dst OR (NOT addresses_known AND dst_private)) AND NOT own_src
            AND NOT src_private AND NOT EXISTS (
                SELECT 1 FROM talked t WHERE t.gateway = s.gateway AND t.remote = s.src)
        THEN '{Fate.UNSOLICITED}' ELSE '{Fate.CROSS_CHECK}' END
    WHEN {simple} THEN '{Fate.CROSS_CHECK}'
    WHEN side = 0 THEN '{Fate.UNORIENTED}'
    WHEN role = '{Role.PASSING}' AND NOT {local_own} THEN '{Fate.TRANSIT}'
    WHEN role = '{Role.FORWARDER}' AND NOT {local_own} AND primary_address IS NULL
        THEN '{Fate.TRANSIT}'
    WHEN role = '{Role.UNKNOWN}' AND {local_translated} AND instance IN ('', '-')
        THEN CASE WHEN {instances} THEN '{Fate.TRANSIT}' ELSE '{Fate.UNORIENTED}' END
    ELSE '{Fate.BOOKED}' END AS fate,
    CASE WHEN role = '{Role.FORWARDER}' AND NOT {local_own} THEN primary_address
         WHEN side = 1 THEN src_address ELSE dst_address END AS local_address,
    CASE WHEN side = 1 THEN dst_address ELSE src_address END AS remote_address,
    CASE WHEN at_nat THEN 'gateway' ELSE 'interface' END AS observer_type,
    CASE WHEN at_nat THEN coalesce(nullif(gateway, ''), observer) ELSE '' END AS via,
    CASE WHEN at_nat THEN '' ELSE observer END AS local_uid
FROM sided s
""")


def orient_tgw(con: DuckDBPyConnection, index: Index) -> None:
    """Create the table `oriented` from `groups` of transit gateway flow logs."""
    create_addresses(con)
    peering = ", ".join(
        "'" + attachment.replace("'", "''") + "'"
        for attachment in sorted(index.knowledge.peering_attachments)
    )
    at_peering = f"observer IN ({peering})" if peering else "FALSE"
    con.execute(f"""
CREATE OR REPLACE TEMP TABLE oriented AS
SELECT g.*, FALSE AS at_nat, 0 AS translated, 1 AS side, CASE
    WHEN s.packed IS NULL OR d.packed IS NULL THEN '{Fate.BROKEN}'
    WHEN direction = 'egress' OR {at_peering} THEN '{Fate.CROSS_CHECK}'
    WHEN direction = 'ingress' THEN '{Fate.BOOKED}'
    ELSE '{Fate.UNORIENTED}' END AS fate,
    s.packed AS local_address, d.packed AS remote_address,
    'tgw_attachment' AS observer_type, device AS via, '' AS local_uid
FROM groups g
LEFT JOIN addresses s ON s.text = g.src
LEFT JOIN addresses d ON d.text = g.dst
WHERE code & 7 = {FLOW}
""")
