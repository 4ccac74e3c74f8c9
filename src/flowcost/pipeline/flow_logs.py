"""Where flow logs are: local trees now, objects fetched ahead of the readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flowcost.errors import UsageError
from flowcost.sources.discover import LogFile, local, unique


@contextmanager
def located(locations: Sequence[str], root: Path) -> Iterator[list[LogFile]]:  # noqa: ARG001
    """Yield the flow-log files at all `locations`, copies left out.

    Raises:
        UsageError: a location is of no kind that can be read.
        SourceError: there is nothing at a location.
    """
    found: list[LogFile] = []
    for location in locations:
        if "://" in location:
            raise UsageError(f"{location}: cannot be read", hint="name a local folder or file")
        found += local(Path(location))
    yield unique(found)[0]
