"""A resolution in the engine: identities, intervals, gateways, routes, address scopes.

`columns` says what each table holds. Records reveal identities that no inventory has; a world
takes them in. Of the known ones only those are made objects that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from flowcost.address import SCOPE_STARTS, SCOPE_VALUES, Scope
from flowcost.content import remember
from flowcost.model import GatewayKind, Identity
from flowcost.pipeline.columns import Columns
from flowcost.pipeline.numbering import Numbering, Place, identities_in, rows_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SCOPES = tuple(Scope)
GATEWAY_KINDS = tuple(GatewayKind)


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

    def __init__(self, con: DuckDBPyConnection, columns: Columns) -> None:
        numbers = self._numbers = Numbering(columns.words, columns.places)
        self.accounts, self.resources = numbers.accounts, numbers.resources
        self.vias, self.services, self.places = numbers.vias, numbers.services, numbers.places
        self._known = columns.identities
        self._revealed: list[Identity] = []
        self._party: dict[int, int] = {}  # of those
        self._rows, self._parties = [columns.identities], [columns.tables["parties"]]
        self._shares = bool(len(columns.tables["plans"]))
        for name, table in columns.tables.items():
            if name != "parties":
                create(con, name, table)
        create(
            con,
            "scopes",
            {
                "first": pa.array(SCOPE_STARTS, pa.binary()),
                "scope": pa.array([SCOPES.index(s) for s in SCOPE_VALUES], pa.int32()),
            },
        )

    @property
    def identity_rows(self) -> pa.Table:
        """Return the columns of `schema.IDENTITIES` of all identities, by party."""
        return pa.concat_tables(self._rows)

    @property
    def parties(self) -> pa.Table:
        """Return the numbers of all identities (`Numbering.of`), by party."""
        if len(self._parties) > 1:
            self._parties = [pa.concat_tables(self._parties).combine_chunks()]
        return self._parties[0]

    @property
    def shares_addresses(self) -> bool:
        """Return whether clusters or VPCs share an address, so that it matters who meets it."""
        return self._shares

    def identities(self, parties: Sequence[int]) -> list[Identity]:
        """Return who the parties are, in their order."""
        first = len(self._known)
        known = sorted({party for party in parties if party < first})
        rows = self._known.take(pa.array(known, pa.int32()))
        met = dict(zip(known, identities_in(rows), strict=True))
        return [met[party] if party < first else self._revealed[party - first] for party in parties]

    def add(self, identities: Iterable[Identity]) -> list[int]:
        """Enter identities that records revealed; return their parties."""
        wanted: dict[int, Identity] = {}
        keys = [remember(wanted, identity) for identity in identities]
        parties = self._of(list(wanted))
        for identity in self.identities(list(parties.values())):
            remember(wanted, identity)  # one that differs must not share the id
        fresh = {key: identity for key, identity in wanted.items() if key not in parties}
        if fresh:
            first = len(self._known) + len(self._revealed)
            rows = rows_of(fresh)
            self._rows.append(rows)
            self._parties.append(pa.table(self._numbers.of(rows)))
            self._revealed += fresh.values()
            entered = {key: first + number for number, key in enumerate(fresh)}
            self._party |= entered
            parties |= entered
        return [parties[key] for key in keys]

    def _of(self, keys: list[int]) -> dict[int, int]:
        """Return the parties of those content ids that are known."""
        found = pc.index_in(
            pa.array(keys, pa.int64()), self._known["identity_id"].combine_chunks()
        ).to_pylist()
        parties = {key: party for key, party in zip(keys, found, strict=True) if party is not None}
        return parties | {key: self._party[key] for key in keys if key in self._party}


def create(con: DuckDBPyConnection, name: str, columns: dict[str, pa.Array] | pa.Table) -> None:
    """Create (or replace) a temporary table from Arrow columns."""
    con.register("incoming", pa.table(columns) if isinstance(columns, dict) else columns)
    con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM incoming")
    con.unregister("incoming")
