"""A resolution as engine tables: identities, intervals, gateways, routes, address scopes.

`place` is the part of an identity that decides a billing path; thousands of pods share a few
places, and facts are assembled per place, never per pod. Whatever rows must compare (networks,
clusters, nodes, route tables, ends) is a small integer here, so rows compare integers.

An identity's number is its position among the known ones (`party`, 0 for the empty one), and texts
that charges carry (accounts, resources, gateways, Services) have numbers of their own. Addresses
between two neighbouring bounds of any route are routed alike by every route table: `route_bounds`
tells which, so routes are looked up once per such stretch and not per address.

`plan_hosts` and `plan_ranges` are what only observers in a plan (`resolve.plans`) meet; `homes`
says in which VPC a thing stands that a record may name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from flowcost.address import SCOPE_STARTS, SCOPE_VALUES, Scope
from flowcost.content import remember
from flowcost.model import EndKind, GatewayKind, Identity
from flowcost.resolve import HostInterval, RangeInterval, Resolution
from flowcost.schema import IDENTITY_FIELDS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SCOPES = tuple(Scope)
GATEWAY_KINDS = tuple(GatewayKind)
_TIME = pa.timestamp("us")
_ENDPOINTS = (EndKind.INTERFACE_ENDPOINT, EndKind.GWLB_ENDPOINT)

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


class Numbers:
    """Distinct values by small number; the empty value is 0."""

    def __init__(self, empty: object = "") -> None:
        self.values: list[Any] = [empty]
        self._known: dict[object, int] = {empty: 0}

    def of(self, value: object) -> int:
        """Return the number of `value`, giving it one if it is new."""
        number = self._known.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number

    def all(self, values: Iterable[object]) -> list[int]:
        """Return the numbers of many values."""
        wanted, known = list(values), self._known
        for value in dict.fromkeys(wanted):
            if value not in known:
                known[value] = len(self.values)
                self.values.append(value)
        return [known[value] for value in wanted]


class World:
    """The engine's copy of a resolution, and the identities that records add to it."""

    def __init__(self, con: DuckDBPyConnection, resolution: Resolution) -> None:
        self.con = con
        self.identities: dict[int, Identity] = {0: Identity(), **resolution.identities}
        self.parties = {key: party for party, key in enumerate(self.identities)}
        self.accounts, self.resources, self.vias, self.services = (Numbers() for _ in range(4))
        self._places = Numbers(place_of(Identity()))
        self._networks, self._clusters, self._nodes, self._ends = (Numbers() for _ in range(4))
        self._scopes = Numbers()
        for route in resolution.routes:
            self._scopes.of(route.scope)
        self._routed = frozenset(route.scope for route in resolution.routes)
        self._rows: list[pa.Table] = []
        self._shares = bool(resolution.plans)
        create(con, "identities_known", self._identity_columns(self.identities))
        self._create_intervals(resolution)
        self._create_ways(resolution)

    @property
    def places(self) -> list[Place]:
        """Return all places by number."""
        return self._places.values

    @property
    def identity_rows(self) -> pa.Table:
        """Return the columns of `schema.IDENTITIES` of all identities, by party."""
        if len(self._rows) > 1:
            self._rows = [pa.concat_tables(self._rows).combine_chunks()]
        return self._rows[0]

    @property
    def shares_addresses(self) -> bool:
        """Return whether clusters or VPCs share an address, so that it matters who meets it."""
        return self._shares

    def add(self, identities: Iterable[Identity]) -> list[int]:
        """Enter identities that records revealed; return their parties."""
        fresh: dict[int, Identity] = {}
        parties = []
        for identity in identities:
            key = remember(self.identities, identity)
            if key not in self.parties:
                self.parties[key] = len(self.parties)
                fresh[key] = identity
            parties.append(self.parties[key])
        if fresh:
            create(self.con, "identities_fresh", self._identity_columns(fresh))
            self.con.execute("INSERT INTO identities_known SELECT * FROM identities_fresh")
        return parties

    def _scope_of(self, identity: Identity) -> str:
        """Return whose routes hold: the subnet's table, else the network's main table."""
        for scope in (identity.cloud_subnet_id, identity.cloud_vpc_id):
            if scope in self._routed:
                return scope
        return ""

    def _identity_columns(self, identities: dict[int, Identity]) -> dict[str, pa.Array]:
        values = list(identities.values())
        columns = {"identity_id": pa.array(list(identities), pa.int64())}
        fields = zip(*map(msgspec.structs.astuple, values), strict=True)
        for name, words in zip(IDENTITY_FIELDS, fields, strict=True):
            texts = [str(kind) for kind in words] if name == "kind" else words
            columns[name] = pa.array(texts, pa.string())
        self._rows.append(pa.table(columns))
        nodes = [f"{v.k8s_cluster_name}/{v.k8s_node_name}" if v.k8s_node_name else ""
                 for v in values]  # fmt: skip
        numbers = {
            "party": [self.parties[key] for key in identities],
            "place": self._places.all(map(place_of, values)),
            "network": self._networks.all(v.cloud_vpc_id for v in values),
            "cluster_no": self._clusters.all(v.k8s_cluster_name for v in values),
            "node": self._nodes.all(nodes),
            # An end is a node's interface where we know the node, else a resource's.
            "end_no": self._ends.all(
                node or v.cloud_resource_id for node, v in zip(nodes, values, strict=True)
            ),
            "scope_no": self._scopes.all(map(self._scope_of, values)),
            "account": self.accounts.all(v.cloud_account_id for v in values),
            "resource": self.resources.all(v.cloud_resource_id for v in values),
            # A flow to an endpoint leaves through it.
            "via": self.vias.all(
                v.cloud_resource_id if v.kind in _ENDPOINTS else "" for v in values
            ),
        }
        for name, column in numbers.items():
            columns[name] = pa.array(column, pa.int32())
        return columns

    def _create_intervals(self, resolution: Resolution) -> None:
        services, plans = resolution.services, resolution.plans
        create(self.con, "hosts", self._hosts(resolution.hosts))
        create(self.con, "ranges", self._ranges(resolution.ranges))
        create(self.con, "plans", {"plan": _texts(plans)})
        named = [(plan, host) for plan, known in plans.items() for host in known.hosts]
        create(self.con, "plan_hosts", {
            "plan": _texts(plan for plan, _ in named),
            **self._hosts([host for _, host in named]),
        })  # fmt: skip
        blocks = [(plan, block) for plan, known in plans.items() for block in known.ranges]
        create(self.con, "plan_ranges", {
            "plan": _texts(plan for plan, _ in blocks),
            **self._ranges([block for _, block in blocks]),
        })  # fmt: skip
        homes = _homes(resolution) if plans else {}
        create(self.con, "homes", {"name": _texts(homes), "vpc": _texts(homes.values())})
        create(
            self.con,
            "scopes",
            {
                "first": _bytes(SCOPE_STARTS),
                "scope": pa.array([SCOPES.index(s) for s in SCOPE_VALUES], pa.int32()),
            },
        )
        create(
            self.con,
            "services",
            {
                "address": _bytes(s.address for s in services),
                "name": pa.array([self.services.of(s.name) for s in services], pa.int32()),
                "cluster": _texts(s.cluster for s in services),
                **_validity(services),
            },
        )

    def _hosts(self, hosts: Sequence[HostInterval]) -> dict[str, pa.Array]:
        return {
            "address": _bytes(h.address for h in hosts),
            **_validity(hosts),
            "party": self._parties_of(hosts),
        }

    def _ranges(self, ranges: Sequence[RangeInterval]) -> dict[str, pa.Array]:
        return {
            "first": _bytes(r.first for r in ranges),
            "last": _bytes(r.last for r in ranges),
            **_validity(ranges),
            "party": self._parties_of(ranges),
        }

    def _parties_of(self, intervals: Sequence[Any]) -> pa.Array:
        return pa.array([self.parties[each.identity_id] for each in intervals], pa.int32())

    def _create_ways(self, resolution: Resolution) -> None:
        gateways, routes = resolution.gateways, resolution.routes
        networks = [self._networks.of(g.identity.cloud_vpc_id) for g in gateways]
        create(
            self.con,
            "gateways",
            {
                "via": pa.array([self.vias.of(g.id) for g in gateways], pa.int32()),
                "kind": _kinds(g.kind for g in gateways),
                "account": pa.array(
                    [self.accounts.of(g.identity.cloud_account_id) for g in gateways], pa.int32()
                ),
                "network": pa.array(networks, pa.int32()),
                "place": pa.array(
                    [self._places.of(place_of(g.identity)) for g in gateways], pa.int32()
                ),
                **_validity(gateways),
            },
        )
        create(
            self.con,
            "routes",
            {
                "scope_no": pa.array([self._scopes.of(r.scope) for r in routes], pa.int32()),
                "first": _bytes(r.first for r in routes),
                "last": _bytes(r.last for r in routes),
                "kind": _kinds(r.kind for r in routes),
                "via": pa.array([self.vias.of(r.gateway_id) for r in routes], pa.int32()),
                **_validity(routes),
            },
        )
        bounds = {bytes(16), *(r.first for r in routes), *(_next(r.last) for r in routes)}
        create(self.con, "route_bounds", {"first": _bytes(sorted(bounds)),
               "stretch": pa.array(range(len(bounds)), pa.int32())})  # fmt: skip


