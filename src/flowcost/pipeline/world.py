"""A resolution as engine tables: identities, intervals, gateways, routes, address scopes.

`place` is the part of an identity that decides a billing path; thousands of pods share a few
places, and facts are assembled per place, never per pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from flowcost.address import SCOPE_STARTS, SCOPE_VALUES
from flowcost.content import remember
from flowcost.model import EndKind, Identity
from flowcost.resolve import Resolution
from flowcost.schema import IDENTITY_FIELDS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TIME = pa.timestamp("us")

Place = tuple[EndKind, str, str, str, str]


def place_of(identity: Identity) -> Place:
    """Return (kind, provider, region, zone id, service); a pod or a placed address is compute."""
    kind = identity.kind
    if kind is EndKind.UNKNOWN and (
        identity.cloud_region or identity.k8s_pod_uid or identity.k8s_pod_name
    ):
        kind = EndKind.COMPUTE
    return (
        kind,
        identity.cloud_provider,
        identity.cloud_region,
        identity.cloud_availability_zone,
        identity.cloud_service,
    )


def identity_at(place: Place) -> Identity:
    """Return an identity that says nothing but its place."""
    kind, provider, region, zone, service = place
    return Identity(
        kind=kind,
        cloud_provider=provider,
        cloud_region=region,
        cloud_availability_zone=zone,
        cloud_service=service,
    )


class World:
    """The engine's copy of a resolution, and the identities that records add to it."""

    def __init__(self, con: DuckDBPyConnection, resolution: Resolution) -> None:
        self.con = con
        self.identities: dict[int, Identity] = {0: Identity(), **resolution.identities}
        self.places: list[Place] = []
        self._place_ids: dict[Place, int] = {}
        self._create("identities_known", self._identity_columns(self.identities))
        self._create_intervals(resolution)
        self._create_ways(resolution)

    def add(self, identities: Iterable[Identity]) -> list[int]:
        """Enter identities that records revealed; return their ids."""
        fresh: dict[int, Identity] = {}
        ids = []
        for identity in identities:
            key = remember(self.identities, identity)
            fresh[key] = identity
            ids.append(key)
        self._create("identities_fresh", self._identity_columns(fresh))
        self.con.execute(
            "INSERT INTO identities_known SELECT * FROM identities_fresh"
            " WHERE identity_id NOT IN (SELECT identity_id FROM identities_known)"
        )
        return ids

    def _place_id(self, identity: Identity) -> int:
        place = place_of(identity)
        known = self._place_ids.get(place)
        if known is None:
            known = self._place_ids[place] = len(self.places)
            self.places.append(place)
        return known

    def _identity_columns(self, identities: dict[int, Identity]) -> dict[str, pa.Array]:
        values = list(identities.values())
        columns = {"identity_id": pa.array(list(identities), pa.int64())}
        for name in IDENTITY_FIELDS:
            columns[name] = pa.array([str(getattr(v, name)) for v in values], pa.string())
        columns["place"] = pa.array([self._place_id(v) for v in values], pa.int32())
        # An interface is a node's where we know the node, else a resource's, else unnamed.
        columns["end_key"] = pa.array(
            [
                f"{v.k8s_cluster_name}/{v.k8s_node_name}"
                if v.k8s_node_name
                else v.cloud_resource_id
                for v in values
            ],
            pa.string(),
        )
        return columns

    def _create_intervals(self, resolution: Resolution) -> None:
        hosts, ranges = resolution.hosts, resolution.ranges
        self._create(
            "hosts",
            {
                "address": pa.array([h.address for h in hosts], pa.binary()),
                "valid_from": _times(h.valid_from for h in hosts),
                "valid_to": _times(h.valid_to for h in hosts),
                "identity_id": pa.array([h.identity_id for h in hosts], pa.int64()),
            },
        )
        self._create(
            "ranges",
            {
                "first": pa.array([r.first for r in ranges], pa.binary()),
                "last": pa.array([r.last for r in ranges], pa.binary()),
                "valid_from": _times(r.valid_from for r in ranges),
                "valid_to": _times(r.valid_to for r in ranges),
                "identity_id": pa.array([r.identity_id for r in ranges], pa.int64()),
            },
        )
        self._create(
            "scopes",
            {
                "first": pa.array(SCOPE_STARTS, pa.binary()),
                "scope": pa.array([str(s) for s in SCOPE_VALUES], pa.string()),
            },
        )
        services = resolution.services
        self._create(
            "services",
            {
                "address": pa.array([s.address for s in services], pa.binary()),
                "name": pa.array([s.name for s in services], pa.string()),
                "valid_from": _times(s.valid_from for s in services),
                "valid_to": _times(s.valid_to for s in services),
            },
        )

    def _create_ways(self, resolution: Resolution) -> None:
        gateways, routes = resolution.gateways, resolution.routes
        self._create(
            "gateways",
            {
                "gateway_id": pa.array([g.id for g in gateways], pa.string()),
                "kind": pa.array([str(g.kind) for g in gateways], pa.string()),
                "account": pa.array([g.identity.cloud_account_id for g in gateways], pa.string()),
                "vpc": pa.array([g.identity.cloud_vpc_id for g in gateways], pa.string()),
                "place": pa.array([self._place_id(g.identity) for g in gateways], pa.int32()),
                "valid_from": _times(g.valid_from for g in gateways),
                "valid_to": _times(g.valid_to for g in gateways),
            },
        )
        self._create(
            "routes",
            {
                "scope": pa.array([r.scope for r in routes], pa.string()),
                "first": pa.array([r.first for r in routes], pa.binary()),
                "last": pa.array([r.last for r in routes], pa.binary()),
                "kind": pa.array([str(r.kind) for r in routes], pa.string()),
                "gateway_id": pa.array([r.gateway_id for r in routes], pa.string()),
                "valid_from": _times(r.valid_from for r in routes),
                "valid_to": _times(r.valid_to for r in routes),
            },
        )

    def _create(self, name: str, columns: dict[str, Any]) -> None:
        create(self.con, name, columns)


def create(con: DuckDBPyConnection, name: str, columns: dict[str, Any]) -> None:
    """Create (or replace) a temporary table from Arrow columns."""
    con.register("incoming", pa.table(columns))
    con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM incoming")
    con.unregister("incoming")


def _times(instants: Iterable[datetime]) -> pa.Array:
    naive: Sequence[datetime] = [instant.replace(tzinfo=None) for instant in instants]
    return pa.array(naive, _TIME)
