"""The file below the ledger in which access keeps what must outlive the server.

Tokens and sessions are kept by the SHA-256 of their secret, which is random and 256 bits long, so
that no slow hash is needed. The server and `flowcost serve token` use the file at once; every
look-up reads it, so what is revoked is refused from then on.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flowcost.errors import LedgerError

FILE = "access.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS tokens (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, principal BLOB NOT NULL,
    digest BLOB NOT NULL, created_at TEXT NOT NULL, created_by TEXT NOT NULL,
    expires_at TEXT, revoked_at TEXT, last_seen TEXT, replaced_by TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
    digest BLOB PRIMARY KEY, principal BLOB NOT NULL, expires_at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS logins (
    state TEXT PRIMARY KEY, nonce TEXT NOT NULL, verifier TEXT NOT NULL, target TEXT NOT NULL,
    expires_at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, tenant TEXT NOT NULL,
    who TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL, result TEXT NOT NULL,
    peer TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS audit_by_tenant ON audit (tenant, number);
CREATE TRIGGER IF NOT EXISTS audit_is_kept BEFORE DELETE ON audit
    BEGIN SELECT raise(ABORT, 'the audit log is only appended to'); END;
CREATE TRIGGER IF NOT EXISTS audit_is_fixed BEFORE UPDATE ON audit
    BEGIN SELECT raise(ABORT, 'the audit log is only appended to'); END;
"""


class Store:
    """The file; safe to use from several threads and several processes."""

    def __init__(self, folder: Path) -> None:
        """Open or create the file below `folder`, for nobody else to read.

        Raises:
            LedgerError: it cannot be opened.
        """
        self.path = folder / FILE
        self._lock = threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.touch(mode=0o600)
            self._con = sqlite3.connect(self.path, check_same_thread=False, timeout=5)
            self._con.execute("PRAGMA journal_mode=WAL")
            self._con.execute("PRAGMA synchronous=FULL")
            self._con.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(
                f"{self.path}: cannot be opened ({error})",
                hint="the server needs to write below the ledger's folder",
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._con.close()

    def rows(self, sql: str, *values: object) -> list[Any]:
        """Return what a SELECT finds."""
        with self._lock:
            return self._con.execute(sql, values).fetchall()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction; it is on disk when the block has ended, or nothing is.

        Raises:
            LedgerError: the file cannot be written.
        """
        with self._lock:
            try:
                with self._con:
                    yield self._con
            except sqlite3.Error as error:
                raise LedgerError(f"{self.path}: cannot be written ({error})") from None


def digest(secret: str) -> bytes:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).digest()
