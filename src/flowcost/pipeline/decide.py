"""Distinct facts become verdicts, meters and rates: plain Python over a few hundred rows.

Enters: `booked`. Leaves: `verdicts` and `rates` (schema tables) and `fired`, one row per distinct
combination and meter, which `post` joins back to the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
from msgspec import Struct

from flowcost.classify import assemble, classify, mirror
from flowcost.classify.facts import Way
from flowcost.content import content_id, remember
from flowcost.errors import FlowcostError
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
from flowcost.pipeline.world import SCOPES, World, create, identity_at
from flowcost.price.tiers import numerator as rate_numerator

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Everything a verdict can depend on, and nothing else: these columns span the combinations.
COMBINATION = (
    "day",
    "direction",
    "at_gateway",
    "family",
    "local_place",
    "remote_place",
    "local_scope",
    "remote_scope",
    "vpc",
    "on_one_node",
    "seen_at",
    "routed",
    "gateway_place",
    "gateway_vpc",
    "traffic_path",
    "next_hop_type",
    "next_hop_az_id",
)

# Rows carry a hash of these columns; a second hash proves that no two combinations share one.
KEY = f"hash({', '.join(COMBINATION)})"
COMBINE = f"""
CREATE OR REPLACE TEMP TABLE combinations AS
SELECT {KEY} AS combination, {", ".join(f"any_value({name}) AS {name}" for name in COMBINATION)},
       min(hash('check', {", ".join(COMBINATION)})) <> max(hash('check', {", ".join(COMBINATION)}))
           AS collided
FROM booked WHERE counts GROUP BY 1
"""

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


def decide(
    con: DuckDBPyConnection, world: World, price: Price, *, assume_provider: str = ""
) -> Decisions:
    """Classify and price every distinct combination of `booked`; create `fired`.

    `price(provider, meter, day)` returns the rate that applies, or None if no book has one.
    """
    con.execute(COMBINE)
    decisions = Decisions(fired=[], verdicts={}, rates={}, unpriced={})
    names = ("combination", *COMBINATION)
    rows = con.execute(
        f"SELECT {', '.join(names)}, collided FROM combinations ORDER BY combination"
    ).fetchall()
    if any(row[-1] for row in rows):
        raise FlowcostError(
            "two different combinations of facts share a hash", hint="run the hours one by one"
        )
    for row in rows:
        values = dict(zip(names, row, strict=False))
        facts = _facts(values, world, assume_provider)
        day = values["day"]
        _fire(decisions, values["combination"], facts, day, price, mirrored=False)
        far = mirror(facts)
        if far is not None:
            _fire(decisions, values["combination"], far, day, price, mirrored=True)
    numbers = pa.array(range(len(decisions.fired)), pa.int32())
    create(con, "fired", {"fired_no": numbers, **_columns(decisions.fired)})
    return decisions


def _facts(values: dict[str, Any], world: World, assume_provider: str) -> Facts:
    place = values["gateway_place"]
    return assemble(
        local=identity_at(world.places[values["local_place"]]),
        remote=identity_at(world.places[values["remote_place"]]),
        direction=Direction(values["direction"]),
        observer=Position.GATEWAY if values["at_gateway"] else Position.LOCAL,
        family=values["family"],
        local_scope=SCOPES[values["local_scope"]],
        remote_scope=SCOPES[values["remote_scope"]],
        vpc=VpcRelation(values["vpc"]),
        on_one_node=values["on_one_node"],
        way=Way(
            seen_at=GatewayKind(values["seen_at"]) if values["seen_at"] else None,
            routed=GatewayKind(values["routed"]),
            device=identity_at(world.places[place]) if place >= 0 else None,
            device_vpc=VpcRelation(values["gateway_vpc"]),
            traffic_path=values["traffic_path"],
            next_hop_type=values["next_hop_type"],
            next_hop_az=values["next_hop_az_id"],
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
        special = {"rate_id": pa.int64(), "combination": pa.uint64()}
        kind = special.get(field.name) or types[field.type]
        columns[field.name] = pa.array(
            [str(value) if kind == pa.string() else value for value in values], kind
        )
    return columns
