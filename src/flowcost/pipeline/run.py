"""The main job: a tree of cloud flow logs to an attributed ledger.

Files are read into partials (`shelf`), small ones several at once; every hour whose files changed
is attributed from all partials that have flows in it, and replaced. So a run is incremental and
idempotent: new files add hours, late files rewrite only theirs, and a run that was interrupted
anywhere and run again leaves the ledger that one clean run would have left. An hour that agents
saw too is attributed from both (`hour`), whoever of the run and the server does it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import duckdb
from msgspec import Struct

from flowcost.ledger import Ledger, Partition
from flowcost.model import Finding
from flowcost.pipeline.agent_shelf import Index
from flowcost.pipeline.attribute import Attributed, attribute
from flowcost.pipeline.columns import Columns
from flowcost.pipeline.coverage import uncovered
from flowcost.pipeline.hour import Engine, LayersOf, attribute_hour, attributing
from flowcost.pipeline.log_hours import logs_of
from flowcost.pipeline.memory import give_back
from flowcost.pipeline.overlap import NO_OVERLAP, choose_logs, formats_of, may_overlap
from flowcost.pipeline.pieces import partials, related
from flowcost.pipeline.reading import Embedded, Reader
from flowcost.pipeline.resolved import Resolved
from flowcost.pipeline.run_findings import merged, settled, too_late
from flowcost.pipeline.shelf import Shelf, folder_of
from flowcost.pipeline.tiering import settle_months
from flowcost.pipeline.work import Settings, Work
from flowcost.pipeline.world import World
from flowcost.price import RateBook
from flowcost.sources.report import FileReport, findings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from flowcost.sources.discover import LogFile


class Progress(Struct, frozen=True):
    """Where a run stands: files read or hours attributed, of how many."""

    stage: str
    done: int
    total: int


class Ran(Struct, frozen=True, kw_only=True):
    """What a run did.

    `reports` cover every file of the ledger, not only the new ones. `cross_checked` is (sensor,
    bytes) of what another observation already booked; `flow_log` are overlapping flow logs.
    """

    files_read: int
    files_known: int
    hours: int
    changed: tuple[Partition, ...]
    reports: tuple[FileReport, ...]
    findings: tuple[Finding, ...]
    cross_checked: tuple[tuple[str, int], ...]


def run(
    files: Sequence[LogFile],
    known: Resolved,
    rates: RateBook,
    ledger: Ledger,
    settings: Settings,
    *,
    reader: Reader | None = None,
    layers_of: LayersOf = lambda _: (),
    progress: Callable[[Progress], None] = lambda _: None,
) -> Ran:
    """Bring `ledger` up to date with `files`, which `reader` (by default this process) reads.

    `known` is what the inventory resolves to; `layers_of` says what is known in an hour that
    agents saw too.

    Raises:
        LedgerError: a partition cannot be written; hours written before it stand.
    """
    shelf = Shelf(folder_of(ledger.root))
    unread = list(files) if settings.again else shelf.unread(files, settings.options)
    gone = []
    if unread:
        gone = shelf.read(
            unread,
            reader or Embedded(),
            known.knowledge,
            settings.options,
            done=_counter("reading", len(unread), progress),
            kept_from=ledger.shelves.retired().kept_from,
        )
        give_back()
    work = Work(shelf, ledger, settings)
    shelf.drop(work.kept_from)
    changed, found, checks = _attribute(work, known.columns, layers_of, rates, progress)
    if settings.tiering == "account_meter":
        found += settle_months(
            ledger,
            rates,
            tenant=settings.options.tenant,
            hours=work.hours,
            kept_from=work.kept_from,
        )
    reports = tuple(shelf.entries[key].report for key in sorted(shelf.entries))
    return Ran(
        files_read=len(unread) - len(gone),
        files_known=len(files) - len(unread),
        hours=len(work.dirty),
        changed=tuple(changed),
        reports=reports,
        findings=(
            *findings(reports),
            *(lost.finding for lost in gone),
            *too_late(shelf.entries.values(), work.kept_from),
            *settled({hour: work.hours[hour] for hour in work.settled}),
            *known.findings,
            *merged(found),
            *uncovered(shelf.live(shelf.entries.values()), known.interfaces),
        ),
        cross_checked=tuple(sorted(checks.items())),
    )


def _counter(stage: str, total: int, progress: Callable[[Progress], None]) -> Callable[[], None]:
    """Return what reports one more done at each call."""
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        progress(Progress(stage, done, total))

    return count


def _attribute(
    work: Work,
    columns: Columns,
    layers_of: LayersOf,
    rates: RateBook,
    progress: Callable[[Progress], None],
) -> tuple[list[Partition], list[Finding], dict[str, int]]:
    changed: list[Partition] = []
    found: list[Finding] = []
    checks: dict[str, int] = {}
    if not work.dirty:
        return changed, found, checks
    spill = work.shelf.folder.parent / "spill"
    with duckdb.connect(
        config={"memory_limit": work.settings.memory, "temp_directory": str(spill)}
    ) as con:
        con.execute("SET preserve_insertion_order = false")
        world = World(con, columns)
        done = 0
        for batch in work.batches():
            # Held from here on: what a server writes meanwhile comes before or after, not between.
            with attributing(work.ledger.root):
                shared = {hour: index for hour in batch if (index := work.seen_by_agents(hour))}
                alone = [hour for hour in batch if hour not in shared]
                results = [_both(work, index, layers_of, rates) for index in shared.values()]
                if alone:
                    results.append(_alone(con, world, work, alone, rates))
            for result in results:
                changed += result.partitions
                found += result.findings
                for kind, total in result.cross_checked:
                    checks[kind] = checks.get(kind, 0) + total
            give_back()
            done += len(batch)
            progress(Progress("attributing", done, len(work.dirty)))
    return changed, found, checks


def _both(work: Work, index: Index, layers_of: LayersOf, rates: RateBook) -> Attributed:
    """Attribute an hour that agents saw too."""
    engine = Engine(memory=work.settings.memory, spill=work.shelf.folder / "spill")
    with engine.connect() as con:
        entries = work.hours[index.hour]
        logs = logs_of(work.shelf, entries, work.settings.assume_provider)
        layers = layers_of(index.hour)
        return attribute_hour(con, work.ledger, index, layers, rates, logs=logs)


def _alone(
    con: DuckDBPyConnection,
    world: World,
    work: Work,
    hours: Sequence[datetime],
    rates: RateBook,
) -> Attributed:
    """Attribute hours of flow logs."""
    formats = {hour: formats_of(one.report for one in work.hours[hour]) for hour in hours}
    provider, overlap = work.settings.assume_provider, NO_OVERLAP
    if may_overlap(formats):
        work.view(con, hours)
        overlap = choose_logs(con, formats)
    if overlap.bytes:
        flows = related(con, "flows")
    else:
        flows = partials(work.shelf.live(work.entries(hours)), hours)
    done = attribute(
        con, world, rates, work.ledger, work.inputs, assume_provider=provider, flows=flows
    )
    return done.beside(overlap)
