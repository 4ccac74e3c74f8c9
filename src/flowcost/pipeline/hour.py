"""One hour of one tenant, attributed from everything that was seen in it (laws 4 and 7).

Agents' segments and flow logs of an hour are attributed together, so that an interface that both
saw is booked once. The result is a function of the set of segments, the flow logs, and what is
known of identities and rates: a batch run and a live server write the same bytes.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import duckdb
import pyarrow as pa
from msgspec import Struct
from msgspec.structs import replace

from flowcost.clock import HOUR
from flowcost.content import remember
from flowcost.errors import LedgerError
from flowcost.ledger import Input, Ledger, Partition
from flowcost.pipeline.agent_shelf import AGENTS, AgentShelf, Index, count_of, scan
from flowcost.pipeline.attribute import Attributed, attribute
from flowcost.pipeline.columns import columns_of
from flowcost.pipeline.overlap import Format, choose_logs
from flowcost.pipeline.sightings import lay, read
from flowcost.pipeline.world import World, create
from flowcost.price import RateBook
from flowcost.resolve import Layer, Resolution, recorded, timeline
from flowcost.resolve.inventory import Inventory
from flowcost.schema import FLOWS, duckdb_columns

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_NAMES = ", ".join(column.name for column in FLOWS)

# What is known of identities in one hour, beside what agents say of their own ends.
LayersOf = Callable[[datetime], Iterable[Layer]]
LayersFor = Callable[[str, datetime], Iterable[Layer]]  # of any tenant


class Logs(Struct, frozen=True):
    """Flow logs of an hour, and what a manifest says of them.

    `flows` is an SQL relation that holds them, among flows of other hours; empty if there are none.
    `formats` are those of the flow logs they came from.
    """

    flows: str = ""
    inputs: tuple[Input, ...] = ()
    formats: tuple[Format, ...] = ()
    assume_provider: str = ""


NO_LOGS = Logs()


class Engine(Struct, frozen=True, kw_only=True):
    """What the engine may use. `spill` is a folder for what does not fit in `memory`."""

    memory: str = "768MB"
    threads: int = 2
    spill: Path | None = None

    @contextmanager
    def connect(self) -> Iterator[DuckDBPyConnection]:
        """Yield a connection of its own."""
        config = {"memory_limit": self.memory, "threads": str(self.threads)}
        if self.spill:
            config["temp_directory"] = str(self.spill)
        with duckdb.connect(config=config) as con:  # type: ignore[arg-type]
            con.execute("SET preserve_insertion_order = false")
            con.execute("SET TimeZone = 'UTC'")
            yield con


def recordings(ledger: Path, tenant: str) -> Path:
    """Return the folder in which a server records a tenant's clusters."""
    return ledger / ".serve" / "identities" / quote(tenant, safe="")


def layers_beside(ledger: Path, tenant: str, inventory: Inventory) -> LayersOf:
    """Return what is known in an hour: an inventory, and what a server has recorded."""
    folder = recordings(ledger, tenant)
    return lambda hour: recorded.layers(folder, hour, hour + HOUR, inventory)


@contextmanager
def attributing(ledger: Path) -> Iterator[None]:
    """Hold the ledger for one attribution, from reading what an hour is made of to writing it.

    Two processes that attribute the same hour at once could otherwise leave the older sight of it.
    """
    folder = ledger / ".run"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "attributing.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def attribute_hour(
    con: DuckDBPyConnection,
    ledger: Ledger,
    index: Index,
    layers: Iterable[Layer],
    rates: RateBook,
    *,
    logs: Logs = NO_LOGS,
) -> Attributed:
    """Bring the partitions of an hour up to date with its segments and flow logs.

    A partition that nothing is booked in any more is removed.

    Raises:
        LedgerError: a partition cannot be written, or holds segments that the index has not.
    """
    shelf = AgentShelf(ledger.root)
    _check_whole(ledger, index)
    resolution = resolution_of(con, shelf, index, layers, logs=logs)
    _logged(con, index, exact(con, shelf, index, resolution), logs)
    overlap = choose_logs(con, {index.hour: logs.formats})
    inputs = (*((index.input,) if index.segments else ()), *logs.inputs)
    filled: set[Partition] = set()

    def inputs_of(partition: Partition) -> Sequence[Input]:
        filled.add(partition)
        return inputs

    attributed = attribute(
        con,
        World(con, columns_of(resolution)),
        rates,
        ledger,
        inputs_of,
        assume_provider=logs.assume_provider,
    )
    empty = _drop_others(ledger, index, filled)
    return replace(attributed.beside(overlap), partitions=(*attributed.partitions, *empty))


