"""The rows of a VPC flow log, oriented; the rules are told in `orient`.

The great majority are rows of plain ends that say their direction; all others go to `sided`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from flowcost.sources.code import REJECT, small
from flowcost.sources.knowledge import Face, Index, Role
from flowcost.sources.oriented import (
    DESTINATION,
    FATE_NUMBERS,
    SOURCE,
    UNTOLD,
    Oriented,
    with_ends,
)
from flowcost.sources.report import Fate
from flowcost.sources.sided import Places, sided

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_DIRECTIONS = {"egress": SOURCE, "ingress": DESTINATION}


def vpc(
    con: DuckDBPyConnection, result: Oriented, groups: pa.Table, index: Index, *,
    private: list[bool], simple: bool, packet_ends: bool, instances: bool,
) -> None:  # fmt: skip
    """Enter the table and what else is to be known of the groups of a VPC flow log.

    `groups` are flows and refused ones; `private` says of each address whether it is.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    places, owners = _places(result, index, simple=simple)
    if not owners:
        result.table = _plain(result, groups, places)
        return
    places.own = list(_own(result, index, owners))
    private += [False] * (len(result.packed) - len(private))
    plain = pa.array([number not in owners for number in range(len(places.role))])
    plain = plain.take(groups["context"])
    apart = sided(
        con, result, groups.filter(pc.invert(plain)), places, private=private, simple=simple,
        packet_ends=packet_ends, instances=instances,
    )  # fmt: skip
    result.table = pa.concat_tables([_plain(result, groups.filter(plain), places), apart])


def _places(result: Oriented, index: Index, *, simple: bool) -> tuple[Places, dict[int, Face]]:
    """Return what the contexts are to the rules, and which of them are no plain ends."""
    places, owners = Places(), {}
    observers: dict[str, int] = {}
    for number, context in enumerate(result.grouped.contexts):
        face = index.face(context.observer, context.device, context.device_type)
        places.observer.append(observers.setdefault(context.observer, len(observers)))
        places.role.append(face.role)
        places.direction.append(_DIRECTIONS.get(context.direction, UNTOLD))
        places.known.append(face.addresses_known)
        places.managed.append(context.instance == "")
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


def _plain(result: Oriented, groups: pa.Table, places: Places) -> pa.Table:
    """Return the rows of interfaces that are ends, with a direction."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    side = pa.array(places.direction, pa.int8()).take(groups["context"])
    sends, code = pc.equal(side, SOURCE), groups["code"]
    refused, broken, booked = (
        FATE_NUMBERS[fate] for fate in (Fate.REJECT, Fate.BROKEN, Fate.BOOKED)
    )
    fate = pc.if_else(result.broken(groups), broken, booked)
    return with_ends(
        groups,
        fate=pc.if_else(pc.equal(small("kind", code), REJECT), refused, fate),
        side=side,
        local=pc.if_else(sends, groups["src"], groups["dst"]),
        remote=pc.if_else(sends, groups["dst"], groups["src"]),
        at_nat=False,
        translated=small("translated", code),
    )
