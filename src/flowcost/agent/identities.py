"""The world, kept fresh in the background: the last good answer stays when a source fails.

The drain must not wait for an API server, so identities are read on a thread of their own and
swapped in whole. A pod the drain meets before the API told of it asks for a refresh at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from flowcost import clock
from flowcost.address import family, unpack
from flowcost.agent.apiserver import COLLECTIONS, ApiServer
from flowcost.agent.directory import Directory
from flowcost.agent.identity import World, world
from flowcost.agent.imds import Place
from flowcost.agent.kubernetes import decode
from flowcost.agent.told import IdentityServer, read, told_world
from flowcost.errors import FlowcostError, InventoryError, NotSupportedError
from flowcost.model import Identity
from flowcost.resolve import Layer

LOG = logging.getLogger("flowcost.agent")
TOLD = "identities"  # the one document of a Flowcost server


class Source(Struct, frozen=True, kw_only=True):
    """Where identities come from: a Flowcost server, an API server, or files kubectl wrote.

    With none of them, only the node itself is known. A server that does not watch this cluster
    leaves it to the API server, if both are given.
    """

    node: str = ""
    cluster: str = ""
    place: Place = Place()
    server: IdentityServer | None = None
    api: ApiServer | None = None
    directory: Path | None = None
    zone_ids: dict[str, str] = {}
    layers: tuple[Layer, ...] = ()

    def documents(self) -> dict[str, bytes]:
        """Return the list documents by resource, or the server's answer as `TOLD`.

        Raises:
            InventoryError: a file cannot be read.
            NotPermittedError, UnreachableError: the server refuses or does not answer.
            NotSupportedError: it does not watch this cluster, and no other source is given.
        """
        if self.server:
            try:
                return {TOLD: self.server.fetch(self.node)}
            except NotSupportedError:
                if not self.api:
                    raise
        if self.api:
            return self.api.snapshot(self.node)
        return read_files(self.directory) if self.directory else {}

    def kept(self) -> dict[str, bytes]:
        """Return what an earlier process was told by the server, nothing if that is no use."""
        body = self.server.last() if self.server else b""
        with suppress(InventoryError):
            read(body)
            return {TOLD: body}
        return {}

    def world(self, documents: Mapping[str, bytes]) -> World:
        """Return the world of these documents, now.

        Raises:
            InventoryError: a document is not what its name says, or holds a broken address.
        """
        if TOLD in documents:
            return told_world(
                read(documents[TOLD]),
                node_name=self.node,
                place=self.place,
                at=clock.now(),
                layers=self.layers,
            )
        objects = decode(documents)
        try:
            return world(
                objects,
                node_name=self.node,
                cluster=self.cluster,
                place=self.place,
                at=clock.now(),
                zone_ids=self.zone_ids,
                layers=self.layers,
            )
        except ValueError as error:  # a text that is no address or time
            raise InventoryError(f"Kubernetes objects: {error}") from None


def read_files(directory: Path) -> dict[str, bytes]:
    """Return the documents of an inventory's `kubernetes/<cluster>/` directory.

    Raises:
        InventoryError: the directory holds none of them, or one cannot be read.
    """
    found: dict[str, bytes] = {}
    for resource in COLLECTIONS:
        path = directory / f"{resource}.json"
        try:
            found[resource] = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InventoryError(f"{path}: {error.strerror}") from None
    if not found:
        raise InventoryError(
            f"{directory} holds none of {', '.join(f'{name}.json' for name in COLLECTIONS)}",
            hint="Write them: kubectl get pods -A -o json > pods.json, and so on.",
        )
    return found


class Identities:
    """The current `directory`, refreshed every `interval_s` seconds until closed.

    A pod that is no longer listed is kept for `keep_s` seconds.

    `failures` counts refreshes that failed; `on_error` hears of them.

    Raises:
        InventoryError: files were named and cannot be read at the start. An API server may fail
            at any time: until it answers, only the node is known.
    """

    def __init__(
        self,
        source: Source,
        *,
        interval_s: float = 30.0,
        keep_s: float = 900.0,
        on_error: Callable[[FlowcostError], None] | None = None,
    ) -> None:
        self.source = source
        self.failures = 0
        self._interval_s = interval_s
        self._keep_s = keep_s
        self._gone: dict[str, tuple[Identity, float]] = {}
        self._on_error = on_error or (lambda error: LOG.warning("identities: %s", error))
        self._wanted = threading.Event()
        self._fresh = threading.Condition()
        self._closed = False
        self._documents: dict[str, bytes] | None = None
        self.directory = Directory(source.world(source.kept()), clock.now())
        if source.directory:
            self._refresh()
        else:
            self._attempt()
        self._thread = threading.Thread(target=self._loop, name="identities", daemon=True)
        self._thread.start()

    def refresh(self, wait_s: float) -> None:
        """Ask for a refresh and wait for it, `wait_s` seconds at most."""
        with self._fresh:
            self._wanted.set()
            self._fresh.wait(wait_s)

    def close(self) -> None:
        """Stop the thread; a request under way is not waited for."""
        self._closed = True
        self._wanted.set()

    def _loop(self) -> None:
        while True:
            self._wanted.wait(self._interval_s)
            self._wanted.clear()
            if self._closed:
                return
            self._attempt()
            with self._fresh:
                self._fresh.notify_all()

    def _attempt(self) -> None:
        try:
            self._refresh()
        except FlowcostError as error:
            self.failures += 1
            self._on_error(error)

    def _refresh(self) -> None:
        documents = self.source.documents()
        if documents != self._documents or self._gone:
            known = self._with_the_dead(self.source.world(documents), time.monotonic())
            self.directory = Directory(known, clock.now())
            self._documents = documents

    def _with_the_dead(self, known: World, now: float) -> World:
        """Return the world with the pods that left it lately: their last bytes are to come."""
        for uid, identity in self.directory.world.pods.items():
            if uid not in known.pods and uid not in self._gone:
                self._gone[uid] = identity, now + self._keep_s
        self._gone = {
            uid: (identity, until)
            for uid, (identity, until) in self._gone.items()
            if uid not in known.pods and now < until
        }
        dead = {uid: identity for uid, (identity, _) in self._gone.items()}
        return replace(known, pods={**dead, **known.pods})


def service_ranges(known: World, given: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the CIDR blocks Services get their addresses from: `given`, else by those in use.

    A /16 (IPv4) or /112 (IPv6) around each address in use, at most four and two: a block too wide
    costs a few rows in the kernel's map, one too narrow costs the backend of a Service.
    """
    if given:
        return tuple(given)
    four = sorted({packed[:14] + bytes(2) for packed in known.services if family(packed) == 4})
    six = sorted({packed[:14] + bytes(2) for packed in known.services if family(packed) == 6})
    return (
        *(f"{unpack(first)}/16" for first in four[:4]),
        *(f"{unpack(first)}/112" for first in six[:2]),
    )