def create(con: DuckDBPyConnection, name: str, columns: dict[str, pa.Array] | pa.Table) -> None:
    """Create (or replace) a temporary table from Arrow columns."""
    con.register("incoming", pa.table(columns) if isinstance(columns, dict) else columns)
    con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM incoming")
    con.unregister("incoming")


def _homes(resolution: Resolution) -> dict[str, str]:
    """Return the VPC of each subnet, pod, interface and gateway that stands in one only."""
    named: dict[str, set[str]] = {}
    for identity in resolution.identities.values():
        for name in (identity.cloud_subnet_id, identity.k8s_pod_uid):
            named.setdefault(name, set()).add(identity.cloud_vpc_id)
    for interface in resolution.interfaces:
        named.setdefault(interface.id, set()).add(interface.vpc)
    for gateway in resolution.gateways:
        named.setdefault(gateway.id, set()).add(gateway.identity.cloud_vpc_id)
    known = {name: vpcs - {""} for name, vpcs in named.items() if name}
    return {name: next(iter(vpcs)) for name, vpcs in sorted(known.items()) if len(vpcs) == 1}


def _bytes(values: Iterable[bytes]) -> pa.Array:
    return pa.array(list(values), pa.binary())


def _next(address: bytes) -> bytes:
    """Return the address after this one; the last one has none and stays."""
    return min(int.from_bytes(address) + 1, (1 << 128) - 1).to_bytes(16)


def _kinds(values: Iterable[GatewayKind]) -> pa.Array:
    return pa.array([GATEWAY_KINDS.index(kind) for kind in values], pa.int32())


def _texts(values: Iterable[str]) -> pa.Array:
    return pa.array(list(values), pa.string())


def _validity(dated: Sequence[Any]) -> dict[str, pa.Array]:
    """Return the columns `valid_from` and `valid_to` in the engine's naive UTC."""

    def naive(instants: Iterable[datetime]) -> pa.Array:
        given = list(instants)
        bare = {instant: instant.replace(tzinfo=None) for instant in set(given)}
        return pa.array([bare[instant] for instant in given], _TIME)

    return {
        "valid_from": naive(each.valid_from for each in dated),
        "valid_to": naive(each.valid_to for each in dated),
    }
