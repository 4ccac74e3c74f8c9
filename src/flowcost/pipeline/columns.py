"""A resolution as columns: what a world puts into its engine, and what a run keeps on disk.

An identity's number is its position among the known ones (`party`, 0 for the empty one); no object
stands for it. Addresses between two neighbouring bounds of any route are routed alike by every
route table: `route_bounds` tells which, so routes are looked up once per such stretch and not per
address. `plan_hosts` and `plan_ranges` are what only observers in a plan (`resolve.plans`) meet;
`homes` says in which VPC a thing stands that a record may name. `changing` are the addresses, and
`changing_hours` the hours, in which an identity changes inside an hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from flowcost.model import GatewayKind, Identity
from flowcost.pipeline.numbering import Numbering, Place, rows_of
from flowcost.resolve import Gateway, HostInterval, RangeInterval, Resolution, Route, ServiceClaim

Table = dict[str, pa.Array]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIME = pa.timestamp("us")  # the engine's naive UTC
_ADDRESS = pa.binary(16)
_NUMBER = pa.int32()
_KINDS = {kind: number for number, kind in enumerate(GatewayKind)}
_EDGES = ("valid_from", "valid_to")


class Columns(Struct, frozen=True, kw_only=True):
    """Engine tables by name, and the words behind their numbers (`numbering.Numbering`).

    `identities` has the columns of `schema.IDENTITIES`, by party; the table `parties` has their
    numbers, row by row.
    """

    identities: pa.Table
    tables: dict[str, pa.Table]
    words: dict[str, list[str]]
    places: list[Place]


def columns_of(resolution: Resolution) -> Columns:
    """Return a resolution as columns."""
    numbers = Numbering()
    numbers.scopes.all(route.scope for route in resolution.routes)
    identities = rows_of({0: Identity(), **resolution.identities})
    ids = identities["identity_id"].combine_chunks()
    tables = {
        "parties": numbers.of(identities),
        "hosts": _hosts(resolution.hosts, ids),
        "ranges": _ranges(resolution.ranges, ids),
        **_plans(resolution, ids),
        "services": _services(resolution.services, numbers),
        "gateways": _gateways(resolution.gateways, numbers),
        "routes": _routes(resolution.routes, numbers),
        "route_bounds": _bounds(resolution.routes),
    }
    return Columns(
        identities=identities,
        tables={
            name: pa.table(columns) for name, columns in {**tables, **_changing(tables)}.items()
        },
        words=numbers.words,
        places=numbers.places,
    )


def _hosts(hosts: Sequence[HostInterval], ids: pa.Array) -> Table:
    addresses = pa.array([one.address for one in hosts], _ADDRESS)
    return {"address": addresses, **_validity(hosts), "party": _parties(hosts, ids)}


def _ranges(ranges: Sequence[RangeInterval], ids: pa.Array) -> Table:
    return {**_block(ranges), **_validity(ranges), "party": _parties(ranges, ids)}


def _parties(intervals: Iterable[HostInterval | RangeInterval], ids: pa.Array) -> pa.Array:
    return pc.index_in(pa.array([one.identity_id for one in intervals], pa.int64()), ids)


def _plans(resolution: Resolution, ids: pa.Array) -> dict[str, Table]:
    plans = resolution.plans
    hosts = [(plan, host) for plan, known in plans.items() for host in known.hosts]
    blocks = [(plan, block) for plan, known in plans.items() for block in known.ranges]
    homes = _homes(resolution) if plans else {}
    return {
        "plans": {"plan": _texts(plans)},
        "plan_hosts": {
            "plan": _texts(plan for plan, _ in hosts),
            **_hosts([host for _, host in hosts], ids),
        },
        "plan_ranges": {
            "plan": _texts(plan for plan, _ in blocks),
            **_ranges([block for _, block in blocks], ids),
        },
        "homes": {"name": _texts(homes), "vpc": _texts(homes.values())},
    }


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


def _services(services: Sequence[ServiceClaim], numbers: Numbering) -> Table:
    return {
        "address": pa.array([one.address for one in services], _ADDRESS),
        "name": numbers.services.all(one.name for one in services),
        "cluster": _texts(one.cluster for one in services),
        **_validity(services),
    }


def _gateways(gateways: Sequence[Gateway], numbers: Numbering) -> Table:
    standing = numbers.of(rows_of({row: one.identity for row, one in enumerate(gateways)}))
    return {
        "via": numbers.vias.all(one.id for one in gateways),
        "kind": _kinds(gateways),
        **{name: standing[name] for name in ("account", "network", "place")},
        **_validity(gateways),
    }


def _routes(routes: Sequence[Route], numbers: Numbering) -> Table:
    return {
        "scope_no": numbers.scopes.all(one.scope for one in routes),
        **_block(routes),
        "kind": _kinds(routes),
        "via": numbers.vias.all(one.gateway_id for one in routes),
        **_validity(routes),
    }


def _bounds(routes: Iterable[Route]) -> Table:
    bounds = {bytes(16), *(one.first for one in routes), *(_next(one.last) for one in routes)}
    return {
        "first": pa.array(sorted(bounds), _ADDRESS),
        "stretch": pa.array(range(len(bounds)), _NUMBER),
    }


def _next(address: bytes) -> bytes:
    """Return the address after this one; the last one has none and stays."""
    return min(int.from_bytes(address) + 1, (1 << 128) - 1).to_bytes(16)


def _changing(tables: Mapping[str, Table]) -> dict[str, Table]:
    """Return what holds identities that change inside an hour; both are empty in most runs."""
    addresses = [
        held["address"].filter(pc.or_(*(_inside_an_hour(held[edge]) for edge in _EDGES)))
        for held in (tables["hosts"], tables["plan_hosts"])
    ]
    hours = [
        pc.floor_temporal(held[edge].filter(_inside_an_hour(held[edge])), unit="hour")
        for held in (tables["ranges"], tables["plan_ranges"], tables["services"])
        for edge in _EDGES
    ]
    return {
        "changing": {"address": pa.concat_arrays(addresses).unique()},
        "changing_hours": {"hour": pa.concat_arrays(hours).unique()},
    }


def _inside_an_hour(instants: pa.Array) -> pa.Array:
    return pc.not_equal(instants, pc.floor_temporal(instants, unit="hour"))


def _validity(dated: Sequence[Any]) -> Table:
    """Return the columns `valid_from` and `valid_to`."""
    return {
        "valid_from": _instants(one.valid_from for one in dated),
        "valid_to": _instants(one.valid_to for one in dated),
    }


def _instants(instants: Iterator[datetime]) -> pa.Array:
    given = list(instants)
    known = {instant: (instant - _EPOCH) // _MICROSECOND for instant in set(given)}
    return pa.array([known[instant] for instant in given], pa.int64()).cast(_TIME)


def _block(blocks: Sequence[RangeInterval] | Sequence[Route]) -> Table:
    return {
        "first": pa.array([one.first for one in blocks], _ADDRESS),
        "last": pa.array([one.last for one in blocks], _ADDRESS),
    }


def _kinds(held: Iterable[Gateway | Route]) -> pa.Array:
    return pa.array([_KINDS[one.kind] for one in held], _NUMBER)


def _texts(values: Iterable[str]) -> pa.Array:
    return pa.array(list(values), pa.string())
