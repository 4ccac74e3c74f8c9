"""What agents have posted and no hour has yet: durable before it is acknowledged.

One thread writes. While it makes one group of segments durable, the next ones gather, so a busy
server commits large groups and an idle one answers at once. A repeat is a no-op. When too much
waits or the disk runs full, agents are told to come again; nothing is acknowledged then.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from msgspec import Struct

from flowcost import clock
from flowcost.errors import BusyError, FlowcostError, NotPermittedError, SegmentError
from flowcost.segment import HOUR_US
from flowcost.server import inbox_schema
from flowcost.server.posted import Key, Posted, read
from flowcost.server.receipts import Receipts, receive, receive_run
from flowcost.server.settings import Inbox as Limits
from flowcost.views.service import ClusterState, Receipt

NAME = "inbox.sqlite"
GROUP = 512  # segments made durable together, at most
GATHERING = 256 << 20  # plain bytes that may be in memory on their way to the disk
RETRY_S = 5
ACTIVE = timedelta(hours=1)  # a node that posted within is counted as one of its cluster's

T = TypeVar("T")


class Waiting(Struct, frozen=True):
    """One accepted segment. `hour` is its UTC hour in seconds since 1970."""

    id: int
    key: Key
    sequence: int
    hour: int
    body: bytes

    @property
    def tenant(self) -> str:
        """Return whose it is."""
        return self.key[0]


class Counters(Struct):
    """Totals since the process began."""

    accepted: int = 0
    repeated: int = 0
    refused: int = 0
    turned_away: int = 0
    accepted_bytes: int = 0


class _Post(Struct, frozen=True):
    """A segment on its way to the disk."""

    posted: Posted
    payload: bytes
    done: Future[bool]


class _Call(Struct, frozen=True):
    """Something else to do in the writing thread, in a transaction of its own."""

    work: Callable[[sqlite3.Connection], Any]
    done: Future[Any]


class Inbox:
    """The inbox in one folder, held by one process.

    `salvaged` says what was kept of a damaged file; `begun_empty` whether there was no file, so
    that receipts must be learnt from the hours (`learn`). Windows of a tenant that start before
    `oldest(tenant)` are refused.

    Raises:
        NotPermittedError: the file cannot be opened.
    """

    def __init__(
        self,
        folder: Path,
        limits: Limits | None = None,
        *,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self.path = folder / NAME
        self.limits = limits or Limits()
        self.counters = Counters()
        self._now = now
        self.oldest: Callable[[str], datetime] = lambda _: clock.EARLIEST
        self._codec = pa.Codec("zstd", compression_level=1)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.begun_empty = not self.path.exists()
        try:
            self._con, self.salvaged = inbox_schema.create(self.path)
            self._reader = inbox_schema.connect(self.path)
        except sqlite3.OperationalError as error:
            raise NotPermittedError(
                f"{self.path}: {error}", hint="the folder must be writable, on a local disk"
            ) from None
        self.trouble = str(self.salvaged) if self.salvaged else ""
        self.waiting_bytes, self.waiting_count = self._reader.execute(
            "SELECT coalesce(sum(length(payload)), 0), count(*) FROM waiting"
        ).fetchone()
        self._receipts = Receipts()
        self._closed = False
        self._lock = threading.Lock()
        self._gathering = 0
        self._queue: queue.SimpleQueue[_Post | _Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="inbox", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Make durable what is on its way, and let go of the file."""
        with self._lock:
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        self._reader.close()
        self._con.close()

    def put(self, tenant: str, cluster: str, body: bytes) -> Receipt:
        """Return once the encoded segment is durable; see `views.service.Inbox`.

        Raises:
            SegmentError: the body is no segment, has no tenant, is of another cluster than its
                token's, or is too old to be booked.
            BusyError: too much waits, or the disk is full.
        """
        try:
            posted = read(tenant, cluster, body, oldest=self.oldest(tenant))
        except SegmentError:
            self.counters.refused += 1
            raise
        try:
            fresh = self._keep(posted)
        except BusyError:
            self.counters.turned_away += 1
            raise
        if fresh:
            self.counters.accepted += 1
            self.counters.accepted_bytes += len(body)
        else:
            self.counters.repeated += 1
        return Receipt(posted.segment.epoch, posted.segment.sequence, fresh)

    def waiting(self, limit: int = 64 << 20, after: int = 0) -> Iterator[Waiting]:
        """Yield the oldest segments beyond id `after`, about `limit` plain bytes of them."""
        rows = self._reader.execute(
            "SELECT id, tenant, cluster, node, boot, epoch, sequence, hour, plain_size, payload"
            " FROM waiting JOIN streams USING (stream) WHERE id > ? ORDER BY id",
            [after],
        )
        size = 0
        for number, tenant, cluster, node, boot, epoch, sequence, hour, plain, payload in rows:
            body = self._codec.decompress(payload, plain, asbytes=True)
            yield Waiting(number, (tenant, cluster, node, boot, epoch), sequence, hour, body)
            size += plain
            if size >= limit:
                rows.close()  # an open question would keep the log from being folded in
                return

    def hours(self) -> set[tuple[str, datetime]]:
        """Return the tenants and hours that segments wait for."""
        found = self._reader.execute(
            "SELECT DISTINCT tenant, hour FROM waiting JOIN streams USING (stream)"
        ).fetchall()
        return {(tenant, datetime.fromtimestamp(hour, UTC)) for tenant, hour in found}

    def newest(self) -> int:
        """Return the id of the newest waiting segment, 0 if none waits."""
        (found,) = self._reader.execute("SELECT coalesce(max(id), 0) FROM waiting").fetchone()
        return int(found)

    def forget(self, ids: Sequence[int]) -> None:
        """Drop segments that a recorded partial holds now; their receipts stay."""

        def work(con: sqlite3.Connection) -> tuple[int, int]:
            marks = [(one,) for one in ids]
            con.execute("CREATE TEMP TABLE IF NOT EXISTS gone (id INTEGER PRIMARY KEY)")
            con.execute("DELETE FROM gone")
            con.executemany("INSERT INTO gone VALUES (?)", marks)
            size, count = con.execute(
                "SELECT coalesce(sum(length(payload)), 0), count(*) FROM waiting"
                " WHERE id IN (SELECT id FROM gone)"
            ).fetchone()
            con.execute("DELETE FROM waiting WHERE id IN (SELECT id FROM gone)")
            return int(size), int(count)

        size, count = self._call(work)
        with self._lock:
            self.waiting_bytes -= size
            self.waiting_count -= count

    def learn(self, receipts: Iterable[tuple[Key, int, Iterable[tuple[int, int]]]]) -> None:
        """Take over receipts from the hours: (stream, end of its newest window in µs, runs)."""

        def work(con: sqlite3.Connection) -> None:
            for key, window_end, runs in receipts:
                stream = self._receipts.stream(con, key)
                con.execute(
                    "UPDATE streams SET window_end = max(window_end, ?) WHERE stream = ?",
                    [window_end, stream],
                )
                for first, last in runs:
                    receive_run(con, stream, first, last)

        self._call(work)

    def prune(self, tenant: str, before: datetime) -> None:
        """Forget receipts of a tenant's streams whose newest window ended before `before`.

        Windows that old must be refused by then (`oldest`), or a repeat would be booked twice.
        """
        edge = int(before.timestamp()) * 1_000_000
        self._call(lambda con: self._receipts.prune(con, tenant, edge))

    def states(self, tenant: str) -> list[ClusterState]:
        """Return the clusters that have posted, in order of name, without their watch."""
        since = int((self._now() - ACTIVE).timestamp())
        with self._lock:
            rows = self._reader.execute(
                "SELECT cluster, count(DISTINCT node) FILTER (WHERE received >= ?), max(received)"
                " FROM streams WHERE tenant = ? AND received > 0 GROUP BY cluster ORDER BY cluster",
                [since, tenant],
            ).fetchall()
        return [
            ClusterState(
                cluster=cluster, nodes=nodes, last_segment=datetime.fromtimestamp(received, UTC)
            )
            for cluster, nodes, received in rows
        ]

    def waiting_of(self, tenant: str) -> tuple[int, int]:
        """Return how many segments of a tenant wait, and their stored bytes."""
        count, size = self._reader.execute(
            "SELECT count(*), coalesce(sum(length(payload)), 0)"
            " FROM waiting JOIN streams USING (stream) WHERE tenant = ?",
            [tenant],
        ).fetchone()
        return int(count), int(size)

    # -- before the disk ---------------------------------------------------------------------------

    def _keep(self, posted: Posted) -> bool:
        """Return whether the segment was new, once it is durable."""
        self._check_room()
        size = len(posted.body)
        with self._lock:
            if self._closed or self._gathering + size > GATHERING:
                raise BusyError("too many segments at once", retry_after_s=RETRY_S)
            self._gathering += size
            payload = self._codec.compress(posted.body, asbytes=True)
            post = _Post(posted, payload, Future())
            self._queue.put(post)
        try:
            return post.done.result()
        finally:
            with self._lock:
                self._gathering -= size

    def _check_room(self) -> None:
        if self.waiting_bytes > self.limits.waiting_bytes:
            raise BusyError(
                f"{self.waiting_bytes} bytes wait for the ledger", retry_after_s=4 * RETRY_S
            )
        if self._free() < self.limits.free_bytes:
            raise BusyError(
                f"{self.path.parent}: the disk is nearly full",
                retry_after_s=12 * RETRY_S,
                hint="free space, or lower inbox.free_bytes",
            )

    def _free(self) -> int:
        found = os.statvfs(self.path.parent)
        return found.f_bavail * found.f_frsize

    # -- the writing thread ------------------------------------------------------------------------

    def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        done: Future[T] = Future()
        self._queue.put(_Call(work, done))
        return done.result()

    def _write(self) -> None:
        going = True
        while going:
            posts: list[_Post] = []
            calls: list[_Call] = []
            item = self._queue.get()
            while True:
                if isinstance(item, _Post):
                    posts.append(item)
                elif isinstance(item, _Call):
                    calls.append(item)
                else:
                    going = False
                if not going or len(posts) >= GROUP:
                    break
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            if posts:
                self._commit(posts)
            for call in calls:
                self._do(call)

    def _commit(self, posts: Sequence[_Post]) -> None:
        """Make a group durable, or tell all of it to come again."""
        con = self._con
        try:
            con.execute("BEGIN IMMEDIATE")
            fresh = [self._insert(con, post) for post in posts]
            con.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._roll_back(con)
            busy = self._refusal(error)
            for post in posts:
                post.done.set_exception(busy)
            return
        with self._lock:
            self.waiting_bytes += sum(
                len(post.payload) for post, new in zip(posts, fresh, strict=True) if new
            )
            self.waiting_count += sum(fresh)
        for post, new in zip(posts, fresh, strict=True):
            post.done.set_result(new)

    def _do(self, call: _Call) -> None:
        con = self._con
        try:
            con.execute("BEGIN IMMEDIATE")
            result = call.work(con)
            con.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._roll_back(con)
            call.done.set_exception(self._refusal(error))
        else:
            call.done.set_result(result)

    def _roll_back(self, con: sqlite3.Connection) -> None:
        self._receipts.rolled_back()
        with suppress(sqlite3.Error):
            con.execute("ROLLBACK")

    def _refusal(self, error: Exception) -> FlowcostError:
        """Return what the sender is told; what the operator must do stays as `trouble`."""
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.OperationalError
        )
        hint = "start the server again: it keeps what is readable" if damaged else "free space"
        message = f"{self.path}: {error}"
        self.trouble = f"{message}; {hint}"
        return BusyError(message, retry_after_s=12 * RETRY_S, hint=hint)

    def _insert(self, con: sqlite3.Connection, post: _Post) -> bool:
        found = post.posted.segment
        stream = self._receipts.stream(con, post.posted.key)
        con.execute(
            "UPDATE streams SET agent_version = ?, received = max(received, ?),"
            " window_end = max(window_end, ?) WHERE stream = ?",
            [found.agent_version, int(self._now().timestamp()), found.window_end, stream],
        )
        if not receive(con, stream, found.sequence):
            return False
        hour = found.window_start // HOUR_US * 3600
        size, check = len(post.posted.body), zlib.crc32(post.payload)
        con.execute(
            "INSERT INTO waiting (stream, sequence, hour, plain_size, crc, payload)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [stream, found.sequence, hour, size, check, post.payload],
        )
        return True
