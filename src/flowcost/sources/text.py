"""Text flow logs: by header in any order, or by a format; plain or gzip; CloudWatch exports.

Polars parses, and the rules stay in one place since only raw columns leave this module. A row is
whole when the last field of its format is there and nothing follows it but a blank.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from flowcost.errors import SourceError
from flowcost.sources import cloudwatch
from flowcost.sources.discover import LogFile
from flowcost.sources.raw import WHOLE, Rows
from flowcost.sources.record import FIELD_NAME, Record, canonical, check_unique
from flowcost.sources.tgw_flow_logs import TGW
from flowcost.sources.vpc_flow_logs import VPC

if TYPE_CHECKING:
    from polars import DataType, Expr

GZIP = b"\x1f\x8b"
HEAD = 1 << 16
LARGE = 4 << 20  # files up to this size as stored are parsed in one go
PIECE = 8 << 20  # larger ones in pieces of this many bytes of text

_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}")
_STAMP = "_timestamp"  # CloudWatch's own time before each record of an export
_EXTRA = "_extra"  # whatever follows the last field


def record_of(names: Collection[str], where: str) -> Record:
    """Return the kind of record that has these fields.

    Raises:
        SourceError: no kind of flow record does.
    """
    record = TGW if any(name.startswith("tgw-") for name in names) else VPC
    if len(record.names & set(names)) < 2:
        raise SourceError(
            f"{where}: not a flow log (fields {', '.join(sorted(names)[:5])}…)",
            hint="expected VPC or Transit Gateway flow log fields",
        )
    return record


def rows(file: LogFile, log_format: tuple[str, ...]) -> Iterator[Rows]:
    """Yield the rows of a text or JSON file, in parts that fit in memory.

    Raises:
        SourceError: no header and no format, a format that does not fit, or damaged gzip.
    """
    try:
        with _opened(file) as stream:
            head = stream.read(HEAD)
        if not head.strip():
            return
        if head.lstrip()[:1] in (b"{", b"["):
            with _opened(file) as stream:
                lines = cloudwatch.messages(stream.read(), file.name)
            if lines.strip():
                first, skip = _first_line(lines)
                layout = Layout(first, file.name, log_format)
                yield layout.rows(lines, skip + layout.header)
            return
        first, skip = _first_line(head)
        layout = Layout(first, file.name, log_format)
        skip += layout.header
        if file.size <= LARGE:
            yield layout.rows(file.path, skip)
            return
        for part in _parts(file, skip):
            yield layout.rows(part, 0)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(
            f"{file.name}: {error}", hint="the file is damaged or incomplete; fetch it again"
        ) from None


class Layout:
    """The fields of one file and how to parse them."""

    def __init__(self, first: bytes, where: str, log_format: tuple[str, ...]) -> None:
        self._where = where
        words = first.decode("utf-8-sig", "replace").split()
        names = [canonical(word) for word in words]
        known = VPC.names | TGW.names
        self.header = int(
            all(FIELD_NAME.fullmatch(name) for name in names)
            and 2 * sum(name in known for name in names) >= len(names) > 0
        )
        if not self.header:
            names = self._without_header(words, where, log_format)
        check_unique(names, where)
        self.names = names
        self.record = record_of(names, where)

    def _without_header(
        self, words: list[str], where: str, log_format: tuple[str, ...]
    ) -> list[str]:
        stamped = bool(words) and _TIMESTAMP.match(words[0]) is not None
        count = len(words) - stamped
        if log_format:
            names = log_format
        elif count == len(VPC.default):
            names = VPC.default
        elif count == len(TGW.default):
            names = TGW.default
        else:
            raise SourceError(
                f"{where}: no header line, and {count} fields are no default format",
                hint="copy the flow log's own format from the cloud's console or API: "
                "--log-format '${version} ${account-id} …'",
            )
        if count != len(names):
            raise SourceError(
                f"{where}: the first line has {count} fields where --log-format has {len(names)}",
                hint="give the format of this flow log, field by field in its order",
            )
        return [_STAMP, *names] if stamped else list(names)

    @property
    def _wanted(self) -> list[str]:
        fields = {*self.record.used, self.names[-1]}
        return [name for name in self.names if name in fields]

    def rows(self, source: Path | bytes, skip: int) -> Rows:
        """Return the wanted columns of a path or of bytes, and whether each row is whole."""
        import polars as pl  # noqa: PLC0415 - heavy

        last = self.names[-1]
        schema: dict[str, type[DataType]] = {
            name: pl.Int64 if name in self.record.integers and name != last else pl.String
            for name in self.names
        }
        try:
            frame = (
                pl.scan_csv(
                    source,
                    separator=" ",
                    has_header=False,
                    skip_lines=skip,
                    schema={**schema, _EXTRA: pl.String},
                    null_values=["-"],
                    empty_string_is_null=False,
                    quote_char=None,
                    ignore_errors=True,
                    missing_columns="insert",
                    extra_columns="ignore",
                    encoding="utf8-lossy",
                )
                .select(self._columns())
                .collect()
            )
        except pl.exceptions.PolarsError as error:
            raise SourceError(f"{self._where}: cannot be parsed ({error})") from None
        return Rows(
            table=frame.to_arrow(compat_level=pl.CompatLevel.newest()),
            record=self.record,
            unknown=tuple(sorted(set(self.names) - self.record.names - {_STAMP})),
        )

    def _columns(self) -> list[Expr]:
        """Return the wanted columns, and whether the last field is there and nothing follows."""
        import polars as pl  # noqa: PLC0415 - heavy

        columns = [pl.col(name) for name in self._wanted]
        last = pl.col(self.names[-1])
        if self.names[-1] in self.record.integers:
            columns[-1] = last.cast(pl.Int64, strict=False)
        there = (last.is_null() | (last != "")) & (pl.col(_EXTRA).fill_null("-") == "")
        return [*columns, there.alias(WHOLE)]


def _opened(file: LogFile) -> IO[bytes]:
    with file.path.open("rb") as stream:
        packed = stream.read(2) == GZIP
    return gzip.open(file.path, "rb") if packed else file.path.open("rb")  # type: ignore[return-value]


def _first_line(head: bytes) -> tuple[bytes, int]:
    """Return the first line that is not blank, and how many blank ones come before it."""
    lines = head.split(b"\n")
    position = next(n for n, line in enumerate(lines) if line.strip())
    return lines[position], position


def _parts(file: LogFile, skip: int) -> Iterator[bytes]:
    """Yield the text of a large file in parts cut at line ends, without its first lines."""
    with _opened(file) as stream:
        for _ in range(skip):
            stream.readline()
        rest = b""
        while data := stream.read(PIECE):
            body, newline, after = (rest + data).rpartition(b"\n")
            rest = after
            if newline:
                yield body + newline
        if rest:
            yield rest
