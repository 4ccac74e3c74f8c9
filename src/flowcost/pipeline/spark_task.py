"""One task on a Spark worker: the same kernel, over one file, its partial sent back in pieces.

Shipped with the package's code, so that every worker runs what the driver runs. What goes wrong
is raised with the file's name, for Spark to try again and then for the operator to read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from flowcost.sources.discover import LogFile
from flowcost.sources.kernel import Kernel, Options
from flowcost.sources.knowledge import Knowledge
from flowcost.sources.object_errors import GoneError

if TYPE_CHECKING:
    import pyarrow as pa

# Rows of (file's number, kind, text, data): pieces of the partial's Parquet file, then its report;
# or why the file is gone.
SCHEMA = "number int, kind string, text string, data binary"
PIECE, REPORT, GONE = "piece", "report", "gone"
FAILED = "flowcost-task-failed "

PIECE_BYTES = 4 << 20
ATTEMPTS = 4
_GONE = {404: "no longer there", 412: "replaced since it was listed"}  # RFC 9110


class Errand(Struct, frozen=True):
    """A file to read; `url` is where an object can be fetched without credentials."""

    file: LogFile
    url: str = ""


class Common(Struct, frozen=True):
    """What all tasks of a run share."""

    knowledge: Knowledge
    options: Options


def perform(
    batches: Iterator[pa.RecordBatch], errands: list[Errand], common: bytes
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of `SCHEMA` for the errands that `batches` number.

    Raises:
        RuntimeError: `FAILED` and JSON of file, host and cause.
    """
    # Executors clear this folder when they end, whatever became of their Python workers.
    tempfile.tempdir = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or None
    kernel = _kernel(common)
    for batch in batches:
        for number in batch.column(0).to_pylist():
            errand = errands[number]
            try:
                yield from _read(kernel, number, errand)
            except Exception as error:
                cause = {
                    "file": errand.file.name,
                    "host": socket.gethostname(),
                    "missing": isinstance(error, _NotHereError),
                    "cause": f"{type(error).__name__}: {error}",
                }
                raise RuntimeError(FAILED + json.dumps(cause)) from error


class _NotHereError(Exception):
    """The file is not on this machine."""


_KERNELS: dict[str, Kernel] = {}


def _kernel(common: bytes) -> Kernel:
    """Return this process's kernel: a worker serves many tasks, one after another."""
    name = hashlib.sha256(common).hexdigest()
    if name not in _KERNELS:
        for kernel in _KERNELS.values():
            kernel.close()
        _KERNELS.clear()
        shared = msgspec.msgpack.decode(common, type=Common)
        _KERNELS[name] = Kernel(shared.knowledge, shared.options)
    return _KERNELS[name]


def _read(kernel: Kernel, number: int, errand: Errand) -> Iterator[pa.RecordBatch]:
    with tempfile.TemporaryDirectory(prefix="flowcost-") as folder:
        file, out = errand.file, Path(folder) / "partial.parquet"
        if errand.url:
            file = msgspec.structs.replace(file, path=Path(folder) / "object")
            try:
                _fetch(errand, file.path)
            except GoneError as gone:
                yield _row(number, GONE, text=str(gone))
                return
        elif not file.path.exists():
            raise _NotHereError(str(file.path))
        report = kernel.partial(file, out).report
        with out.open("rb") as stream:
            while piece := stream.read(PIECE_BYTES):
                yield _row(number, PIECE, data=piece)
        yield _row(number, REPORT, text=msgspec.json.encode(report).decode())


def _row(number: int, kind: str, *, text: str = "", data: bytes = b"") -> pa.RecordBatch:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return pa.RecordBatch.from_arrays(
        [
            pa.array([number], pa.int32()),
            pa.array([kind], pa.string()),
            pa.array([text], pa.string()),
            pa.array([data], pa.binary()),
        ],
        names=["number", "kind", "text", "data"],
    )


def _fetch(errand: Errand, path: Path) -> None:
    """Write an object to `path`; transient answers are tried again."""
    name, version = errand.file.name, errand.file.version
    headers = {"If-Match": version} if version.endswith('"') else {}
    request = urllib.request.Request(errand.url, headers=headers)  # noqa: S310 - signed by the driver
    for attempt in range(ATTEMPTS):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer, path.open("wb") as out:  # noqa: S310
                shutil.copyfileobj(answer, out, PIECE_BYTES)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in _GONE:
                raise GoneError(f"{name}: {_GONE[error.code]}") from None
            if error.code < 500 or attempt == ATTEMPTS - 1:
                raise
        except OSError:
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return
        time.sleep(2**attempt)
