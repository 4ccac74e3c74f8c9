"""Log files become partial aggregates and reports: the unit of work of every engine.

The same function runs in a thread of this process, in a worker of a pool and in a Spark task; what
a file gives depends on the file, the knowledge and the options alone, whatever it is read with.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from flowcost.address import unpack
from flowcost.errors import SourceError
from flowcost.sources import numbered, parquet, partials, text
from flowcost.sources.account import SAMPLES, account, sample
from flowcost.sources.aggregate import Aggregation
from flowcost.sources.discover import LogFile
from flowcost.sources.emit import PART, flows, no_flows
from flowcost.sources.grouped import Grouped, merged, number
from flowcost.sources.knowledge import Index, Knowledge
from flowcost.sources.orient import Format, orient
from flowcost.sources.raw import Piece, Rows
from flowcost.sources.report import FileReport
from flowcost.sources.rowwise import HOUR

if TYPE_CHECKING:
    import pyarrow as pa

# Rows that are grouped at once, if there are so many; of text fewer, since each holds its words.
PIECE = 1 << 20
TEXT_PIECE = 1 << 17


class Options(Struct, frozen=True, kw_only=True):
    """What the operator may choose.

    Attributes:
        tenant: written to every flow.
        log_format: field names of text without a header; empty for the default formats.
        nat_filter: `leg` (exact) or `simple` (every translated row, for comparison).
        ports: keep the service's port and who opened the connection, which follows from it.
        memory: DuckDB's memory limit per worker.
    """

    tenant: str = ""
    log_format: tuple[str, ...] = ()
    nat_filter: str = "leg"
    ports: bool = True
    memory: str = "512MB"


class Partial(Struct, frozen=True):
    """The flows of one file: their number, and the file or table they are in."""

    report: FileReport
    flows: int
    path: Path | None = None
    table: object = None


class Part(Struct, frozen=True):
    """One file of those that were read together. `hours` are UTC hours (Unix s): flows."""

    report: FileReport
    hours: dict[int, int]


class Kernel:
    """Reads files one after another on one connection; not to be shared between threads."""

    def __init__(self, knowledge: Knowledge, options: Options | None = None) -> None:
        import duckdb  # noqa: PLC0415 - heavy

        self.index = Index(knowledge)
        self.options = options or Options()
        self._spill = tempfile.TemporaryDirectory(prefix="flowcost-")
        self.con = duckdb.connect(
            ":memory:",
            config={
                "threads": 1,
                "preserve_insertion_order": False,
                "memory_limit": self.options.memory,
                "temp_directory": self._spill.name,
            },
        )
        self._changes: dict[int, list[tuple[str, int]]] = {}
        for address, instant in self.index.knowledge.changes:
            if instant % HOUR:
                self._changes.setdefault(instant // HOUR, []).append((unpack(address), instant))

    def close(self) -> None:
        """Release the connection and its spill files."""
        self.con.close()
        self._spill.cleanup()

    def partial(self, file: LogFile, out: Path | None = None) -> Partial:
        """Return the flows of `file`, written to `out` as Parquet, or as an Arrow table.

        A file that cannot be read books nothing and says why in its report.
        """
        [report], table = self._read([file])
        if out is None:
            return Partial(report, len(table), table=table.drop_columns([PART]))
        partials.write(table, out)
        return Partial(report, len(table), path=out)

    def together(self, files: Sequence[LogFile], out: Path) -> list[Part]:
        """Write the flows of up to `MOST_PARTS` files to `out`; return what each held.

        The column `part` of a flow is its file's position. What is done once for all files of one
        layout costs small files much less than reading them one by one; the flows are the same.
        """
        reports, table = self._read(files)
        partials.write(table, out)
        hours = partials.hours(table, len(files))
        return [Part(report, held) for report, held in zip(reports, hours, strict=True)]

    def _read(self, files: Sequence[LogFile]) -> tuple[list[FileReport], pa.Table]:
        """Return the reports of files, and their flows."""
        import pyarrow as pa  # noqa: PLC0415 - heavy
        import pyarrow.compute as pc  # noqa: PLC0415 - heavy

        work = _Work(files)
        try:
            self._fill(work)
        except self._engine_errors() as error:
            if len(files) == 1:
                work.failed[0] = f"{type(error).__name__}: {error}".splitlines()[0]
            else:  # one of them broke the query: each on its own, to tell which
                return self._one_by_one(files)
        tables = work.tables or [no_flows()]
        table = pa.concat_tables(tables).unify_dictionaries()
        if work.failed and len(table):
            lost = pa.array(sorted(work.failed), pa.int32())
            table = table.filter(pc.invert(pc.is_in(table[PART], lost)))
        for part, why in work.failed.items():
            work.reports[part] = msgspec.structs.replace(_blank(files[part]), error=why)
        return work.reports, table

    def _one_by_one(self, files: Sequence[LogFile]) -> tuple[list[FileReport], pa.Table]:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        reports, tables = [], []
        for part, file in enumerate(files):
            [report], table = self._read([file])
            reports.append(report)
            column = pa.repeat(pa.scalar(part, pa.int32()), len(table))
            tables.append(table.set_column(table.num_columns - 1, PART, column))
        return reports, pa.concat_tables(tables).unify_dictionaries()

    def _fill(self, work: _Work) -> None:
        """Read all files; rows of one layout wait until there are enough for a piece.

        Rows become groups piece by piece; what they are is decided when all are there, since some
        rules ask what else a file has.
        """
        waiting: dict[tuple[str, ...], list[tuple[int, Rows]]] = {}
        for part, file in enumerate(work.files):
            most = PIECE if file.format == "parquet" else TEXT_PIECE
            try:
                for rows in self._rows(file):
                    work.note(part, rows)
                    held = waiting.setdefault(rows.layout, [])
                    held.append((part, rows))
                    if sum(len(each.table) for _, each in held) >= most:
                        self._group(work, waiting.pop(rows.layout))
            except (SourceError, OSError) as error:
                work.failed[part] = str(error)
                for layout, held in list(waiting.items()):
                    waiting[layout] = [each for each in held if each[0] != part]
        for held in waiting.values():
            if held:
                self._group(work, held)
        for grouped in work.groups.values():
            self._book(work, *grouped)

    def _rows(self, file: LogFile) -> Iterator[Rows]:
        if file.format == "parquet":
            return parquet.rows(file, PIECE)
        return text.rows(file, self.options.log_format)

    def _group(self, work: _Work, held: Sequence[tuple[int, Rows]]) -> None:
        """Enter the groups of some rows of one layout."""
        piece = numbered.piece(held)
        grouping = Aggregation(piece, ports=self.options.ports)
        groups = grouping.groups(self.con, self._changes_in(piece))
        for part, rows in grouping.broken_rows(self.con, SAMPLES).items():
            sample(work.reports, part, rows)
        self.con.unregister("raw")
        format_ = Format(piece.record, piece.packet_ends, piece.has(piece.record.mapping.instance))
        work.groups.setdefault(held[0][1].layout, (format_, []))[1].append(
            number(grouping.row, groups)
        )

    def _book(self, work: _Work, format_: Format, given: Sequence[Grouped]) -> None:
        """Enter the flows that groups of one layout are, and what is to be reported of them."""
        groups = merged(self.con, given)
        oriented = orient(self.con, groups, self.index, format_, nat_filter=self.options.nat_filter)
        self.con.register("groups", groups.table)
        self.con.register("oriented", oriented.table)
        sources = [file.source for file in work.files]
        work.tables.append(
            flows(self.con, oriented, format_.record, tenant=self.options.tenant, sources=sources)
        )
        account(self.con, work.reports, oriented)
        self.con.unregister("groups")
        self.con.unregister("oriented")

    def _changes_in(self, piece: Piece) -> pa.Table | None:
        """Return the changes that fall into the hours of a piece, as it spells addresses."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        if not self._changes or not piece.bookable:
            return None
        first = piece.spans.get("start", (0, 0, True))[0] // HOUR
        last = piece.spans.get("end", (0, 0, True))[1] // HOUR
        hours = self._changes if last - first > len(self._changes) else range(first, last + 1)
        found = sorted(change for hour in hours for change in self._changes.get(hour, ()))
        ends = piece.words.get(piece.record.mapping.source, ())
        position = {text: n for n, text in enumerate(ends)}
        found = [change for change in found if change[0] in position]
        if not found:
            return None
        return pa.table(
            {
                "address": pa.array([position[text] for text, _ in found], pa.int32()),
                "instant": pa.array([instant for _, instant in found], pa.int64()),
            }
        )

    @staticmethod
    def _engine_errors() -> tuple[type[Exception], ...]:
        import duckdb  # noqa: PLC0415 - heavy
        import pyarrow as pa  # noqa: PLC0415 - heavy

        # Damage inside a Parquet page may show only when its texts are looked at.
        return (duckdb.Error, pa.ArrowException, UnicodeDecodeError)


class _Work:
    """Files that are read together, and what was found so far."""

    def __init__(self, files: Sequence[LogFile]) -> None:
        self.files = files
        self.reports = [_blank(file) for file in files]
        self.groups: dict[tuple[str, ...], tuple[Format, list[Grouped]]] = {}
        self.tables: list[pa.Table] = []
        self.failed: dict[int, str] = {}

    def note(self, part: int, rows: Rows) -> None:
        """Enter what the format of a file says."""
        mapping, names = rows.record.mapping, rows.table.column_names
        self.reports[part] = msgspec.structs.replace(
            self.reports[part],
            record=rows.record.name,
            unknown_fields=rows.unknown,
            packet_ends={mapping.packet_source, mapping.packet_destination} <= {*names},
            fields=len({*names} & {*rows.record.used}),
        )


def _blank(file: LogFile) -> FileReport:
    return FileReport(path=file.name, format=file.format, flow_log_id=file.flow_log_id)
