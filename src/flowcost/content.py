"""Ids are content: the same thing has the same id on every machine, in every run."""

from __future__ import annotations

from hashlib import blake2b
from typing import TypeVar

import msgspec

from flowcost.errors import FlowcostError

_POSITIVE = (1 << 63) - 1
_ENCODER = msgspec.json.Encoder(order="sorted")

T = TypeVar("T")


def content_id(value: object) -> int:
    """Return a 63-bit id of what `value` says: BLAKE2b-64 of its sorted JSON (RFC 7693).

    Fields that are left at an omitted default do not enter, so a new field leaves the ids of old
    records as they were. The id is never 0, which tables use for "nothing".
    """
    digest = blake2b(_ENCODER.encode(value), digest_size=8).digest()
    return int.from_bytes(digest) & _POSITIVE or 1


def remember(table: dict[int, T], value: T) -> int:
    """Enter `value` into `table` under its content id and return the id.

    Raises:
        FlowcostError: another value already has this id.
    """
    key = content_id(value)
    if table.setdefault(key, value) != value:
        raise FlowcostError(
            f"two different records share the id {key}: {table[key]!r} and {value!r}",
            hint="one chance in 2**63 per pair; change any attribute of one of them",
        )
    return key
