"""Gateways and routes over time: merged by id, and flattened by longest prefix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec.structs import replace

from flowcost.model import GatewayKind
from flowcost.resolve import PRECEDENCE, Gateway, Layer, Route
from flowcost.resolve.flatten import Block, blocks, following, spans
from flowcost.resolve.merge import Ranked, chain, identity_of, values_of

_Known = tuple[int, Gateway]
# Everything of a route but its scope; many subnets share one table.
_Hop = tuple[int, int, GatewayKind, str, bytes, bytes, datetime, datetime]


def flat_gateways(layers: Sequence[Layer]) -> tuple[Gateway, ...]:
    """Return gateways disjoint in time per id; sources that know one gateway add up.

    Attributes are filled as those of addresses are; own addresses and interfaces are united.
    """
    known: dict[str, list[_Known]] = {}
    for layer in layers:
        for gateway in layer.gateways:
            position = PRECEDENCE.index(layer.source)
            known.setdefault(gateway.id, []).append((position, gateway))
    return tuple(merged for _, same in sorted(known.items()) for merged in _merged_gateways(same))


def _merged_gateways(same: list[_Known]) -> Iterator[Gateway]:
    for span in spans(same, lambda one: (one[1].valid_from, one[1].valid_to)):
        claims = [Ranked((0, rank), values_of(one.identity)) for rank, one in span.covering]
        kinds = sorted(
            (rank, one.kind) for rank, one in span.covering if one.kind is not GatewayKind.UNKNOWN
        )
        yield Gateway(
            kind=kinds[0][1] if kinds else GatewayKind.UNKNOWN,
            identity=identity_of(chain(claims).values),
            addresses=frozenset().union(*(one.addresses for _, one in span.covering)),
            interfaces=frozenset().union(*(one.interfaces for _, one in span.covering)),
            valid_from=span.start,
            valid_to=span.end,
        )


def flat_routes(layers: Sequence[Layer]) -> tuple[Route, ...]:
    """Return routes disjoint in (address, time) per scope: the longest prefix has won.

    Of equal blocks the earlier source in `PRECEDENCE` wins.
    """
    tables: dict[str, set[_Hop]] = {}
    for layer in layers:
        position = PRECEDENCE.index(layer.source)
        for route in layer.routes:
            if route.valid_from < route.valid_to:
                tables.setdefault(route.scope, set()).add(_hop(position, route))
    flattened: dict[frozenset[_Hop], list[Route]] = {}
    routes: list[Route] = []
    for scope, hops in sorted(tables.items()):
        key = frozenset(hops)
        if key not in flattened:
            flattened[key] = list(_joined(_pieces(sorted(hops))))
        routes += (replace(route, scope=scope) for route in flattened[key])
    return tuple(routes)


def _hop(position: int, route: Route) -> _Hop:
    return (
        int.from_bytes(route.last) - int.from_bytes(route.first),
        position,
        route.kind,
        route.gateway_id,
        route.first,
        route.last,
        route.valid_from,
        route.valid_to,
    )


def _pieces(hops: list[_Hop]) -> Iterator[list[Route]]:
    """Yield, per disjoint block, the winners over time; `hops` come in order of rank."""
    block: Block[_Hop]
    for block in blocks(hops, lambda hop: (hop[4], hop[5])):
        held: list[Route] = []
        for span in spans(block.covering, lambda hop: (hop[6], hop[7])):
            winner = span.covering[0]
            if (
                held
                and held[-1].valid_to == span.start
                and (held[-1].kind, held[-1].gateway_id) == winner[2:4]
            ):
                held[-1] = replace(held[-1], valid_to=span.end)
                continue
            held.append(
                Route(
                    scope="",
                    first=block.first,
                    last=block.last,
                    kind=winner[2],
                    gateway_id=winner[3],
                    valid_from=span.start,
                    valid_to=span.end,
                )
            )
        yield held


def _joined(pieces: Iterator[list[Route]]) -> Iterator[Route]:
    """Yield routes with adjoining blocks that never differ put together."""
    held: list[Route] = []
    for routes in pieces:
        if held and following(held[0].last) == routes[0].first:
            grown = [replace(route, first=held[0].first) for route in routes]
            if held == [replace(route, last=held[0].last) for route in grown]:
                held = grown
                continue
        yield from held
        held = routes
    yield from held
