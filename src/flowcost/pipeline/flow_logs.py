"""Where flow logs are: local trees and object stores, listed together."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from flowcost.errors import SourceError
from flowcost.model import Finding
from flowcost.pipeline.reading import Embedded, Reader
from flowcost.pipeline.spark_session import check_master
from flowcost.sources.discover import SUFFIXES, LogFile, local, unique
from flowcost.sources.objects import Access, Objects


class Located(Struct, frozen=True, kw_only=True):
    """The files at all locations, copies left out, and the stores that hold some of them."""

    files: list[LogFile]
    objects: Objects
    findings: list[Finding]


@contextmanager
def located(
    locations: Sequence[str], spool: Path, access: Access | None = None
) -> Iterator[Located]:
    """Yield the flow-log files at all `locations`: folders, files, `s3://bucket/prefix`.

    Objects are fetched into the folder `spool` by whoever reads them; it is emptied of what an
    interrupted run left there, and removed at the end.

    Raises:
        UsageError: a location is of no kind that can be read.
        SourceError: there is nothing at a location, or no flow log at any.
        NotPermittedError, UnreachableError: a store refuses or does not answer.
    """
    shutil.rmtree(spool, ignore_errors=True)
    objects = Objects(access or Access(), spool)
    found: list[LogFile] = []
    for location in locations:
        found += objects.files(location) if "://" in location else local(Path(location))
    if not found:
        raise SourceError(
            f"{', '.join(locations)}: no flow logs",
            hint=f"flow logs end in {', '.join(SUFFIXES)}; give the folder above them",
        )
    files, findings = unique(found)
    try:
        yield Located(files=files, objects=objects, findings=findings)
    finally:
        shutil.rmtree(spool, ignore_errors=True)


def reader_of(engine: str, objects: Objects, workers: int) -> Reader:
    """Return what reads log files: `duckdb` in this process, or a Spark cluster by its address.

    Raises:
        UsageError: there is no such engine.
    """
    if engine == "duckdb":
        return Embedded(objects=objects, workers=workers)
    from flowcost.pipeline.spark import Cluster  # noqa: PLC0415 - only here

    check_master(engine)
    return Cluster(master=engine, objects=objects)
