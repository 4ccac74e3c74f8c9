"""Distinct facts become verdicts, meters and rates: plain Python over a few hundred rows.

Enters: `booked` and the traits of both ends. Leaves: `fired`, one row per distinct combination
and meter, which `post` joins back to the rows, and the verdicts and rates behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
from msgspec import Struct

from flowcost.address import Scope
from flowcost.classify import assemble, classify, mirror
from flowcost.classify.facts import Way
from flowcost.content import content_id, remember
from flowcost.model import (
    Direction,
    Facts,
    GatewayKind,
    Meter,
    Position,
    Provenance,
    Rate,
    Verdict,
    VpcRelation,
)
from flowcost.pipeline.numbering import Place
from flowcost.pipeline.ways import Parts, Radix, unpack
from flowcost.pipeline.world import GATEWAY_KINDS, SCOPES, World, create, identity_at
from flowcost.price.tiers import numerator as rate_numerator

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# By the numbers that `ways` packs into a combination.
VPC = (VpcRelation.SAME, VpcRelation.OTHER, VpcRelation.UNKNOWN)
_EPOCH = date(1970, 1, 1)

# Operations of a transit gateway's processing (AWS usage report).
TRANSIT = ("TransitGatewayVPC",)

Price = Callable[[str, Meter, date], Rate | None]


class Fired(Struct, frozen=True):
    """One meter of one combination; `ordinal` 0 carries the flow's bytes.

    `mirrored` meters belong to the far end; `transit` ones are a transit gateway's. A null
    numerator is an unpriced quantity.
    """

    combination: int
    mirrored: bool
    ordinal: int
    provider: str
    path: str
    confidence: str
    verdict_id: int
    direction: str
    usage_type: str
    operation: str
    region: str
    position: str
    leg: str
    provenance: str
    transit: bool
    rate_id: int | None
    numerator: int | None


class Decisions(Struct):
    """What was decided, keyed by content id."""

    fired: list[Fired]
    verdicts: dict[int, tuple[Verdict, Facts]]
    rates: dict[int, Rate]
    unpriced: dict[tuple[str, str, str], int]  # (usage type, operation, region) without a rate


class Near(Struct, frozen=True):
    """What a verdict can depend on at the local end and its sensor."""

    day: date
    direction: Direction
    observer: Position
    place: Place
    scope: Scope
    seen_at: GatewayKind | None
    traffic_path: int
    next_hop_type: str
    next_hop_az: str


class Far(Struct, frozen=True):
    """What a verdict can depend on at the remote end."""

    place: Place
    scope: Scope
    family: int


def decide(
    con: DuckDBPyConnection, world: World, radix: Radix, price: Price, *, assume_provider: str = ""
) -> Decisions:
    """Classify and price every distinct combination of `booked`; create `fired`.

    `price(provider, meter, day)` returns the rate that applies, or None if no book has one.
    """
    decisions = Decisions(fired=[], verdicts={}, rates={}, unpriced={})
    nears, fars = _nears(con, world), _fars(con, world)
    rows = con.execute(
        "SELECT DISTINCT combination FROM booked WHERE counts ORDER BY ALL"
    ).fetchall()
    for (combination,) in rows:
        parts = unpack(combination, radix)
        near = nears[parts.near_class]
        facts = _facts(parts, near, fars[parts.far_class], world, assume_provider)
        _fire(decisions, combination, facts, near.day, price, mirrored=False)
        far = mirror(facts)
        if far is not None:
            _fire(decisions, combination, far, near.day, price, mirrored=True)
    numbers = pa.array(range(len(decisions.fired)), pa.int32())
    create(con, "fired", {"fired_no": numbers, **_columns(decisions.fired)})
    return decisions


def _nears(con: DuckDBPyConnection, world: World) -> dict[int, Near]:
    manners = {
        row[0]: row[1:]
        for row in con.execute(
            "SELECT DISTINCT manner, direction, at_gateway, traffic_path, next_hop_type,"
            " next_hop_az_id FROM contexts"
        ).fetchall()
    }
    found = {}
    for number, traits in con.execute("SELECT class, traits FROM nears_classes").fetchall():
        direction, at_gateway, traffic_path, *hop = manners[traits >> 28 & 0xFFFF]
        found[number] = Near(
            day=_EPOCH + timedelta(days=traits >> 44),
            direction=Direction(direction),
            observer=Position.GATEWAY if at_gateway else Position.LOCAL,
            place=world.places[traits >> 8 & 0xFFFFF],
            scope=SCOPES[traits >> 5 & 7],
            seen_at=GATEWAY_KINDS[(traits & 31) - 1] if traits & 31 else None,
            traffic_path=traffic_path,
            next_hop_type=hop[0],
            next_hop_az=hop[1],
        )
    return found


def _fars(con: DuckDBPyConnection, world: World) -> dict[int, Far]:
    rows = con.execute("SELECT class, traits FROM fars_classes").fetchall()
    return {
        number: Far(world.places[traits >> 8], SCOPES[traits >> 5 & 7], traits & 31)
        for number, traits in rows
    }


def _facts(parts: Parts, near: Near, far: Far, world: World, assume_provider: str) -> Facts:
    place = parts.gateway_place
    return assemble(
        local=identity_at(near.place),
        remote=identity_at(far.place),
        direction=near.direction,
        observer=near.observer,
        family=far.family,
        local_scope=near.scope,
        remote_scope=far.scope,
        vpc=VPC[parts.vpc],
        on_one_node=parts.on_one_node,
        way=Way(
            seen_at=near.seen_at,
            routed=parts.routed,
            device=identity_at(world.places[place]) if place >= 0 else None,
            device_vpc=VpcRelation.OTHER if parts.gateway_elsewhere else VpcRelation.SAME,
            traffic_path=near.traffic_path,
            next_hop_type=near.next_hop_type,
            next_hop_az=near.next_hop_az,
        ),
        assume_provider=assume_provider,
    )


def _fire(
    decisions: Decisions,
    combination: int,
    facts: Facts,
    day: date,
    price: Price,
    *,
    mirrored: bool,
) -> None:
    verdict = classify(facts, day)
    if mirrored and not verdict.meters:
        return  # nothing follows for the far end
    verdict_id = content_id((verdict, facts))
    decisions.verdicts[verdict_id] = (verdict, facts)
    for ordinal, (meter, numerator, rate) in enumerate(_priced(verdict, facts, day, price)):
        rate_id = remember(decisions.rates, rate) if rate is not None else None
        if numerator is None and meter is not None and meter.usage_type:
            key = (meter.usage_type, meter.operation, meter.region)
            decisions.unpriced[key] = decisions.unpriced.get(key, 0) + 1
        provenance = _provenance(verdict, meter, facts, mirrored=mirrored)
        decisions.fired.append(
            Fired(
                combination=combination,
                mirrored=mirrored,
                ordinal=ordinal,
                provider=facts.provider,
                path=verdict.path,
                confidence=verdict.confidence,
                verdict_id=verdict_id,
                direction=facts.direction,
                usage_type=meter.usage_type if meter else "",
                operation=meter.operation if meter else "",
                region=meter.region if meter else facts.local_region,
                position=meter.at if meter else Position.LOCAL,
                leg=meter.leg if meter and meter.usage_type else "",
                provenance=provenance,
                transit=meter is not None and meter.operation in TRANSIT,
                rate_id=rate_id,
                numerator=numerator,
            )
        )


def _priced(
    verdict: Verdict, facts: Facts, day: date, price: Price
) -> Iterator[tuple[Meter | None, int | None, Rate | None]]:
    """Yield (meter, numerator, rate); one free or unpriced line where no meter fires."""
    if not verdict.meters:
        yield None, (0 if verdict.priced else None), None
    for meter in verdict.meters:
        rate = price(facts.provider, meter, day) if meter.usage_type else None
        yield meter, (rate_numerator(rate) if rate else None), rate


def _provenance(
    verdict: Verdict, meter: Meter | None, facts: Facts, *, mirrored: bool
) -> Provenance:
    if mirrored:
        return Provenance.IMPLIED
    if meter is None:
        return Provenance.OBSERVED
    return verdict.provenance(meter, facts.observer)


def _columns(fired: list[Fired]) -> dict[str, pa.Array]:
    types = {int: pa.int64(), bool: pa.bool_(), str: pa.string()}
    columns = {}
    for field in msgspec.structs.fields(Fired):
        values = [getattr(row, field.name) for row in fired]
        if field.name == "numerator":
            exact = [None if value is None else Decimal(value) for value in values]
            columns[field.name] = pa.array(exact, pa.decimal128(38, 0))
            continue
        special = {"rate_id": pa.int64(), "combination": pa.int64()}
        kind = special.get(field.name) or types[field.type]
        columns[field.name] = pa.array(
            [str(value) if kind == pa.string() else value for value in values], kind
        )
    return columns
