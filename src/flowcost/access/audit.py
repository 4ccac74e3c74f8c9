"""The audit log: who did what, when, from where, and with which result; only appended to.

What changes something and what is refused is recorded, reads are not. Refusals are recorded up
to a number per minute, so that nobody can fill the disk by failing.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from flowcost import clock
from flowcost.access.store import Store
from flowcost.errors import LedgerError

REFUSALS_PER_MINUTE = 60
_LONGEST = 200  # characters of what an asker chose


class Entry(Struct, frozen=True, kw_only=True):
    """One line of the audit log; `at` is an instant in UTC, `peer` an address."""

    number: int
    at: datetime
    tenant: str
    who: str
    action: str
    target: str
    result: str
    peer: str


class Audit:
    """The log of all tenants; it is read for one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._minute = clock.EARLIEST
        self._refused = 0

    def record(
        self,
        *,
        tenant: str,
        who: str,
        action: str,
        at: datetime,
        target: str = "",
        result: str = "ok",
        peer: str = "",
    ) -> None:
        """Append one line; it is on disk when this returns.

        Raises:
            LedgerError: it cannot be written.
        """
        shown = (text[:_LONGEST] for text in (tenant, who, action, target, result, peer))
        with self._store.writing() as con:
            con.execute(
                "INSERT INTO audit (at, tenant, who, action, target, result, peer)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (clock.iso(at), *shown),
            )

    def refused(
        self, *, tenant: str, who: str, action: str, result: str, at: datetime, peer: str
    ) -> None:
        """Append a refusal, unless there were many in this minute or the disk is full."""
        if not timedelta(0) <= at - self._minute < timedelta(minutes=1):
            self._minute, self._refused = at, 0
        self._refused += 1
        if self._refused > REFUSALS_PER_MINUTE:
            return
        try:
            self.record(tenant=tenant, who=who, action=action, result=result, at=at, peer=peer)
        except LedgerError:
            return

    def entries(
        self, tenant: str, *, who: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[Entry]:
        """Return lines of a tenant (of one person), newest first, with numbers below `before`."""
        rows = self._store.rows(
            "SELECT number, at, tenant, who, action, target, result, peer FROM audit"
            " WHERE tenant = ?1 AND (?2 IS NULL OR who = ?2) AND (?3 IS NULL OR number < ?3)"
            " ORDER BY number DESC LIMIT ?4",
            tenant,
            who,
            before,
            limit,
        )
        names = Entry.__struct_fields__
        return [
            Entry(**dict(zip(names, row, strict=True)) | {"at": clock.parse(row[1])})
            for row in rows
        ]
