"""Small files of one format, read together by the kernel and one row at a time by the reference."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flowcost.sources.discover import LogFile, describe
from flowcost.sources.kernel import Kernel, Options
from flowcost.sources.report import Fate, FileReport
from flowcost.sources.tgw_flow_logs import TGW
from flowcost.sources.vpc_flow_logs import VPC
from tests.sources.mutate import KNOWN, Draw, columns, line, names
from tests.sources.reference import Booked, Expected, Row, expected, integer, rows_of
from tests.sources.reference_words import COLUMNS

_INTEGERS = VPC.integers | TGW.integers
FORMS = (".log", ".log", ".log.gz", ".parquet", ".parquet", ".json")


class DifferenceError(AssertionError):
    """The two readers do not agree on a file."""


@dataclass
class Draft:
    """A file to be: its form of delivery, and its rows as lines or as Parquet holds them."""

    form: str
    lines: list[str] = field(default_factory=list)
    stored: list[Row] = field(default_factory=list)

    def rows(self, fields: Sequence[str]) -> list[Row | None]:
        """Return the rows as the reference takes them."""
        if self.form == ".parquet":
            return [*self.stored]
        lines = self.lines
        if self.form == ".json":  # a message is one record: blanks at its ends are not part of it
            lines = [" ".join(line.split("\n")).strip() for line in lines]
        return list(rows_of(lines, fields))

    def write(self, path: Path, fields: Sequence[str]) -> None:
        """Write the file."""
        if self.form == ".parquet":
            _write_parquet(path, self.stored, fields)
            return
        lines = [" ".join(fields), *self.lines]
        if self.form == ".json":
            text = json.dumps({"logEvents": [{"message": line} for line in lines]})
        else:
            text = "\n".join((*lines, ""))
        data = text.encode("utf-8")
        path.write_bytes(gzip.compress(data, 1) if self.form.endswith(".gz") else data)


class Batch:
    """Files of one format, which cost together little more than one alone."""

    def __init__(self, draw: Draw) -> None:
        self.names = names(draw)
        self.drafts: list[Draft] = []
        self.inputs = 0

    def add(self, draw: Draw, lines: int) -> None:
        """Add a file of up to so many lines, in some form of delivery."""
        self.drafts.append(Draft(draw.choice(FORMS)))
        self._feed(self.drafts[-1], draw, lines)

    def feed(self, draw: Draw, lines: int) -> list[Row | None]:
        """Add lines to one of a few files, and return them as rows."""
        if not self.drafts:
            self.drafts = [Draft(form) for form in FORMS]
        return self._feed(draw.choice(self.drafts), draw, lines)

    def feed_text(self, lines: list[str]) -> list[Row | None]:
        """Add any lines to the first file, which is plain text, and return them as rows."""
        if not self.drafts:
            self.drafts = [Draft(form) for form in FORMS]
        self.inputs += 1
        self.drafts[0].lines += lines
        return list(rows_of(lines, self.names))

    def _feed(self, draft: Draft, draw: Draw, lines: int) -> list[Row | None]:
        self.inputs += 1
        count = draw.randrange(lines + 1)
        new = Draft(draft.form)
        if draft.form == ".parquet":
            new.stored = [_stored(row) for row in columns(draw, self.names, count)]
        else:
            new.lines = [line(draw, self.names) for _ in range(count)]
        draft.lines += new.lines
        draft.stored += new.stored
        return new.rows(self.names)

    def check(self, kernel: Kernel, folder: Path) -> Counter[Fate]:
        """Write the files into `folder`, read them, and return the rows by fate.

        Raises:
            DifferenceError: naming the file and what was found and wanted.
        """
        files, wanted = [], []
        for number, draft in enumerate(self.drafts):
            path = folder / f"{number}{draft.form}"
            draft.write(path, self.names)
            file = describe(path.as_posix(), path, size=path.stat().st_size, version="1")
            assert file is not None
            files.append(file)
            wanted.append(expected(draft.rows(self.names), self.names, KNOWN))
        out = folder / "out.parquet"
        parts = kernel.together(files, out)
        found = _booked(out, len(files))
        for file, part, flows, one in zip(files, parts, found, wanted, strict=True):
            _agree(file, part.report, flows, one)
        return sum((one.fates for one in wanted), Counter())


def kernel() -> Kernel:
    """Return a kernel that knows what the reference is told."""
    return Kernel(KNOWN, Options())


def _agree(
    file: LogFile, report: FileReport, flows: Mapping[str, Counter[Booked]], wanted: Expected
) -> None:
    counted = Counter({fate: tally.rows for fate, tally in report.fates.items()})
    booked = flows["bytes"].total()
    faults = [
        report.error,
        "" if counted == wanted.fates else f"fates {dict(counted)}, not {dict(wanted.fates)}",
        _other("bytes", flows["bytes"], wanted.bytes),
        _other("packets", flows["packets"], wanted.packets),
        "" if booked == report.tally(Fate.BOOKED).bytes else "the report's bytes are others",
        "" if report.rows == counted.total() else "the report's rows are others",
    ]
    if any(faults):
        content = file.path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        raise DifferenceError(f"{file.name}: {'; '.join(filter(None, faults))}\n{content[:3000]!r}")


def _other(name: str, found: Counter[Booked], wanted: Counter[Booked]) -> str:
    if +found == +wanted:
        return ""
    return f"{name}: found {found - wanted}, wanted {wanted - found}"


def _booked(out: Path, files: int) -> list[dict[str, Counter[Booked]]]:
    """Return the bytes and packets of each file's flows."""
    found: list[dict[str, Counter[Booked]]] = [
        {"bytes": Counter(), "packets": Counter()} for _ in range(files)
    ]
    table = pq.read_table(out, columns=["window_start", *COLUMNS, "bytes", "packets", "part"])
    hours = [int(moment.timestamp()) // 3600 * 3600 for moment in table["window_start"].to_pylist()]
    keys = zip(hours, *(table[name].to_pylist() for name in COLUMNS), strict=True)
    amounts = [table[name].to_pylist() for name in ("part", "bytes", "packets")]
    for key, part, size, packets in zip(keys, *amounts, strict=True):
        found[part]["bytes"][key] += size
        found[part]["packets"][key] += packets
    return found


def _stored(row: Row) -> Row:
    """Return a row as Parquet can hold it: numbers or nothing, `-` and the empty text alike."""
    kept = {}
    for name, word in row.items():
        if name in _INTEGERS:
            number = integer(word)
            kept[name] = "-" if number is None else str(number)
        else:
            kept[name] = word or "-"
    return kept


def _write_parquet(path: Path, rows: Sequence[Row], fields: Sequence[str]) -> None:
    """Write rows with either spelling of names, and either form of what is missing."""
    table = {}
    for name in fields:
        words = [row[name] for row in rows]
        if name in _INTEGERS:
            column = pa.array([integer(word) for word in words], pa.int64())
        else:
            nulls = [None if word == "-" and n % 2 else word for n, word in enumerate(words)]
            column = pa.array(nulls, pa.string())
        table[name if len(rows) % 2 else name.replace("-", "_")] = column
    pq.write_table(pa.table(table), path)
