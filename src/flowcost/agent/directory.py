"""Addresses become peers, fast: one bisection per address the node has not met before.

A peer is everything about the far end that a verdict can depend on: who it is, what kind of
address it has, and which way the node's own route table sends bytes to it. Many addresses are
one peer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

from msgspec import Struct

from flowcost import address
from flowcost.address import Scope
from flowcost.agent.identity import World
from flowcost.classify.facts import Way
from flowcost.model import Identity, VpcRelation
from flowcost.resolve import HostInterval, Known, RangeInterval, Route
from flowcost.resolve.lookup import has_table
from flowcost.resolve.plans import plans_of

REMEMBERED = 200_000  # addresses; an internet-facing node meets ever new ones

_I = TypeVar("_I", HostInterval, RangeInterval, Route)


class Peer(Struct, frozen=True):
    """A far end: who, what kind of address, which way out."""

    identity: Identity
    scope: Scope
    way: Way


class Directory:
    """The world as it is at one instant, indexed; make a new one when the world changes.

    `peers` grows as addresses are asked for; a peer's index in it is stable.
    """

    def __init__(self, world: World, at: datetime) -> None:
        self.world = world
        self.peers: list[Peer] = []
        resolution = world.resolution
        self._identities = resolution.identities
        self._gateways = {
            one.id: one.identity
            for one in resolution.gateways
            if one.valid_from <= at < one.valid_to
        }
        node = world.node
        plans = plans_of(cluster=node.k8s_cluster_name, vpc=node.cloud_vpc_id)
        own = (resolution.plans[plan] for plan in plans if plan in resolution.plans)
        self._known = [_Holders(known, at) for known in (*own, resolution)]
        scopes = (node.cloud_subnet_id, node.cloud_vpc_id)
        scope = next((one for one in scopes if one and has_table(resolution, one)), "")
        routes = [one for one in _valid(resolution.routes, at) if one.scope == scope]
        self._route_starts = [one.first for one in routes]
        self._routes = routes
        self._indexes: dict[tuple[int, Scope, int], int] = {}
        self._met: dict[bytes, int] = {}

    def peer(self, packed: bytes) -> int:
        """Return the index in `peers` of the far end that has this address."""
        known = self._met.get(packed)
        if known is not None:
            return known
        identity_id = self._identity_id(packed)
        scope = address.scope(packed)
        route = _covering(self._route_starts, self._routes, packed)
        key = identity_id, scope, route
        index = self._indexes.get(key)
        if index is None:
            index = self._indexes[key] = len(self.peers)
            self.peers.append(Peer(self._identities[identity_id], scope, self._way(route)))
        if len(self._met) >= REMEMBERED:
            self._met.clear()
        self._met[packed] = index
        return index

    def identity(self, packed: bytes) -> Identity:
        """Return who has this address; the empty identity if nobody knows."""
        return self._identities[self._identity_id(packed)]

    def _identity_id(self, packed: bytes) -> int:
        for known in self._known:
            found = known.of(packed)
            if found is not None:
                return found
        return 0

    def _way(self, place: int) -> Way:
        if place < 0:
            return Way()
        route = self._routes[place]
        device = self._gateways.get(route.gateway_id)
        own, its = self.world.node.cloud_vpc_id, device.cloud_vpc_id if device else ""
        foreign = bool(own and its and own != its)
        return Way(
            routed=route.kind,
            device=device,
            device_vpc=VpcRelation.OTHER if foreign else VpcRelation.SAME,
        )


class _Holders:
    """Who has which address at one instant."""

    def __init__(self, known: Known, at: datetime) -> None:
        self._hosts = {one.address: one.identity_id for one in _valid(known.hosts, at)}
        self._ranges = list(_valid(known.ranges, at))
        self._starts = [one.first for one in self._ranges]

    def of(self, packed: bytes) -> int | None:
        """Return the id of an address's identity, None if nothing is said of it."""
        found = self._hosts.get(packed)
        if found is None:
            place = _covering(self._starts, self._ranges, packed)
            return self._ranges[place].identity_id if place >= 0 else None
        return found


def _valid(intervals: Iterable[_I], at: datetime) -> Iterable[_I]:
    return (one for one in intervals if one.valid_from <= at < one.valid_to)


def _covering(starts: list[bytes], blocks: list[RangeInterval] | list[Route], packed: bytes) -> int:
    """Return the place of the disjoint block that holds an address, -1 if none does."""
    place = bisect_right(starts, packed) - 1
    return place if place >= 0 and packed <= blocks[place].last else -1
