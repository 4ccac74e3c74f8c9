"""Questions to a resolution, by bisection: who was this, and which way did it leave."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import datetime

from flowcost.model import Identity
from flowcost.resolve import Known, Resolution, Route


def lookup(
    resolution: Resolution, address: bytes, at: datetime, plans: Iterable[str] = ()
) -> Identity:
    """Return who `address` (16 bytes) was at `at`; the empty identity if nobody knows.

    `plans` are those of who met it (`plans.plans_of`). Takes O(log n) over the sorted intervals.
    """
    own = (resolution.plans[plan] for plan in plans if plan in resolution.plans)
    for known in (*own, resolution):
        found = _holder(known, address, at)
        if found is not None:
            return resolution.identities[found]
    return resolution.identities[0]


def _holder(known: Known, address: bytes, at: datetime) -> int | None:
    """Return the identity that holds an address, None if none is said to."""
    hosts = known.hosts
    place = bisect_right(hosts, (address, at), key=lambda one: (one.address, one.valid_from))
    if place:
        host = hosts[place - 1]
        if host.address == address and at < host.valid_to:
            return host.identity_id
    ranges = known.ranges
    place = bisect_right(ranges, address, key=lambda one: one.first)
    if place:
        first = ranges[place - 1].first
        place = bisect_right(
            ranges, (first, at), hi=place, key=lambda one: (one.first, one.valid_from)
        )
        found = ranges[place - 1] if place else None
        if found and found.first == first and address <= found.last and at < found.valid_to:
            return found.identity_id
    return None


def route(resolution: Resolution, scope: str, address: bytes, at: datetime) -> Route | None:
    """Return the route from `scope` (a subnet or VPC id) to `address` at `at`, if one is known."""
    routes = resolution.routes
    place = bisect_right(routes, (scope, address), key=lambda one: (one.scope, one.first))
    if not place or routes[place - 1].scope != scope:
        return None
    first = routes[place - 1].first
    place = bisect_right(
        routes,
        (scope, first, at),
        hi=place,
        key=lambda one: (one.scope, one.first, one.valid_from),
    )
    found = routes[place - 1] if place else None
    if (
        found
        and (found.scope, found.first) == (scope, first)
        and address <= found.last
        and at < found.valid_to
    ):
        return found
    return None


def route_from(
    resolution: Resolution, identity: Identity, address: bytes, at: datetime
) -> Route | None:
    """Return the route from where `identity` is to `address`.

    A subnet without a table of its own uses its VPC's main table (AWS, "Subnet route tables").
    """
    for scope in (identity.cloud_subnet_id, identity.cloud_vpc_id):
        if scope and has_table(resolution, scope):
            return route(resolution, scope, address, at)
    return None


def has_table(resolution: Resolution, scope: str) -> bool:
    """Return whether any route leaves from `scope`."""
    place = bisect_left(resolution.routes, scope, key=lambda one: one.scope)
    return place < len(resolution.routes) and resolution.routes[place].scope == scope
