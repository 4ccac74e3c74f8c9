"""What the logs do not cover: interfaces of the inventory that no flow was seen at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb

from flowcost.model import Finding


def uncovered(partials: Iterable[Path], interfaces: Sequence[tuple[str, str]]) -> list[Finding]:
    """Return a finding per account whose interfaces were silent, with their number.

    `interfaces` are (id, account) of all that the inventory knows.

    Silence has two causes that flows alone cannot tell apart: no flow log covers the interface,
    or nothing was sent.
    """
    names = [str(path) for path in partials]
    if not names or not interfaces:
        return []
    with duckdb.connect() as con:
        rows = con.execute("SELECT DISTINCT observer FROM read_parquet(?)", [names]).fetchall()
    seen = {observer for (observer,) in rows}
    if not seen:  # nothing was read, which other findings say
        return []
    silent: dict[str, list[str]] = {}
    for name, account in interfaces:
        if name not in seen:
            silent.setdefault(account, []).append(name)
    return [
        Finding(
            code="silent-interface",
            severity="info",
            subject=f"account {account or 'not known'}",
            count=len(ids),
            sample=min(ids),
            hint="no flow log covers these interfaces, or they were idle; what they sent to "
            "covered ends is booked as implied",
        )
        for account, ids in sorted(silent.items())
    ]
