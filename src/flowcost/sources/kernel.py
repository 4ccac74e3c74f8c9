"""One log file becomes a partial aggregate and a report: the unit of work of every engine.

The same function runs in a thread of this process, in a worker of a pool and in a Spark task; a
partial depends on its file, the knowledge and the options alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from flowcost.address import unpack
from flowcost.errors import SourceError
from flowcost.schema import DUCKDB_TYPES, FLOWS
from flowcost.sources import aggregate, orient, parquet, text
from flowcost.sources.aggregate import CODE, Aggregation, Rows
from flowcost.sources.knowledge import Index, Knowledge
from flowcost.sources.discover import LogFile
from flowcost.sources.report import Fate, FileReport, Tally
from flowcost.sources.tgw_flow_logs import TGW

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

SAMPLES = 3


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
        orient.create_own(self.con, self.index)
        self._create_changes()

    def close(self) -> None:
        """Release the connection and its spill files."""
        self.con.close()
        self._spill.cleanup()

    def partial(self, file: LogFile, out: Path | None = None) -> Partial:
        """Return the flows of `file`, written to `out` as Parquet, or as an Arrow table.

        A file that cannot be read books nothing and says why in its report.
        """
        report = FileReport(path=file.name, format=file.format, flow_log_id=file.flow_log_id)
        reader = parquet.rows if file.format == "parquet" else text.rows
        try:
            return self._booked(
                file, report, reader(self.con, file, self.options.log_format), out
            )
        except (SourceError, OSError) as error:
            return self._failed(report, str(error), out)
        except self._engine_errors() as error:
            return self._failed(report, str(error).splitlines()[0], out)

    def _booked(
        self, file: LogFile, report: FileReport, pieces: Iterator[Rows], out: Path | None
    ) -> Partial:
        self.con.execute(f"CREATE OR REPLACE TEMP TABLE flows AS {_select('', '', empty=True)}")
        for rows in pieces:
            work = Aggregation(
                rows, ports=self.options.ports, changes=bool(self.index.knowledge.changes)
            )
            work.run(self.con)
            if rows.record is TGW:
                orient.orient_tgw(self.con, self.index)
            else:
                orient.orient_vpc(
                    self.con,
                    self.index,
                    nat_filter=self.options.nat_filter,
                    packet_ends=work.has_packet_ends,
                    instances=rows.record.mapping.instance in rows.columns,
                )
            self.con.execute(
                f"INSERT INTO flows BY NAME {_select(self.options.tenant, file.source)}"
            )
            report = self._accounted(report, work)
        flows = self.con.execute("SELECT count(*) FROM flows").fetchall()[0][0]
        return self._delivered(report, flows, out)

    def _delivered(self, report: FileReport, flows: int, out: Path | None) -> Partial:
        if out is None:
            table: pa.Table = self.con.sql("FROM flows").to_arrow_table()
            return Partial(report, flows, table=table)
        partly = out.with_name(out.name + ".partly")
        self.con.execute(
            f"COPY flows TO {aggregate.literal(str(partly))}"
            " (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
        )
        partly.replace(out)
        return Partial(report, flows, path=out)

    def _accounted(self, report: FileReport, work: Aggregation) -> FileReport:
        """Return the report with the rows of one more piece."""
        con, fates = self.con, dict(report.fates)
        counted = con.execute(
            "SELECT fate, sum(rows)::BIGINT, sum(bytes)::HUGEINT FROM oriented GROUP BY ALL"
        ).fetchall()
        bare = con.execute(
            "SELECT code & 7, sum(rows)::BIGINT, 0 FROM groups"
            f" WHERE code & 7 IN ({', '.join(map(str, _BARE))}) GROUP BY ALL"
        ).fetchall()
        named = [(Fate(fate), rows, total) for fate, rows, total in counted]
        named += [(_BARE[kind], rows, total) for kind, rows, total in bare]
        for fate, rows, total in named:
            fates[fate] = fates.get(fate, Tally()) + Tally(rows, int(total))
        seconds, translated, external = con.execute(
            "SELECT (SELECT coalesce(sum(seconds), 0)::BIGINT FROM groups),"
            " coalesce(sum(bytes) FILTER (translated <> 0), 0)::HUGEINT,"
            f" coalesce(sum(bytes) FILTER (at_nat AND fate = '{Fate.CROSS_CHECK}'), 0)::HUGEINT"
            " FROM oriented"
        ).fetchall()[0]
        samples = list(report.samples)
        if fates.get(Fate.BROKEN) and len(samples) < SAMPLES:
            samples += work.broken_rows(con, SAMPLES - len(samples))
            samples += self._bad_addresses(SAMPLES - len(samples))
        return FileReport(
            path=report.path,
            format=report.format,
            record=work.rows.record.name,
            flow_log_id=report.flow_log_id,
            rows=report.rows + sum(rows for _, rows, _ in named),
            fates=dict(sorted(fates.items())),
            skipped_seconds=report.skipped_seconds + seconds,
            unknown_fields=work.rows.unknown,
            packet_ends=work.has_packet_ends,
            translated_bytes=report.translated_bytes + int(translated),
            external_bytes=report.external_bytes + int(external),
            samples=tuple(samples),
        )

    def _bad_addresses(self, limit: int) -> list[str]:
        found = self.con.execute(
            f"SELECT src, dst, observer FROM oriented WHERE fate = '{Fate.BROKEN}'"
            f" ORDER BY ALL LIMIT {max(0, limit)}"
        ).fetchall()
        return [" ".join(row) for row in found]

    def _failed(self, report: FileReport, error: str, out: Path | None) -> Partial:
        self.con.execute(f"CREATE OR REPLACE TEMP TABLE flows AS {_select('', '', empty=True)}")
        return self._delivered(
            FileReport(
                path=report.path,
                format=report.format,
                flow_log_id=report.flow_log_id,
                error=error,
            ),
            0,
            out,
        )

    def _create_changes(self) -> None:
        """Create the table `changes`, addresses as the records spell them."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        rows = sorted(self.index.knowledge.changes)
        table = pa.table(
            {
                "address": pa.array([unpack(address) for address, _ in rows], pa.string()),
                "hour": pa.array([begin // 3600 for _, begin in rows], pa.int64()),
            }
        )
        self.con.register("changes_given", table)
        self.con.execute("CREATE TEMP TABLE changes AS FROM changes_given")
        self.con.unregister("changes_given")

    @staticmethod
    def _engine_errors() -> tuple[type[Exception], ...]:
        import duckdb  # noqa: PLC0415 - heavy

        return (duckdb.Error,)


_BARE = {
    aggregate.NODATA: Fate.NODATA,
    aggregate.SKIPDATA: Fate.SKIPDATA,
    aggregate.BROKEN: Fate.BROKEN,
    aggregate.NO_BYTES: Fate.NO_BYTES,
}
_DEFAULTS = {"text": "''", "small": "0", "int": "0", "address": "NULL"}


def _bits(name: str) -> str:
    first, width = CODE[name]
    return f"((code >> {first}) & {(1 << width) - 1})"


def _select(tenant: str, source: str, *, empty: bool = False) -> str:
    """Return the query from `oriented` to the columns of `schema.FLOWS`; `empty` types them."""
    if empty:
        columns = ", ".join(
            f"NULL::{DUCKDB_TYPES[column.type]} AS {column.name}" for column in FLOWS
        )
        return f"SELECT {columns} WHERE FALSE"
    hour, port = f"({_bits('hour')} + part)", _bits("port")
    at_local = f"({port} > 0 AND ({port} & 1 = 1) = (side = 1))"
    first = "straddles = 1 AND part = 0"
    exact = "begins > 0"

    def size(name: str) -> str:
        whole = f"CASE WHEN straddles = 0 THEN {name} WHEN part = 0 THEN first_{name}"
        return f"({whole} ELSE {name} - first_{name} END)::BIGINT"

    expressions = {
        "window_start": f"make_timestamp(1000000 * (CASE WHEN {exact} AND part = 0 THEN begins"
        f" ELSE {hour} * 3600 END))",
        "window_end": f"make_timestamp(1000000 * (CASE WHEN {exact} AND NOT ({first})"
        f" THEN greatest(ends, begins + 1) ELSE {hour} * 3600 + 3600 END))",
        "tenant": aggregate.literal(tenant),
        "observer": "CASE WHEN observer IN ('', '-') THEN device ELSE observer END",
        "observer_type": "observer_type",
        "account": "account",
        "region": "region",
        "az_id": "az",
        "vpc_id": "vpc",
        "subnet_id": "subnet",
        "direction": "CASE side WHEN 1 THEN 'transmit' ELSE 'receive' END",
        "local_address": "local_address",
        "local_port": f"CASE WHEN {at_local} THEN {port} >> 1 ELSE 0 END",
        "remote_address": "remote_address",
        "remote_port": f"CASE WHEN {at_local} THEN 0 ELSE {port} >> 1 END",
        "transport": _bits("protocol"),
        "initiator": f"CASE WHEN {port} = 0 THEN 'unknown' WHEN {at_local} THEN 'remote'"
        " ELSE 'local' END",
        "via": "via",
        "bytes": size("bytes"),
        "packets": size("packets"),
        "local_uid": "local_uid",
        "traffic_path": _bits("path"),
        "aws_service": "CASE side WHEN 1 THEN dst_service ELSE src_service END",
        "next_hop_type": "next_hop_type",
        "next_hop_az_id": "next_hop_az",
        "sampled": "1",
        "source": aggregate.literal(source),
    }
    dashed = {"az_id", "vpc_id", "subnet_id", "account", "region", "aws_service",
              "next_hop_type", "next_hop_az_id", "local_uid"}  # fmt: skip
    columns = []
    for column in FLOWS:
        expression = expressions.get(column.name) or _DEFAULTS[column.type]
        if column.name in dashed:
            expression = f"CASE WHEN {expression} = '-' THEN '' ELSE {expression} END"
        columns.append(f"({expression})::{DUCKDB_TYPES[column.type]} AS {column.name}")
    booked = f"SELECT *, {_bits('straddles')} AS straddles FROM oriented WHERE fate = '{Fate.BOOKED}'"
    return (
        f"SELECT {', '.join(columns)} FROM (SELECT *, 0 AS part FROM ({booked}) UNION ALL"
        f" SELECT *, 1 FROM ({booked}) WHERE straddles = 1)"
    )
