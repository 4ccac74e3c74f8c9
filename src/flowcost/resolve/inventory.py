"""An inventory directory, whole: one moment, or a history of moments.

    aws/<account>/<region>/<operation>.json      kubernetes/<cluster>/<resource>.json
    netbox/prefixes.json, ip-addresses.json      declared.toml      ip-ranges.json

A directory that holds these is one moment and speaks for all time. A directory of directories
named by ISO time (`2026-11-01T00:00:00Z/…`) is a history: what a snapshot shows holds from it to
the first later one that no longer shows it. Beside the snapshots of a history, `declared.toml` and
`ip-ranges.json` speak for all time. A pod's own start and end, where its status tells them, are
kept in both forms: an address that was another pod's yesterday is not lent backwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from msgspec import Struct, field

from flowcost.clock import parse
from flowcost.errors import InventoryError
from flowcost.model import Finding, Identity
from flowcost.resolve import ALWAYS, Layer, aws_inventory, aws_ranges, declared, kubernetes, netbox
from flowcost.resolve.aws_inventory import AwsInventory, Blocks, by_vpc, within
from flowcost.resolve.aws_operations import OPERATIONS
from flowcost.resolve.history import Moment, merge
from flowcost.resolve.kubernetes_resources import RESOURCES

_SNAPSHOT = ("aws", "kubernetes", "netbox")
_DECLARED = "declared.toml"
_RANGES = "ip-ranges.json"
_DEEPEST = 4  # aws/<account>/<region>/<operation>/<one of many>.json


class Inventory(Struct, frozen=True, kw_only=True):
    """An inventory's layers, and what other sources of identity ask of it.

    `instances` says where an instance stands, as last seen; `networks` are the blocks of all
    subnets that ever were, by VPC.
    """

    layers: tuple[Layer, ...] = ()
    instances: dict[str, Identity] = field(default_factory=dict)
    networks: dict[str, Blocks] = field(default_factory=dict)

    def in_network(self, vpc: str, address: bytes) -> bool:
        """Return whether `address` lies in a known subnet of `vpc`."""
        return within(self.networks.get(vpc, ()), address)


def read(path: Path, *, published: bool = True) -> list[Layer]:
    """Return the layers of an inventory; see `load`."""
    return list(load(path, published=published).layers)


def load(path: Path, *, published: bool = True) -> Inventory:
    """Return an inventory: a directory, or a `declared.toml` by itself.

    The ranges that AWS publishes are among them unless `published` is false.

    Raises:
        InventoryError: there is nothing to read, or a file is not what its name says.
    """
    if path.is_file():
        return Inventory(layers=(declared.read(path), *_published(path, published)))
    if not path.is_dir():
        raise InventoryError(
            f"{path}: no such inventory",
            hint=f"`flowcost snapshot {path} --aws` writes one; a declared.toml will do",
        )
    dated = _dated(path)
    present = [name for name in (*_SNAPSHOT, _DECLARED, _RANGES) if (path / name).exists()]
    if not dated and not present:
        raise InventoryError(
            f"{path} holds no inventory",
            hint="expected aws/, kubernetes/, netbox/ or declared.toml, or directories named by "
            "ISO time; `flowcost snapshot` writes one",
        )
    if dated and set(present) & set(_SNAPSHOT):
        raise InventoryError(
            f"{path} is both a snapshot and a history of snapshots",
            hint="move aws/, kubernetes/ and netbox/ into a directory named by their time",
        )
    snapshots = [(at, *_snapshot(child)) for at, child in sorted((dated or {ALWAYS: path}).items())]
    layers = merge(Moment(at, shown) for at, shown, _ in snapshots)
    if dated and (path / _DECLARED).exists():
        layers.append(declared.read(path / _DECLARED))
    networks = by_vpc(
        (vpc, block)
        for *_, aws in snapshots
        for vpc, held in aws.networks.items()
        for block in held
    )
    return Inventory(
        layers=(*layers, *_published(path, published)),
        instances={name: one for *_, aws in snapshots for name, one in aws.instances.items()},
        networks=networks,
    )


def files(path: Path) -> Iterator[Path]:
    """Yield every file and folder below `path` that `load` can look at, in order.

    Raises:
        OSError: a folder cannot be listed.
    """
    if not path.is_dir():
        return
    for moment in (path, *(child for _, child in sorted(_dated(path).items()))):
        yield moment
        for name in (*_SNAPSHOT, _DECLARED):
            yield from _below(moment / name, _DEEPEST)
    yield from sorted([*path.glob(_RANGES), *path.glob(f"*/{_RANGES}")])


def _below(path: Path, depth: int) -> Iterator[Path]:
    if path.exists():
        yield path
    if path.is_dir() and depth:
        for child in sorted(path.iterdir()):
            yield from _below(child, depth - 1)


def _published(path: Path, wanted: bool) -> list[Layer]:  # noqa: FBT001 - one caller's word
    files = [*path.glob(_RANGES), *path.glob(f"*/{_RANGES}")] if path.is_dir() else []
    return [aws_ranges.layer(files)] if wanted else []


def _dated(path: Path) -> dict[datetime, Path]:
    found: dict[datetime, Path] = {}
    for child in sorted(path.iterdir()):
        if child.is_dir():
            try:
                found[parse(child.name)] = child
            except ValueError:
                continue
    return found


def _snapshot(path: Path) -> tuple[tuple[Layer, ...], AwsInventory]:
    """Return the layers of one moment, and what AWS says in it."""
    aws = aws_inventory.read(path)
    layers = [*aws.layers, *kubernetes.read(path, aws.instances, aws.in_network)]
    layers += netbox.read(path)
    if (path / _DECLARED).exists():
        layers.append(declared.read(path / _DECLARED))
    layers.append(Layer(source="subnets", findings=tuple(_unread(path))))
    return tuple(layers), aws


def _unread(path: Path) -> Iterator[Finding]:
    """Yield a finding for files in an inventory's folders that nothing reads."""
    plain = {one.name for one in OPERATIONS if not one.each}
    listed = {one.name for one in OPERATIONS if one.each}
    strange = [
        file
        for file in sorted((path / "aws").glob("*/*/*"))
        if (file.name not in listed if file.is_dir() else file.stem not in plain)
    ]
    strange += [
        file for file in sorted((path / "kubernetes").glob("*/*")) if file.stem not in RESOURCES
    ]
    if strange:
        yield Finding(
            code="unread-file",
            severity="info",
            subject=str(path),
            count=len(strange),
            sample=str(strange[0].relative_to(path)),
            hint="docs/inventory.md lists the files that are read",
        )
