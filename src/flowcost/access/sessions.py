"""Sessions of people who signed in, and the sign-ins that are under way.

A session is a random secret in a cookie, kept here by its digest with who it stands for: signing
out ends it, and nothing in the cookie says anything.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from flowcost import clock
from flowcost.access.principal import Principal
from flowcost.access.store import Store, digest

COOKIE = "flowcost_session"
LOGIN_COOKIE = "flowcost_login"
LOGIN_LASTS = timedelta(minutes=10)
MOST_LOGINS = 10_000  # under way at once


class Login(Struct, frozen=True, kw_only=True):
    """A sign-in under way: what must come back, and where to go then."""

    state: str
    nonce: str
    verifier: str
    target: str


class Sessions:
    """Sessions and sign-ins of all tenants."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, target: str, now: datetime) -> Login:
        """Return a new sign-in that will lead to `target`, a path of this server."""
        login = Login(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            target=target,
        )
        values = (login.state, login.nonce, login.verifier, target, clock.iso(now + LOGIN_LASTS))
        with self._store.writing() as con:
            con.execute("DELETE FROM logins WHERE expires_at <= ?", (clock.iso(now),))
            # The oldest make room: who floods sign-ins must not stop those of others for good.
            con.execute(
                "DELETE FROM logins WHERE state IN"
                " (SELECT state FROM logins ORDER BY expires_at DESC LIMIT -1 OFFSET ?)",
                (MOST_LOGINS - 1,),
            )
            con.execute("INSERT INTO logins VALUES (?, ?, ?, ?, ?)", values)
        return login

    def take(self, state: str, now: datetime) -> Login | None:
        """Return the sign-in with this state, once; None if there is none under way."""
        with self._store.writing() as con:
            row = con.execute(
                "DELETE FROM logins WHERE state = ? AND expires_at > ?"
                " RETURNING state, nonce, verifier, target",
                (state, clock.iso(now)),
            ).fetchone()
        return Login(**dict(zip(Login.__struct_fields__, row, strict=True))) if row else None

    def open(self, principal: Principal, now: datetime, lasts: timedelta) -> str:
        """Return the secret of a new session, for a cookie."""
        secret = secrets.token_urlsafe(32)
        ends = clock.iso(now + lasts)
        with self._store.writing() as con:
            con.execute("DELETE FROM sessions WHERE expires_at <= ?", (clock.iso(now),))
            con.execute(
                "INSERT INTO sessions VALUES (?, ?, ?)",
                (digest(secret), msgspec.json.encode(principal), ends),
            )
        return secret

    def principal(self, secret: str, now: datetime) -> Principal | None:
        """Return who a session stands for, None if it has ended or never was."""
        rows = self._store.rows(
            "SELECT principal FROM sessions WHERE digest = ? AND expires_at > ?",
            digest(secret),
            clock.iso(now),
        )
        return msgspec.json.decode(rows[0][0], type=Principal) if rows else None

    def end(self, secret: str) -> None:
        """End a session."""
        with self._store.writing() as con:
            con.execute("DELETE FROM sessions WHERE digest = ?", (digest(secret),))