def resolution_of(
    con: DuckDBPyConnection,
    shelf: AgentShelf,
    index: Index,
    layers: Iterable[Layer],
    *,
    logs: Logs = NO_LOGS,
) -> Resolution:
    """Return who was who in an hour, what its agents saw included.

    Only claims on addresses that were seen in the hour are in it.
    """
    seen = shelf.paths(index, "seen")
    sums = shelf.paths(index, "sums")
    relations = [scan(sums) if sums else "", logs.flows]
    addresses = _addresses(con, [one for one in relations if one])
    laid = lay(layers, read(con, seen) if seen else [], index.hour, addresses)
    built = timeline.build(laid.layers)
    identities = dict(built.identities)
    for identity in laid.unplaced:
        remember(identities, identity)
    return replace(built, identities=identities)


def _addresses(con: DuckDBPyConnection, relations: Sequence[str]) -> list[bytes]:
    """Return the addresses of either end, sorted."""
    if not relations:
        return []
    pairs = " UNION ".join(f"SELECT local_address, remote_address FROM {one}" for one in relations)
    found = con.execute(
        "SELECT DISTINCT unnest([local_address, remote_address]) AS address"
        f" FROM ({pairs}) ORDER BY address"
    ).fetchall()
    return [address for (address,) in found]


def exact(con: DuckDBPyConnection, shelf: AgentShelf, index: Index, resolution: Resolution) -> str:
    """Return the relation of an hour's agent flows, as fine as identities changed in it.

    Sums over the hour do, except for addresses that changed hands inside it: their rows are taken
    as they were posted.
    """
    sums = shelf.paths(index, "sums")
    if not sums:
        con.execute(f"CREATE OR REPLACE TEMP TABLE exact ({duckdb_columns(FLOWS)})")
        return "exact"
    posted = shelf.paths(index, "flows")
    hosts, blocks = _moved(resolution, index.hour)
    if index.expired or not posted or not (hosts or blocks):
        return f"(SELECT {_NAMES} FROM {scan(sums)})"
    create(con, "moved", {"address": pa.array(sorted(hosts), pa.binary())})
    create(con, "moved_blocks", {
        "first": pa.array([first for first, _ in blocks], pa.binary()),
        "last": pa.array([last for _, last in blocks], pa.binary()),
    })  # fmt: skip
    moved = " OR ".join(
        f"{end} IN (FROM moved)"
        + (f" OR EXISTS (FROM moved_blocks b WHERE {end} BETWEEN b.first AND b.last)" if blocks
           else "")
        for end in ("local_address", "remote_address")
    )  # fmt: skip
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE exact AS SELECT {_NAMES} FROM {scan(posted)} WHERE {moved}"
        f" UNION ALL SELECT {_NAMES} FROM {scan(sums)} WHERE NOT ({moved})"
    )
    return "exact"


def _moved(resolution: Resolution, hour: datetime) -> tuple[set[bytes], list[tuple[bytes, bytes]]]:
    """Return the addresses and the blocks whose identity changes inside `hour`."""
    end = hour + HOUR

    def inside(one: object) -> bool:
        return any(hour < getattr(one, edge) < end for edge in ("valid_from", "valid_to"))

    known = resolution.everywhere()
    hosts = {host.address for each in known for host in each.hosts if inside(host)}
    ranges = (one for each in known for one in each.ranges if inside(one))
    return hosts, sorted({(one.first, one.last) for one in ranges})


def _logged(con: DuckDBPyConnection, index: Index, agents: str, logs: Logs) -> None:
    """Create the view `logged`: everything that was seen in the hour."""
    parts = [f"SELECT {_NAMES} FROM {agents}"]
    if logs.flows:
        start, end = (f"TIMESTAMP '{edge:%Y-%m-%d %H:%M:%S}'"
                      for edge in (index.hour, index.hour + HOUR))  # fmt: skip
        tenant = index.tenant.replace("'", "''")
        parts.append(
            f"SELECT {_NAMES} FROM {logs.flows} WHERE window_start >= {start}"
            f" AND window_start < {end} AND tenant = '{tenant}'"
        )
    con.execute(f"CREATE OR REPLACE TEMP VIEW logged AS {' UNION ALL '.join(parts)}")


def _check_whole(ledger: Ledger, index: Index) -> None:
    """Refuse to make an hour again from fewer segments than it was made from: sets only grow."""
    for manifest in ledger.manifests(index.hour, index.hour + HOUR, tenant=index.tenant):
        for one in manifest.inputs:
            if one.name == AGENTS and count_of(one) > index.segments:
                folder = AgentShelf(ledger.root).folder(index.tenant, index.hour)
                raise LedgerError(
                    f"{manifest.partition.folder} was made from {count_of(one)} segments, of which "
                    f"{folder} has {index.segments}; the hour stays as it is",
                    hint="restore the folder from the backup that the ledger is from",
                )


def _drop_others(ledger: Ledger, index: Index, filled: Collection[Partition]) -> list[Partition]:
    """Remove the hour's partitions that nothing is charged in now, and return them."""
    hour = ledger.manifests(index.hour, index.hour + HOUR, tenant=index.tenant)
    empty = [manifest.partition for manifest in hour if manifest.partition not in filled]
    for partition in empty:
        ledger.drop(partition)
    return empty
