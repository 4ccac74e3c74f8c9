"""Who addresses were, as the server knows it: inventories, and what clusters were recorded to be.

An inventory is read again when one of its files has changed; one that cannot be read leaves the
last one that could be in force, and is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from flowcost.clock import EARLIEST
from flowcost.errors import FlowcostError
from flowcost.pipeline.hour import layers_beside, recordings
from flowcost.resolve import Layer, aws_ranges, inventory, recorded
from flowcost.resolve.inventory import Inventory


class _Read(Struct):
    state: int
    inventory: Inventory
    trouble: str = ""


class Knowledge:
    """The inventories and recordings of all tenants.

    Args:
        ledger: the ledger's folder, beside which clusters are recorded.
        path: the inventory of every tenant that has none of its own.
        tenants: inventories of tenants that have one.
        rules: what the operator declared in a line, for every tenant.
    """

    def __init__(
        self,
        ledger: Path,
        path: Path | None = None,
        tenants: Mapping[str, Path] | None = None,
        *,
        rules: Iterable[Layer] = (),
    ) -> None:
        self._ledger, self._path, self._tenants = ledger, path, dict(tenants or {})
        self._rules = tuple(layer for layer in rules if layer.claims)
        self._published = Inventory(layers=(aws_ranges.layer(),))
        self._read: dict[Path, _Read] = {}
        self._revisions: dict[str, dict[str, int]] = {}

    def check(self) -> None:
        """Read every inventory once.

        Raises:
            InventoryError: one cannot be read.
        """
        for path in {self._path, *self._tenants.values()}:
            if path is not None:
                self._read[path] = _Read(_state(path), inventory.load(path))

    def layers(self, tenant: str, hour: datetime) -> Iterable[Layer]:
        """Return what is known of one hour, beside what its agents say."""
        return layers_beside(self._ledger, tenant, self.inventory(tenant))(hour)

    def inventory(self, tenant: str) -> Inventory:
        """Return a tenant's inventory as last read."""
        path = self._tenants.get(tenant, self._path)
        found = self._read[path].inventory if path in self._read else self._published
        return replace(found, layers=(*found.layers, *self._rules)) if self._rules else found

    def news(self, tenant: str) -> datetime | None:
        """Look again; return since when identities may be others than before, None if none is."""
        path = self._tenants.get(tenant, self._path)
        seen = self._revisions.get(tenant, {})
        self._revisions[tenant], since = recorded.news(recordings(self._ledger, tenant), seen)
        return EARLIEST if path is not None and self._reread(path) else since

    def troubles(self) -> list[str]:
        """Return what is wrong with inventories."""
        return [one.trouble for one in self._read.values() if one.trouble]

    def _reread(self, path: Path) -> bool:
        before = self._read[path]
        state = _state(path)
        if state == before.state:
            return False
        before.state = state
        try:
            before.inventory = inventory.load(path)
        except FlowcostError as error:
            before.trouble = f"inventory not read again, the last one holds: {error}"
            return False
        before.trouble = ""
        return True


def _state(path: Path) -> int:
    """Return a number that changes when a file at or below `path` does."""
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    found = []
    for file in sorted(files):
        try:
            status = file.stat()
        except OSError:  # it went away between listing and looking
            continue
        found.append((str(file), status.st_mtime_ns, status.st_size))
    return hash(tuple(found))
