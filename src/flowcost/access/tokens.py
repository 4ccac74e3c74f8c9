"""Tokens: shown once, kept by their digest, rotated with an overlap, revoked at once."""

from __future__ import annotations

import hmac
import secrets
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from flowcost import clock
from flowcost.access.principal import Principal
from flowcost.access.store import Store, digest
from flowcost.errors import LedgerError, NotFoundError

PREFIX = "flowcost"
_SEEN_EVERY = timedelta(hours=1)  # how exactly `last_seen` is kept
_COLUMNS = (
    "id, name, principal, created_at, created_by, expires_at, revoked_at, last_seen, replaced_by"
)


class Token(Struct, frozen=True, kw_only=True):
    """A token as it may be shown; instants are UTC, None is never.

    `principal` is who asks with it: a cluster's agents, or a person or tool. `last_seen` is exact
    to the hour.
    """

    id: str
    name: str
    principal: Principal
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_seen: datetime | None = None
    replaced_by: str = ""

    def holds(self, now: datetime) -> bool:
        """Return whether it opens anything at `now`."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class Tokens:
    """The tokens of all tenants; each question names one, but for the secret's own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[str, datetime] = {}

    def create(
        self,
        principal: Principal,
        name: str,
        *,
        by: str,
        now: datetime,
        expires_at: datetime | None = None,
    ) -> tuple[Token, str]:
        """Return a new token and its text, which is not kept."""
        with self._store.writing() as con:
            return _insert(con, principal, name, by=by, now=now, expires_at=expires_at)

    def rotate(
        self, tenant: str, token: str, *, by: str, now: datetime, overlap: timedelta
    ) -> tuple[Token, str]:
        """Return the successor of a token and its text; both hold for `overlap`.

        Raises:
            NotFoundError: the tenant has no such token that still holds.
        """
        old = self._held(tenant, token, now)
        until = now + overlap
        ends = min(until, old.expires_at) if old.expires_at else until
        with self._store.writing() as con:
            made, text = _insert(con, old.principal, old.name, by=by, now=now)
            con.execute(
                "UPDATE tokens SET expires_at = ?, replaced_by = ? WHERE id = ?",
                (clock.iso(ends), made.id, old.id),
            )
        return made, text

    def revoke(self, tenant: str, token: str, *, now: datetime) -> Token:
        """Return a token, which holds no longer.

        Raises:
            NotFoundError: the tenant has no such token that still holds.
        """
        old = self._held(tenant, token, now)
        with self._store.writing() as con:
            con.execute("UPDATE tokens SET revoked_at = ? WHERE id = ?", (clock.iso(now), old.id))
        return replace(old, revoked_at=now)

    def all(self, tenant: str) -> list[Token]:
        """Return a tenant's tokens, newest first; those that hold no longer are among them."""
        rows = self._store.rows(
            f"SELECT {_COLUMNS} FROM tokens WHERE tenant = ? ORDER BY created_at DESC, id", tenant
        )
        return [_token(row) for row in rows]

    def principal(self, text: str, now: datetime) -> Principal | None:
        """Return who asks with the token `text`, or None if it does not hold."""
        prefix, _, rest = text.partition("_")
        token, _, secret = rest.partition("_")
        if prefix != PREFIX or not secret:
            return None
        rows = self._store.rows(f"SELECT {_COLUMNS}, digest FROM tokens WHERE id = ?", token)
        # The same work with and without such a token, and no stop at the first wrong byte.
        kept = rows[0][-1] if rows else bytes(32)
        if not hmac.compare_digest(kept, digest(secret)) or not rows:
            return None
        found = _token(rows[0][:-1])
        if not found.holds(now):
            return None
        self._saw(found, now)
        return found.principal

    def _held(self, tenant: str, token: str, now: datetime) -> Token:
        rows = self._store.rows(
            f"SELECT {_COLUMNS} FROM tokens WHERE tenant = ? AND id = ?", tenant, token
        )
        found = _token(rows[0]) if rows else None
        if found is None or not found.holds(now):
            raise NotFoundError(f"no token {token!r} that holds", hint="flowcost serve token list")
        return found

    def _saw(self, token: Token, now: datetime) -> None:
        """Keep when a token was last used; once an hour, so that asking does not mean writing."""
        last = max(self._seen.get(token.id, clock.EARLIEST), token.last_seen or clock.EARLIEST)
        if now - last < _SEEN_EVERY:
            return
        self._seen[token.id] = now
        try:
            with self._store.writing() as con:
                con.execute(
                    "UPDATE tokens SET last_seen = ? WHERE id = ?", (clock.iso(now), token.id)
                )
        except LedgerError:
            return  # a full disk must not lock anybody out


def _insert(
    con: sqlite3.Connection,
    principal: Principal,
    name: str,
    *,
    by: str,
    now: datetime,
    expires_at: datetime | None = None,
) -> tuple[Token, str]:
    made = Token(
        id=secrets.token_hex(6),
        name=name,
        principal=principal,
        created_at=now,
        created_by=by,
        expires_at=expires_at,
    )
    secret = secrets.token_urlsafe(32)
    con.execute(
        "INSERT INTO tokens (id, tenant, name, principal, digest, created_at, created_by,"
        " expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            made.id,
            principal.tenant,
            name,
            msgspec.json.encode(principal),
            digest(secret),
            clock.iso(now),
            by,
            clock.iso(expires_at) if expires_at else None,
        ),
    )
    return made, f"{PREFIX}_{made.id}_{secret}"


def _token(row: Sequence[str]) -> Token:
    fields: dict[str, object] = dict(zip(_COLUMNS.split(", "), row, strict=True))
    for name in ("created_at", "expires_at", "revoked_at", "last_seen"):
        if isinstance(fields[name], str):
            fields[name] = clock.parse(str(fields[name]))
    fields["principal"] = msgspec.json.decode(row[2], type=Principal)
    return msgspec.convert(fields, Token)
