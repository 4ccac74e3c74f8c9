"""The tables of the inbox, and the way from a damaged file to a sound one.

`waiting` holds accepted segments until a ledger hour's partial has them; `runs` holds, as
intervals of sequences, every segment that was ever accepted, so that a repeat is known long after
its content has gone. `(stream, sequence)` is (tenant, cluster, node, boot, epoch, sequence).
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

SCHEMA = """
CREATE TABLE IF NOT EXISTS streams (
    stream INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL, cluster TEXT NOT NULL, node TEXT NOT NULL,
    boot TEXT NOT NULL, epoch INTEGER NOT NULL,
    agent_version TEXT NOT NULL, received INTEGER NOT NULL, window_end INTEGER NOT NULL,
    UNIQUE (tenant, cluster, node, boot, epoch)
);
CREATE TABLE IF NOT EXISTS runs (
    stream INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (stream, first)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS waiting (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream INTEGER NOT NULL, sequence INTEGER NOT NULL, hour INTEGER NOT NULL,
    plain_size INTEGER NOT NULL, crc INTEGER NOT NULL, payload BLOB NOT NULL,
    UNIQUE (stream, sequence)
);
"""


class Salvaged(Struct, frozen=True):
    """What was done about a damaged file: where it lies now, and what could be kept."""

    aside: Path
    segments: int
    streams: int

    def __str__(self) -> str:
        return (
            f"the inbox was damaged: {self.segments} waiting segments and {self.streams} agents' "
            f"receipts could be read and were kept; the damaged file is {self.aside}. Segments "
            "that could not be read are lost unless their agents still hold them"
        )


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection that makes a commit durable before it returns."""
    con = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    con.execute("PRAGMA journal_mode = WAL")
    con.execute("PRAGMA synchronous = FULL")
    con.execute("PRAGMA journal_size_limit = 67108864")
    return con


def create(path: Path) -> tuple[sqlite3.Connection, Salvaged | None]:
    """Return a connection to a sound inbox; a damaged one is put aside and read as far as it goes.

    Raises:
        sqlite3.OperationalError: the file cannot be opened at all.
    """
    con = None
    try:
        con = connect(path)
        found = con.execute("PRAGMA quick_check(1)").fetchall()
        if found != [("ok",)]:
            raise sqlite3.DatabaseError(found[0][0])  # noqa: TRY301 - one way out for both
        con.executescript(SCHEMA)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        if con is not None:
            con.close()
        return _salvage(path)
    return con, None


def _salvage(path: Path) -> tuple[sqlite3.Connection, Salvaged]:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    con = connect(path)
    con.executescript(SCHEMA)
    old = sqlite3.connect(aside)
    old.text_factory = lambda data: data.decode("utf-8", "replace")
    con.execute("BEGIN")
    for table in ("streams", "runs"):
        for row in _rows(old, table, "rowid" if table == "streams" else "stream, first"):
            marks = ", ".join("?" * len(row))
            con.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)
    for row in _rows(old, "waiting", "id"):
        payload = row[-1]
        if isinstance(payload, bytes) and zlib.crc32(payload) == row[-2]:
            con.execute("INSERT OR IGNORE INTO waiting VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    con.execute("DELETE FROM waiting WHERE stream NOT IN (SELECT stream FROM streams)")
    con.execute("COMMIT")
    old.close()
    segments, streams = (
        con.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("waiting", "streams")
    )
    return con, Salvaged(aside, segments, streams)


def _rows(con: sqlite3.Connection, table: str, order: str) -> Iterator[tuple[object, ...]]:
    """Yield what can be read of a table: forwards up to the damage, then backwards down to it."""
    descending = ", ".join(f"{name} DESC" for name in order.split(", "))
    for way in (order, descending):
        try:
            yield from con.execute(f"SELECT * FROM {table} ORDER BY {way}")
        except sqlite3.DatabaseError:
            continue
        return
