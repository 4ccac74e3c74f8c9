"""The AWS part of an inventory: verbatim outputs, decoded strictly where we read them.

`aws/<account>/<region>/<operation>.json`. A file that is not there is not an error: each one adds
what it knows. A file that is there must be what its name says.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from flowcost.model import Identity
from flowcost.resolve.files import read_json

S = TypeVar("S")


class Tag(Struct, rename="pascal", gc=False):
    """One tag of a resource."""

    key: str
    value: str = ""


class Place(Struct, frozen=True):
    """One account and region of the inventory, and the directory of its files."""

    account: str
    region: str
    directory: Path

    def read(self, operation: str, shape: type[S]) -> S | None:
        """Return the output of `operation` decoded as `shape`; None if it was not dumped.

        Raises:
            InventoryError: the file is not JSON, or not of this shape (the field is named).
        """
        return read_json(self.directory / f"{operation}.json", shape)

    def identity(self, **attributes: str) -> Identity:
        """Return an identity in this account and region."""
        known = {
            "cloud_provider": "aws",
            "cloud_account_id": self.account,
            "cloud_region": self.region,
        }
        return msgspec.convert({**known, **drop_empty(attributes)}, Identity)


def drop_empty(attributes: dict[str, str]) -> dict[str, str]:
    """Return `attributes` without those not known."""
    return {name: value for name, value in attributes.items() if value}


def places(inventory: Path) -> Iterator[Place]:
    """Yield each account and region under `inventory/aws`, in order of name."""
    root = inventory / "aws"
    if not root.is_dir():
        return
    for account in _directories(root):
        for region in _directories(account):
            yield Place(account.name, region.name, region)


def _directories(parent: Path) -> list[Path]:
    return sorted(child for child in parent.iterdir() if child.is_dir())
