"""One log file becomes a partial aggregate and a report: the unit of work of every engine.

The same function runs in a thread of this process, in a worker of a pool and in a Spark task; a
partial depends on its file, the knowledge and the options alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from flowcost.address import unpack
from flowcost.errors import SourceError
from flowcost.schema import FLOWS
from flowcost.sources import aggregate, parquet, text
from flowcost.sources.aggregate import Aggregation
from flowcost.sources.discover import LogFile
from flowcost.sources.emit import flows, no_flows
from flowcost.sources.grouped import Grouped, number
from flowcost.sources.knowledge import Index, Knowledge
from flowcost.sources.orient import FATES, orient
from flowcost.sources.raw import Piece
from flowcost.sources.report import Fate, FileReport, Tally

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES = 3
HOUR = 3600


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
        report = FileReport(path=file.name, format=file.format, flow_log_id=file.flow_log_id)
        pieces = (
            parquet.pieces(file)
            if file.format == "parquet"
            else text.pieces(file, self.options.log_format)
        )
        try:
            return self._booked(file, report, pieces, out)
        except (SourceError, OSError) as error:
            return self._failed(report, str(error), out)
        except self._engine_errors() as error:
            return self._failed(report, str(error).splitlines()[0], out)

    def _booked(
        self, file: LogFile, report: FileReport, pieces: Iterator[Piece], out: Path | None
    ) -> Partial:

        tables: list[pa.Table] = []
        for piece in pieces:
            work = Aggregation(piece, ports=self.options.ports)
            groups = number(work, work.groups(self.con, self._changes_in(piece)))
            oriented = orient(
                self.con,
                groups,
                self.index,
                piece.record,
                nat_filter=self.options.nat_filter,
                packet_ends=piece.packet_ends,
                instances=piece.has(piece.record.mapping.instance),
            )
            tables.append(
                flows(
                    self.con,
                    oriented,
                    piece.record,
                    tenant=self.options.tenant,
                    source=file.source,
                )
            )
            report = self._accounted(report, work, groups)
        return self._delivered(report, tables, out)

    def _delivered(self, report: FileReport, tables: list[pa.Table], out: Path | None) -> Partial:
        import pyarrow as pa  # noqa: PLC0415 - heavy
        import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

        tables = tables or [no_flows()]
        count = sum(len(table) for table in tables)
        if out is None:
            return Partial(report, count, table=pa.concat_tables(tables).unify_dictionaries())
        partly = out.with_name(out.name + ".partly")
        with pq.ParquetWriter(
            partly,
            tables[0].schema,
            compression="zstd",
            compression_level=1,
            write_statistics=["window_start"],
            use_dictionary=_DICTIONARIES,
        ) as writer:
            for table in tables:
                writer.write_table(table)
        partly.replace(out)
        return Partial(report, count, path=out)

    def _changes_in(self, piece: Piece) -> pa.Table | None:
        """Return the changes that fall into the hours of a piece, as it spells addresses."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        if not self._changes or not piece.bookable:
            return None
        first = piece.spans.get("start", (0, 0, True))[0] // HOUR
        last = piece.spans.get("end", (0, 0, True))[1] // HOUR
        hours = self._changes if last - first > len(self._changes) else range(first, last + 1)
        found = sorted(change for hour in hours for change in self._changes.get(hour, ()))
        if piece.words:
            position = {text: n for n, text in enumerate(piece.words[piece.record.mapping.source])}
            found = [change for change in found if change[0] in position]
            addresses = pa.array([position[text] for text, _ in found], pa.int32())
        else:
            addresses = pa.array([text for text, _ in found], pa.string())
        if not found:
            return None
        return pa.table(
            {
                "address": addresses,
                "instant": pa.array([instant for _, instant in found], pa.int64()),
            }
        )

    def _accounted(self, report: FileReport, work: Aggregation, groups: Grouped) -> FileReport:
        """Return the report with the rows of one more piece."""
        con, fates = self.con, dict(report.fates)
        counted = con.execute(
            "SELECT fate, sum(rows)::BIGINT, sum(bytes)::HUGEINT, sum(bytes) FILTER (translated"
            " <> 0)::HUGEINT, sum(bytes) FILTER (at_nat)::HUGEINT FROM oriented GROUP BY ALL"
        ).fetchall()
        con.register("groups", groups.table)
        bare = con.execute(
            "SELECT code & 7, sum(rows)::BIGINT, sum(seconds)::BIGINT FROM groups"
            f" WHERE code & 7 IN ({', '.join(map(str, _BARE))}) GROUP BY ALL"
        ).fetchall()
        con.unregister("groups")
        named = [(FATES[fate], rows, total) for fate, rows, total, _, _ in counted]
        named += [(_BARE[kind], rows, 0) for kind, rows, _ in bare]
        for fate, rows, total in named:
            fates[fate] = fates.get(fate, Tally()) + Tally(rows, int(total))
        crossing = FATES.index(Fate.CROSS_CHECK)
        external = sum(int(nat or 0) for fate, _, _, _, nat in counted if fate == crossing)
        samples = list(report.samples)
        if fates.get(Fate.BROKEN) and len(samples) < SAMPLES:
            samples += work.broken_rows(con, SAMPLES - len(samples))
            samples += self._bad_addresses(groups, SAMPLES - len(samples))
        return FileReport(
            path=report.path,
            format=report.format,
            record=work.piece.record.name,
            flow_log_id=report.flow_log_id,
            rows=report.rows + sum(rows for _, rows, _ in named),
            fates=dict(sorted(fates.items())),
            skipped_seconds=report.skipped_seconds + sum(seconds for _, _, seconds in bare),
            unknown_fields=work.piece.unknown,
            packet_ends=work.piece.packet_ends,
            translated_bytes=report.translated_bytes
            + sum(int(total or 0) for _, _, _, total, _ in counted),
            external_bytes=report.external_bytes + external,
            samples=tuple(samples),
        )

    def _bad_addresses(self, groups: Grouped, limit: int) -> list[str]:
        found = self.con.execute(
            f"SELECT src, dst FROM oriented WHERE fate = {FATES.index(Fate.BROKEN)}"
            f" ORDER BY ALL LIMIT {max(0, limit)}"
        ).fetchall()
        return [f"{groups.addresses[src]} {groups.addresses[dst]}" for src, dst in found]

    def _failed(self, report: FileReport, error: str, out: Path | None) -> Partial:
        return self._delivered(msgspec.structs.replace(report, error=error), [], out)

    @staticmethod
    def _engine_errors() -> tuple[type[Exception], ...]:
        import duckdb  # noqa: PLC0415 - heavy

        return (duckdb.Error,)


_DICTIONARIES = [column.name for column in FLOWS if column.type in ("text", "address")]
_BARE = {
    aggregate.NODATA: Fate.NODATA,
    aggregate.SKIPDATA: Fate.SKIPDATA,
    aggregate.BROKEN: Fate.BROKEN,
    aggregate.NO_BYTES: Fate.NO_BYTES,
}
