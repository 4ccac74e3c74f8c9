"""`--engine spark://…`: the kernel is shipped to the files, its partials come back to the shelf.

Spark schedules, retries and spreads; what a file becomes is decided by the same code as in one
process, so the partials are the same bytes and everything after them is the one implementation.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from flowcost.errors import FlowcostError, NotSupportedError, UnreachableError, UsageError
from flowcost.pipeline.reading import Gone, Read, Task, hours_of
from flowcost.pipeline.spark_session import PROBE_SECONDS, session, workers_python
from flowcost.pipeline.spark_task import (
    FAILED,
    GONE,
    PIECE,
    REPORT,
    SCHEMA,
    Common,
    Errand,
)
from flowcost.sources.discover import LogFile
from flowcost.sources.kernel import Options
from flowcost.sources.knowledge import Knowledge
from flowcost.sources.objects import Objects, is_object
from flowcost.sources.report import FileReport

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

# A job's partials pass through the driver's memory together.
JOB_FILES = 16
JOB_BYTES = 256 << 20
JOBS = 32

_MISSING_MODULE = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")
_FAILED = re.compile(re.escape(FAILED) + r"(\{.*\})")


class Cluster(Struct, frozen=True, kw_only=True):
    """Reads on the cluster of `master`: `spark://host:port` or `local-cluster[n,cores,MiB]`."""

    master: str
    objects: Objects | None = None

    def read(
        self, tasks: Sequence[Task], knowledge: Knowledge, options: Options
    ) -> Iterator[Read | Gone]:
        """Yield each task as it is done, job by job.

        Raises:
            NotSupportedError: Spark or Java is missing here, or a module on the workers.
            UnreachableError: the cluster does not answer, has no room, or fails on a file.
            UsageError: a file is not at its path on the workers.
        """
        common = msgspec.msgpack.encode(Common(knowledge, options))
        with session(self.master) as spark:
            shared = spark.sparkContext.broadcast(common)
            _probe(spark)
            slots = spark.sparkContext.defaultParallelism
            jobs = list(_jobs(tasks))
            # Enough jobs at once that every core has a file and one to come.
            at_once = 1 + 2 * slots * len(jobs) // max(1, len(tasks))
            pool = ThreadPoolExecutor(max_workers=min(at_once, JOBS))
            try:
                for done in pool.map(lambda job: self._job(spark, job, shared), jobs):
                    yield from done
            finally:
                spark.sparkContext.cancelAllJobs()
                pool.shutdown(cancel_futures=True)

    def _job(self, spark: SparkSession, tasks: list[Task], common: Any) -> list[Read | Gone]:  # noqa: ANN401 - a broadcast
        errands = [self._errand(task.file) for task in tasks]
        # Pickled apart: it is opened where an import that fails can be told from a broken task.
        packed = pickle.dumps(errands)

        def there(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            from flowcost.pipeline import spark_task  # noqa: PLC0415 - on the worker

            return spark_task.perform(batches, pickle.loads(packed), common.value)  # noqa: S301 - our own

        names = [task.file.name for task in tasks]
        rows = _collected(spark, len(tasks), there, names)
        return [_delivered(task, found) for task, found in zip(tasks, rows, strict=True)]

    def _errand(self, file: LogFile) -> Errand:
        if self.objects is not None and is_object(file):
            return Errand(file, self.objects.signed(file))
        return Errand(msgspec.structs.replace(file, path=file.path.absolute()))


def _jobs(tasks: Sequence[Task]) -> Iterator[list[Task]]:
    job: list[Task] = []
    size = 0
    for task in tasks:
        if job and (len(job) == JOB_FILES or size + task.file.size > JOB_BYTES):
            yield job
            job, size = [], 0
        job.append(task)
        size += task.file.size
    if job:
        yield job


Rows = list[tuple[str, str, bytes]]


def _collected(
    spark: SparkSession,
    count: int,
    there: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]],
    names: Sequence[str],
) -> list[Rows]:
    """Run `there` on one task per file; return the rows of each, in order."""
    from py4j.protocol import Py4JError  # noqa: PLC0415 - an extra
    from pyspark.errors import PySparkException  # noqa: PLC0415

    try:
        table = spark.range(0, count, 1, count).mapInArrow(there, SCHEMA).toArrow()
    except (PySparkException, Py4JError, EOFError, OSError) as error:
        raise _operators(str(error), names) from None
    found: list[Rows] = [[] for _ in range(count)]
    for batch in table.to_batches():
        columns = (batch.column(position).to_pylist() for position in range(4))
        for number, *row in zip(*columns, strict=True):
            found[number].append(tuple(row))
    return found


def _delivered(task: Task, rows: Rows) -> Read | Gone:
    """Put the pieces of a partial together where the shelf wants it."""
    partly = task.out.with_name(task.out.name + ".partly")
    with partly.open("wb") as out:
        for kind, text, data in rows:
            if kind == GONE:
                partly.unlink()
                return Gone(task, text)
            if kind == PIECE:
                out.write(data)
    [report] = [text for kind, text, _ in rows if kind == REPORT]
    partly.replace(task.out)
    decoded = msgspec.json.decode(report, type=FileReport)
    return Read(task, decoded, hours_of(task.out), task.out)


def _probe(spark: SparkSession) -> None:
    """Run one empty task, which finds a cluster without room and a worker without modules."""

    def there(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import duckdb  # noqa: F401, PLC0415 - on the worker
        import polars as pl  # noqa: F401, PLC0415

        from flowcost.pipeline import spark_task  # noqa: F401, PLC0415

        for _ in batches:
            yield from ()

    pool = ThreadPoolExecutor(max_workers=1)
    try:
        pool.submit(_collected, spark, 1, there, ["nothing yet"]).result(PROBE_SECONDS)
    except TimeoutError:
        raise UnreachableError(
            f"the Spark cluster started no task within {PROBE_SECONDS} s",
            hint="it needs a live worker with a free core and the memory of an executor",
        ) from None
    finally:
        spark.sparkContext.cancelAllJobs()
        pool.shutdown()


def _operators(text: str, names: Sequence[str]) -> FlowcostError:
    """Return what a failed job means to the operator."""
    if missing := _MISSING_MODULE.search(text):
        return NotSupportedError(
            f"the Python of the Spark workers ({workers_python()}) has no module {missing[1]}",
            hint="install flowcost there, or name one that has it with PYSPARK_PYTHON",
        )
    if failed := _FAILED.search(text):
        found = json.loads(failed[1])
        if found["missing"]:
            return UsageError(
                f"{found['file']}: not on the Spark worker {found['host']}",
                hint="every worker must see the folder at the same path; or read s3://",
            )
        return UnreachableError(
            f"{found['file']}: failed on the Spark worker {found['host']}: {found['cause']}",
            hint="files that were read are kept: run again",
        )
    cause = next((line for line in text.splitlines() if line.strip()), "no reason given")
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return UnreachableError(
        f"Spark gave up on one of {shown}: {cause}",
        hint="files that were read are kept: run again; the workers' logs say more",
    )
