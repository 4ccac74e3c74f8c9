"""The words of the store: which hour, which files, from which inputs.

Layout: `tenant=T/cluster=C/day=2026-11-20/hour=13/` holds data files named by their content and
one `manifest.json`. The manifest is the partition: files it does not name do not exist for a
reader, so replacing it in one rename replaces the hour.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec
from msgspec import Struct

from flowcost import clock
from flowcost.errors import LedgerError
from flowcost.schema import CHARGES, IDENTITIES, RATES, VERDICTS

# The tables of a partition, and what identifies a row of those that hold each row once.
STORED = {"charges": CHARGES, "identities": IDENTITIES, "verdicts": VERDICTS, "rates": RATES}
IDS = {"identities": "identity_id", "verdicts": "verdict_id", "rates": "rate_id"}
MANIFEST = "manifest.json"
VERSION = 1


class Partition(Struct, frozen=True, order=True):
    """One UTC hour of one cluster of one tenant."""

    tenant: str
    cluster: str
    hour: datetime

    @property
    def folder(self) -> Path:
        """Return the partition's folder below the ledger's root."""
        return Path(
            f"tenant={quote(self.tenant, safe='')}",
            f"cluster={quote(self.cluster, safe='')}",
            f"day={self.hour:%Y-%m-%d}",
            f"hour={self.hour:%H}",
        )

    @classmethod
    def of(cls, folder: Path) -> Partition:
        """Return the partition of a folder as `folder` wrote it."""
        tenant, cluster, day, hour = (part.partition("=")[2] for part in folder.parts[-4:])
        instant = datetime.fromisoformat(f"{day}T{hour}:00:00").replace(tzinfo=UTC)
        return cls(unquote(tenant), unquote(cluster), instant)


class Input(Struct, frozen=True, order=True):
    """Something a partition was made from: a log file, a segment, a book, a world."""

    name: str
    digest: str


class DataFile(Struct, frozen=True):
    """A Parquet file of a partition; `name` carries the start of its SHA-256."""

    name: str
    sha256: str
    rows: int
    size: int


class Totals(Struct, frozen=True):
    """What must still add up when a partition is verified.

    `list_cost` is a decimal text of numerators over money.ONE: JSON readers outside Python round
    large integers.
    """

    bytes: int
    unpriced_bytes: int
    list_cost: str


class Manifest(Struct, frozen=True):
    """A partition's files and inputs; two runs over one input write the same manifest."""

    version: int
    tenant: str
    cluster: str
    hour: str
    inputs: tuple[Input, ...]
    files: dict[str, DataFile]
    totals: Totals

    @property
    def partition(self) -> Partition:
        """Return which hour this is."""
        return Partition(self.tenant, self.cluster, clock.parse(self.hour))


def read_manifest(path: Path) -> Manifest:
    """Return the manifest at `path`.

    Raises:
        LedgerError: the file is not a manifest of this version.
    """
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except msgspec.DecodeError as error:
        raise LedgerError(
            f"{path}: not a partition manifest ({error})",
            hint="restore the file or delete its folder and run the hour again",
        ) from None
    if manifest.version != VERSION:
        raise LedgerError(
            f"{path}: manifest version {manifest.version}, this Flowcost reads {VERSION}",
            hint="use the Flowcost version that wrote this ledger",
        )
    return manifest
