"""Which segments were ever accepted: per stream, runs of sequences, both ends included."""

from __future__ import annotations

import sqlite3

from flowcost.server.posted import Key


class Receipts:
    """The tables `streams` and `runs`; every call is part of the caller's transaction."""

    def __init__(self) -> None:
        self._known: dict[Key, int] = {}

    def rolled_back(self) -> None:
        """Forget what a transaction that failed had entered."""
        self._known.clear()

    def stream(self, con: sqlite3.Connection, key: Key) -> int:
        """Return the number of a stream, entering it if it is new."""
        known = self._known.get(key)
        if known is None:
            con.execute(
                "INSERT OR IGNORE INTO streams (tenant, cluster, node, boot, epoch,"
                " agent_version, received, window_end) VALUES (?, ?, ?, ?, ?, '', 0, 0)",
                key,
            )
            (number,) = con.execute(
                "SELECT stream FROM streams WHERE (tenant, cluster, node, boot, epoch)"
                " = (?, ?, ?, ?, ?)",
                key,
            ).fetchone()
            known = self._known[key] = int(number)
        return known

    def prune(self, con: sqlite3.Connection, tenant: str, window_end: int) -> None:
        """Forget a tenant's streams that nothing waits of and that ended before (µs)."""
        old = "tenant = ? AND window_end < ? AND stream NOT IN (SELECT stream FROM waiting)"
        bounds = [tenant, window_end]
        con.execute(
            f"DELETE FROM runs WHERE stream IN (SELECT stream FROM streams WHERE {old})",
            bounds,
        )
        con.execute(f"DELETE FROM streams WHERE {old}", bounds)
        self._known.clear()


# Make the run that ends just before sequence ?2 longer by it, unless another run begins just after.
_FOLLOWING = (
    "UPDATE runs SET last = ?2 WHERE stream = ?1 AND last = ?2 - 1 AND first ="
    " (SELECT max(first) FROM runs WHERE stream = ?1 AND first < ?2)"
    " AND NOT EXISTS (SELECT 1 FROM runs WHERE stream = ?1 AND first = ?2 + 1)"
)


def receive(con: sqlite3.Connection, stream: int, sequence: int) -> bool:
    """Enter one sequence; return whether it is new."""
    # Nearly always the one that follows: one statement, as each lets other threads go first.
    following = con.execute(_FOLLOWING, [stream, sequence])
    if following.rowcount == 1:
        return True
    before = con.execute(
        "SELECT first, last FROM runs WHERE stream = ? AND first <= ? ORDER BY first DESC LIMIT 1",
        [stream, sequence],
    ).fetchone()
    if before and before[1] >= sequence:
        return False
    after = con.execute(
        "SELECT last FROM runs WHERE stream = ? AND first = ?", [stream, sequence + 1]
    ).fetchone()
    last = after[0] if after else sequence
    if after:
        con.execute("DELETE FROM runs WHERE stream = ? AND first = ?", [stream, sequence + 1])
    if before and before[1] == sequence - 1:
        con.execute(
            "UPDATE runs SET last = ? WHERE stream = ? AND first = ?", [last, stream, before[0]]
        )
    else:
        con.execute("INSERT INTO runs VALUES (?, ?, ?)", [stream, sequence, last])
    return True


def receive_run(con: sqlite3.Connection, stream: int, first: int, last: int) -> None:
    """Enter all of `first..last`, joining the runs that it touches."""
    touched = "stream = ? AND first <= ? AND last >= ?"
    bounds = [stream, last + 1, first - 1]
    low, high = con.execute(
        f"SELECT min(first), max(last) FROM runs WHERE {touched}", bounds
    ).fetchone()
    con.execute(f"DELETE FROM runs WHERE {touched}", bounds)
    joined = (first, last) if low is None else (min(first, low), max(last, high))
    con.execute("INSERT INTO runs VALUES (?, ?, ?)", [stream, *joined])
