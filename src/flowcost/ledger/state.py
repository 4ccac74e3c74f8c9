"""Which state a ledger is in: one short text that changes when any of its hours does."""

from __future__ import annotations

import hashlib
from datetime import datetime

from flowcost.ledger.store import Ledger


def state(
    ledger: Ledger, start: datetime | None = None, end: datetime | None = None, *, tenant: str
) -> str:
    """Return the state of one tenant's hours in `[start, end)`, 16 hex digits.

    Raises:
        ValueError: `tenant` is empty.
    """
    if not tenant:
        raise ValueError("the state of no tenant")
    digest = hashlib.sha256()
    for held in ledger.shelves.chosen(start, end, tenant=tenant):
        digest.update(f"{held.folder.relative_to(ledger.root)} {held.digest}\n".encode())
    return digest.hexdigest()[:16]
