"""Many files become partials: in parallel, bounded in memory, resumable after any interruption.

Each file is one task on one thread with an engine of its own; nothing but the tasks under way is
held in memory. A partial is named by the content of its file, the knowledge and the options, and
appears by a rename after its report: what is there is whole, and is not made again.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import msgspec
from msgspec import Struct

from flowcost.model import Finding
from flowcost.sources.discover import LogFile
from flowcost.sources.kernel import Kernel, Options
from flowcost.sources.knowledge import Knowledge
from flowcost.sources.report import FileReport, findings

# Raise when a kernel gives other flows for the same file, so that old partials are not reused.
KERNEL_VERSION = 1


class Scanned(Struct, frozen=True, kw_only=True):
    """All partials of a scan, in the order of the files, and what was found on the way.

    Attributes:
        partials: Parquet files with the columns of `schema.FLOWS`.
        reports: one per file.
        reused: how many partials were there already.
        findings: trouble in all files together.
    """

    partials: tuple[Path, ...]
    reports: tuple[FileReport, ...]
    reused: int
    findings: tuple[Finding, ...]


def scan(
    files: Sequence[LogFile],
    out: Path,
    knowledge: Knowledge,
    options: Options | None = None,
    *,
    workers: int | None = None,
    progress: Callable[[FileReport], None] | None = None,
) -> Scanned:
    """Read `files` into partials under `out`.

    Args:
        files: what to read; `discover.unique` has dropped copies.
        out: folder of partials; made if missing. Files of earlier scans stay.
        knowledge: what the inventory knows; it is part of a partial's name.
        options: what the operator chose; likewise.
        workers: threads; by default one per processor.
        progress: called with each report as it comes, from the calling thread.

    Raises:
        OSError: `out` cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    options = options or Options()
    base = hashlib.sha256(_canonical(knowledge) + _canonical(options) + bytes([KERNEL_VERSION]))
    paths = [out / f"{_name(base, file)}.parquet" for file in files]
    reports: dict[int, FileReport] = {}
    for number, path in enumerate(paths):
        report = _finished(path)
        if report is not None:
            reports[number] = report
    reused = len(reports)
    missing = [number for number in range(len(files)) if number not in reports]
    kernels = _Kernels(knowledge, options)
    count = max(1, min(workers or os.cpu_count() or 1, len(missing)))
    try:
        with ThreadPoolExecutor(count, thread_name_prefix="flowcost-scan") as pool:
            tasks = {
                pool.submit(kernels.read, files[number], paths[number]): number
                for number in missing
            }
            for task in as_completed(tasks):
                report = reports[tasks[task]] = task.result()
                if progress is not None:
                    progress(report)
    finally:
        kernels.close()
    ordered = tuple(reports[number] for number in range(len(files)))
    return Scanned(
        partials=tuple(paths), reports=ordered, reused=reused, findings=tuple(findings(ordered))
    )


class _Kernels:
    """One kernel per thread."""

    def __init__(self, knowledge: Knowledge, options: Options) -> None:
        self._knowledge, self._options = knowledge, options
        self._local = threading.local()
        self._all: list[Kernel] = []

    def read(self, file: LogFile, path: Path) -> FileReport:
        kernel: Kernel | None = getattr(self._local, "kernel", None)
        if kernel is None:
            kernel = self._local.kernel = Kernel(self._knowledge, self._options)
            self._all.append(kernel)
        # The report first: a partial that is there has one.
        partial = kernel.partial(file, path.with_suffix(".flows"))
        if partial.report.error:
            path.with_suffix(".flows").replace(path)
            return partial.report  # not remembered: the file may be whole next time
        side = path.with_suffix(".partly")
        side.write_bytes(msgspec.json.encode(partial.report))
        side.replace(path.with_suffix(".json"))
        path.with_suffix(".flows").replace(path)
        return partial.report

    def close(self) -> None:
        for kernel in self._all:
            kernel.close()


def _canonical(value: Struct) -> bytes:
    """Return bytes that are equal for equal values, whatever the order of sets."""
    return msgspec.msgpack.encode(_sorted(msgspec.to_builtins(value, builtin_types=(bytes,))))


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(item) for key, item in sorted(value.items())}
    if isinstance(value, (set, frozenset, list, tuple)):
        return sorted((_sorted(item) for item in value), key=repr)
    return value


def _name(base: hashlib._Hash, file: LogFile) -> str:
    named = base.copy()
    named.update(f"\0{file.key}\0{file.version}\0{file.size}".encode())
    return named.hexdigest()[:40]


def _finished(path: Path) -> FileReport | None:
    """Return the report of a partial that is whole, else None."""
    try:
        report = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=FileReport)
    except (OSError, msgspec.DecodeError):
        return None
    return report if path.exists() else None
