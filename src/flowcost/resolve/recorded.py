"""Recorded clusters beside an inventory: the layers of one span of time.

    <folder>/<cluster, percent-encoded>/chronicle.sqlite

What a recording shows of a cluster wins over what an inventory's files show of it: files speak for
the pods that the recording has not seen, up to its beginning.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, unquote

from msgspec.structs import replace

from flowcost.errors import InventoryError
from flowcost.resolve import Claim, Layer
from flowcost.resolve.chronicle import FILE, begun, changed, read
from flowcost.resolve.inventory import Inventory
from flowcost.resolve.kubernetes_dated import Cluster


def place(folder: Path, cluster: str) -> Path:
    """Return the folder of a cluster's recording."""
    return folder / quote(cluster, safe="")


def clusters(folder: Path) -> dict[str, Path]:
    """Return the recorded clusters by name, in order."""
    found = sorted(path.parent for path in folder.glob(f"*/{FILE}"))
    return {unquote(one.name): one for one in found}


def layers(folder: Path, start: datetime, end: datetime, inventory: Inventory) -> list[Layer]:
    """Return the layers of `inventory` and of every recorded cluster, for `[start, end)`.

    Recorded claims that held at some time in the span are there, whole; others are left out.

    Raises:
        InventoryError: a recording cannot be read.
    """
    recorded: list[Layer] = []
    since: dict[str, datetime] = {}
    for name, path in clusters(folder).items():
        with _named(path):
            beginning = begun(path, "pods")
            facts = read(path, start, end)
        if beginning is not None:
            since[name] = beginning
            recorded.append(Cluster(name, facts, inventory.instances, inventory.in_network).layer())
    seen = {claim.identity.k8s_pod_uid for layer in recorded for claim in layer.claims}
    return [*(_yielding(layer, since, seen) for layer in inventory.layers), *recorded]


def news(folder: Path, known: Mapping[str, int]) -> tuple[dict[str, int], datetime | None]:
    """Return each cluster's revision, and the earliest time that changes since `known` bear upon.

    None means that nothing has changed.

    Raises:
        InventoryError: a recording cannot be read.
    """
    revisions: dict[str, int] = {}
    earliest: datetime | None = None
    for name, path in clusters(folder).items():
        with _named(path):
            revisions[name], since = changed(path, known.get(name, 0))
        if since is not None and (earliest is None or since < earliest):
            earliest = since
    return revisions, earliest


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the recording that cannot be read."""
    try:
        yield
    except sqlite3.Error as error:
        raise InventoryError(
            f"{path / FILE}: {error}",
            hint="move the file away; the cluster is then recorded anew from now on",
        ) from None


def _yielding(layer: Layer, since: Mapping[str, datetime], seen: set[str]) -> Layer:
    """Return a layer of files without what recordings say better."""
    if layer.source != "kubernetes":
        return layer
    return replace(layer, claims=tuple(_kept(layer.claims, since, seen)))


def _kept(
    claims: tuple[Claim, ...], since: Mapping[str, datetime], seen: set[str]
) -> Iterator[Claim]:
    for claim in claims:
        who = claim.identity
        end = min(claim.valid_to, since.get(who.k8s_cluster_name, claim.valid_to))
        if claim.valid_from < end and not (who.k8s_pod_uid and who.k8s_pod_uid in seen):
            yield claim if end == claim.valid_to else replace(claim, valid_to=end)
