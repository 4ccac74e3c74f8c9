"""Log files to partials, in this process: threads that fetch, and fewer that read.

Small files are read several at once and share a partial. Every engine takes the same tasks and
gives the same flows for each file; `spark` is the other one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
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
TOGETHER = 8 << 20  # bytes, as stored, of the files that are read at once
MOST_TOGETHER = 64  # files


class Task(Struct, frozen=True):
    """A file, and where its partial goes."""

    file: LogFile
    out: Path


class Read(Struct, frozen=True):
    """A task that is done. `hours` are UTC hours (Unix s) and their flows.

    The flows are in `partial`, where `part` says that they are this file's, one of `parts`.
    """

    task: Task
    report: FileReport
    hours: dict[int, int]
    partial: Path
    part: int = 0
    parts: int = 1


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
        """Yield each task as it is done, group by group."""
        groups = list(_grouped(tasks))
        workers = max(1, min(self.workers or os.cpu_count() or 1, len(groups)))
        free: SimpleQueue[Kernel] = SimpleQueue()
        kernels = [Kernel(knowledge, options) for _ in range(workers)]
        for kernel in kernels:
            free.put(kernel)
        space = _Space(SPOOL)

        def several(group: list[Task]) -> list[Read | Gone]:
            with space.taken(self._needed(group)), ExitStack() as fetched:
                gone: dict[Task, str] = {}
                for task in group:
                    try:
                        fetched.enter_context(self._at_hand(task.file))
                    except GoneError as error:
                        gone[task] = str(error)
                kernel = free.get()
                try:
                    read = iter(_read(kernel, [task for task in group if task not in gone]))
                finally:
                    free.put(kernel)
                return [Gone(task, gone[task]) if task in gone else next(read) for task in group]

        fetching = any(is_object(task.file) for task in tasks)
        try:
            with ThreadPoolExecutor(max_workers=workers + fetching * AHEAD) as pool:
                for outcomes in pool.map(several, groups):
                    yield from outcomes
        finally:
            for kernel in kernels:
                kernel.close()

    def _needed(self, group: Sequence[Task]) -> int:
        """Return the bytes of spool that the objects of a group take."""
        if self.objects is None:
            return 0
        return sum(task.file.size for task in group if is_object(task.file))

    @contextmanager
    def _at_hand(self, file: LogFile) -> Iterator[None]:
        """Fetch the file if it is an object; it is removed at the end."""
        if self.objects is None or not is_object(file):
            yield
            return
        try:
            self.objects.fetch(file)
            yield
        finally:
            with suppress(OSError):
                file.path.unlink(missing_ok=True)


def _grouped(tasks: Sequence[Task]) -> Iterator[list[Task]]:
    group: list[Task] = []
    size = 0
    for task in tasks:
        if group and (len(group) == MOST_TOGETHER or size + task.file.size > min(TOGETHER, SPOOL)):
            yield group
            group, size = [], 0
        group.append(task)
        size += task.file.size
    if group:
        yield group


def _read(kernel: Kernel, tasks: Sequence[Task]) -> list[Read | Gone]:
    """Read files into one partial, which is named by all of them."""
    if not tasks:
        return []
    out = tasks[0].out
    if len(tasks) > 1:
        names = "\0".join(task.out.name for task in tasks)
        out = out.with_name(f"{hashlib.sha256(names.encode()).hexdigest()[:32]}{out.suffix}")
    outcomes: list[Read | Gone] = []
    found = kernel.together([task.file for task in tasks], out)
    for number, (task, part) in enumerate(zip(tasks, found, strict=True)):
        if part.report.error and not task.file.path.exists():
            outcomes.append(Gone(task, part.report.error))
        else:
            outcomes.append(Read(task, part.report, part.hours, out, number, len(tasks)))
    return outcomes


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
