"""Files of an inventory: read strictly, and counted when written."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from flowcost.errors import InventoryError

S = TypeVar("S")


class Written(Struct, frozen=True):
    """One file of a snapshot: where it is, and how many things it lists."""

    path: Path
    count: int


def read_json(path: Path, shape: type[S]) -> S | None:
    """Return the JSON of `path` decoded as `shape`, None if there is no such file.

    Raises:
        InventoryError: the file is not JSON, or not of this shape (the field is named).
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=shape)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise InventoryError(
            f"{path}: {error}",
            hint="the file must be the unchanged JSON output of the command it is named after",
        ) from None
