"""Distinct facts become verdicts, meters and rates: plain Python over a few hundred rows.

Enters: the combinations that `ways` found and the ends they refer to. Leaves: what each of them
fires, which `post` looks up for every row, and the verdicts and rates behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date

import pyarrow as pa
from msgspec import Struct

from flowcost.address import Scope
from flowcost.arrays import flat
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
from flowcost.pipeline.codes import coded, distinct
from flowcost.pipeline.numbering import Place
from flowcost.pipeline.observe import Met
from flowcost.pipeline.ways import Between, Ways
from flowcost.pipeline.world import GATEWAY_KINDS, SCOPES, World, identity_at
from flowcost.price.tiers import numerator as rate_numerator

# By `ways`' numbers.
VPC = (VpcRelation.SAME, VpcRelation.OTHER, VpcRelation.UNKNOWN)

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
    world: World,
    met: Met,
    ways: Ways,
    used: Iterable[int],
    price: Price,
    *,
    assume_provider: str = "",
) -> Decisions:
    """Classify and price the combinations that are `used`.

    `price(provider, meter, day)` returns the rate that applies, or None if no book has one.
    """
    decisions = Decisions(fired=[], verdicts={}, rates={}, unpriced={})
    nears, fars = _nears(world, met, ways), _fars(world, met)
    columns = (column.to_pylist() for column in ways.combinations.columns)
    found = [Between(*parts) for parts in zip(*columns, strict=True)]
    for combination in sorted(used):
        between = found[combination]
        near = nears[between.near]
        facts = _facts(between, near, fars[between.far], world, assume_provider)
        _fire(decisions, combination, facts, near.day, price, mirrored=False)
        far = mirror(facts)
        if far is not None:
            _fire(decisions, combination, far, near.day, price, mirrored=True)
    return decisions


def _firsts(ends: pa.Table) -> pa.Table:
    """Return the first end of each class, by class."""
    classes = flat(ends["class"])
    return ends.take(distinct([coded(classes)], len(classes)).firsts)


def _nears(world: World, met: Met, ways: Ways) -> list[Near]:
    contexts, kinds = met.given.contexts, ways.gateways["kind"].to_pylist()
    firsts = _firsts(met.nears)
    manners = contexts.take(flat(firsts["context"])).to_pylist()
    ends = firsts.select(["slot", "place", "scope", "gateway", "at_gateway"]).to_pylist()
    return [
        Near(
            day=met.given.slots[end["slot"]].day,
            direction=Direction(manner["direction"]),
            observer=Position.GATEWAY if end["at_gateway"] else Position.LOCAL,
            place=world.places[end["place"]],
            scope=SCOPES[end["scope"]],
            seen_at=GATEWAY_KINDS[kinds[end["gateway"]]] if end["gateway"] else None,
            traffic_path=manner["traffic_path"],
            next_hop_type=manner["next_hop_type"],
            next_hop_az=manner["next_hop_az_id"],
        )
        for end, manner in zip(ends, manners, strict=True)
    ]


def _fars(world: World, met: Met) -> list[Far]:
    ends = _firsts(met.fars).select(["place", "scope", "family"]).to_pylist()
    return [Far(world.places[end["place"]], SCOPES[end["scope"]], end["family"]) for end in ends]


def _facts(between: Between, near: Near, far: Far, world: World, assume_provider: str) -> Facts:
    place = between.gateway - 1
    return assemble(
        local=identity_at(near.place),
        remote=identity_at(far.place),
        direction=near.direction,
        observer=near.observer,
        family=far.family,
        local_scope=near.scope,
        remote_scope=far.scope,
        vpc=VPC[between.vpc],
        on_one_node=bool(between.on_one_node),
        way=Way(
            seen_at=near.seen_at,
            routed=GATEWAY_KINDS[between.routed],
            device=identity_at(world.places[place]) if place >= 0 else None,
            device_vpc=VpcRelation.OTHER if between.elsewhere else VpcRelation.SAME,
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
