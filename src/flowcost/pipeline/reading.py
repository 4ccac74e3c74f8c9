"""Log files to partials, in this process: threads that fetch, and fewer that read.

Every engine takes the same tasks and gives the same partials; `spark` is the other one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Condition
from typing import Protocol

from msgspec import Struct

from flowcost.model import Finding
from flowcost.sources.discover import LogFile
from flowcost.sources.kernel import Kernel, Options
from flowcost.sources.knowledge import Knowledge
from flowcost.sources.object_errors import GoneError
from flowcost.sources.objects import Objects, is_object
from flowcost.sources.report import FileReport

AHEAD = 8  # objects fetched or waiting while others are read
SPOOL = 2 << 30  # bytes of fetched objects on disk at once; a larger one is there alone


class Task(Struct, frozen=True):
    """A file, and where its partial goes."""

    file: LogFile
    out: Path


class Read(Struct, frozen=True):
    """A task that is done: `out` is written. `hours` are UTC hours (Unix s) and their flows."""

    task: Task
    report: FileReport
    hours: dict[int, int]


class Gone(Struct, frozen=True):
    """A task whose file was there when it was listed and is not any more."""

    task: Task
    why: str

    @property
    def finding(self) -> Finding:
        """Return what the operator is told."""
        return Finding(
            code="flow-log-gone",
            severity="warning",
            subject=self.task.file.name,
            sample=self.why,
            hint="removed or replaced between listing and reading; run again",
        )


class Reader(Protocol):
    """What turns tasks into partials."""

    def read(
        self, tasks: Sequence[Task], knowledge: Knowledge, options: Options
    ) -> Iterator[Read | Gone]:
        """Yield each task as it is done.

        Raises:
            FlowcostError: the environment fails (network, permission, cluster); tasks that were
                yielded stand.
        """
        ...


class Embedded(Struct, frozen=True, kw_only=True):
    """Reads with `workers` connections (0: one per core), fetching objects ahead of them."""

    objects: Objects | None = None
    workers: int = 0

    def read(
        self, tasks: Sequence[Task], knowledge: Knowledge, options: Options
    ) -> Iterator[Read | Gone]:
        """Yield each task as it is done, in their order."""
        workers = max(1, min(self.workers or os.cpu_count() or 1, len(tasks)))
        free: SimpleQueue[Kernel] = SimpleQueue()
        kernels = [Kernel(knowledge, options) for _ in range(workers)]
        for kernel in kernels:
            free.put(kernel)
        space = _Space(SPOOL)

        def one(task: Task) -> Read | Gone:
            try:
                with self._at_hand(task.file, space):
                    kernel = free.get()
                    try:
                        report = kernel.partial(task.file, task.out).report
                    finally:
                        free.put(kernel)
                    if report.error and not task.file.path.exists():
                        return Gone(task, report.error)
            except GoneError as error:
                return Gone(task, str(error))
            return Read(task, report, hours_of(task.out))

        fetching = any(is_object(task.file) for task in tasks)
        try:
            with ThreadPoolExecutor(max_workers=workers + fetching * AHEAD) as pool:
                yield from pool.map(one, tasks)
        finally:
            for kernel in kernels:
                kernel.close()

    @contextmanager
    def _at_hand(self, file: LogFile, space: _Space) -> Iterator[None]:
        """Fetch the file if it is an object; it is removed at the end."""
        if self.objects is None or not is_object(file):
            yield
            return
        with space.taken(file.size):
            try:
                self.objects.fetch(file)
                yield
            finally:
                with suppress(OSError):
                    file.path.unlink(missing_ok=True)


def hours_of(partial: Path) -> dict[int, int]:
    """Return how many flows a partial has in which UTC hour (Unix seconds)."""
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

    instants = pq.read_table(partial, columns=["window_start"])["window_start"]
    hours = pc.value_counts(pc.floor_temporal(instants, unit="hour").cast("timestamp[s]"))
    seconds = hours.field("values").cast("int64").to_pylist()
    return dict(sorted(zip(seconds, hours.field("counts").to_pylist(), strict=True)))


class _Space:
    """Bytes on disk, shared by threads; whoever finds none waits."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._freed = Condition()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        with self._freed:
            self._freed.wait_for(lambda: not self._used or self._used + size <= self._limit)
            self._used += size
        try:
            yield
        finally:
            with self._freed:
                self._used -= size
                self._freed.notify_all()
