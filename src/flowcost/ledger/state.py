"""Which state a ledger is in: one short text that changes when any of its hours does.

Read from the folder alone, without opening a file: a manifest is replaced by a rename, so its
inode, size and time say whether it is still the one that was there.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from urllib.parse import quote

from flowcost import clock
from flowcost.ledger.partition import MANIFEST, Partition
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
    whole = f"tenant={quote(tenant, safe='')}/cluster=*/day=*/hour=*/{MANIFEST}"
    for path in sorted(ledger.root.glob(whole)):
        hour = Partition.of(path.parent).hour
        if (start and hour < clock.hour_of(start)) or (end and hour >= end):
            continue
        try:
            found = path.stat()
        except FileNotFoundError:  # dropped while we looked
            continue
        digest.update(f"{path} {found.st_ino} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
