"""Which flow-log files there are: local trees, and object stores through `objects`.

Path and name are the provider's (`AWSLogs/<account>/vpcflowlogs/<region>/…` or the Hive form);
nothing is decided by them but what a record may lack: the flow log's id, by which overlapping
logs of one interface are told apart. Any tree of `.log`, `.log.gz`,
`.parquet`, `.json` and `.json.gz` files is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from flowcost.errors import SourceError
from flowcost.model import Finding

SUFFIXES = {
    ".parquet": "parquet",
    ".json": "json",
    ".json.gz": "json",
    ".log": "text",
    ".log.gz": "text",
    ".txt": "text",
    ".txt.gz": "text",
    ".gz": "text",
}

_NAME = re.compile(
    r"(?P<account>[0-9]{12})_[A-Za-z]+_(?P<region>[a-z]{2}(?:-[a-z]+)+-[0-9]+)_"
    r"(?P<flow_log>fl-[0-9a-f]+)_[0-9]{8}T[0-9]{4}Z_[0-9a-zA-Z]+\.log"
)


class LogFile(Struct, frozen=True, kw_only=True):
    """One file.

    Attributes:
        name: local path as found, or `s3://bucket/key`.
        path: where to read it; for an object, where it was or will be fetched to.
        format: `text`, `json` or `parquet`; from the suffix, text and JSON are told apart again
            by their first byte.
        size: bytes as stored.
        version: what changes when the content does: ETag, or modification time and size.
        account, region, flow_log_id: from the provider's file name, else empty.
    """

    name: str
    path: Path
    format: str
    size: int
    version: str
    account: str = ""
    region: str = ""
    flow_log_id: str = ""

    @property
    def key(self) -> str:
        """Return what identifies the file's content wherever it was copied to."""
        base = self.name.rpartition("/")[2]
        return base if self.flow_log_id else self.name

    @property
    def source(self) -> str:
        """Return what `schema.FLOWS.source` says: the flow log, else the folder."""
        return self.flow_log_id or self.name.rpartition("/")[0].rpartition("/")[2]


def describe(name: str, path: Path, *, size: int, version: str) -> LogFile | None:
    """Return the file that `name` is, or None if it is no flow log by its suffix."""
    base = name.rpartition("/")[2]
    if base.startswith((".", "_")):
        return None
    kind = next((kind for suffix, kind in SUFFIXES.items() if base.endswith(suffix)), None)
    if kind is None:
        return None
    match = _NAME.match(base)
    if match is None:
        return LogFile(name=name, path=path, format=kind, size=size, version=version)
    return LogFile(
        name=name,
        path=path,
        format=kind,
        size=size,
        version=version,
        account=match["account"],
        region=match["region"],
        flow_log_id=match["flow_log"],
    )


def local(root: Path) -> Iterator[LogFile]:
    """Yield the flow-log files at or below `root`, in order of their path.

    Raises:
        SourceError: there is no such file or folder, or a named file has no known suffix.
    """
    if not root.exists():
        raise SourceError(
            f"{root}: no such file or folder", hint="check the path given to --flow-logs"
        )
    found = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    for path in found:
        stat = path.stat()
        file = describe(
            path.as_posix(), path, size=stat.st_size, version=f"{stat.st_mtime_ns}-{stat.st_size}"
        )
        if file is not None:
            yield file
        elif root.is_file():
            raise SourceError(
                f"{root}: not a flow log by its name",
                hint=f"known endings: {', '.join(SUFFIXES)}",
            )


def unique(files: Iterable[LogFile]) -> tuple[list[LogFile], list[Finding]]:
    """Return the files without copies, ordered by key, and a finding for the copies.

    A provider's file name ends in a hash of its own, so two files of one name are one object.
    """
    kept: dict[str, LogFile] = {}
    copies: list[LogFile] = []
    for file in sorted(files, key=lambda file: (file.key, file.name)):
        if file.key in kept:
            if kept[file.key].name != file.name:
                copies.append(file)
        else:
            kept[file.key] = file
    if not copies:
        return list(kept.values()), []
    finding = Finding(
        code="flow-log-copy",
        severity="info",
        subject="flow logs",
        count=len(copies),
        sample=copies[0].name,
        hint="these files are copies of others by their name; each is read once",
    )
    return list(kept.values()), [finding]
