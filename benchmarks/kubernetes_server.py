"""A small Kubernetes API on loopback: real HTTP, paged lists, chunked watches, and their faults."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flowcost.resolve.kubernetes_facts import RESOURCES

PATHS = {resource.path: resource.name for resource in RESOURCES}
Handle = Callable[["Handler", dict[str, str]], bool]


class KubernetesServer:
    """Objects by resource and name, their history since `compact`, and one HTTP server.

    `faults[verb, resource]` are handled first, one per request: a function that answers in place
    of the server and returns true, or returns false to let it answer. While `down`, every
    connection is cut.
    """

    def __init__(self) -> None:
        self.version = 100
        self.oldest = 0
        self.objects: dict[str, dict[str, bytes]] = {name: {} for name in PATHS.values()}
        self.log: dict[str, list[tuple[int, str, bytes]]] = {name: [] for name in PATHS.values()}
        self.faults: dict[tuple[str, str], deque[Handle]] = {}
        self.asked: list[tuple[str, str, dict[str, str], dict[str, str]]] = []
        self.changed = threading.Condition()
        self.down = False
        self.bookmarks = 0.05
        self.open: set[socket.socket] = set()
        self._sorted: dict[str, tuple[int, list[bytes]]] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("H", (Handler,), {"api": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.cut()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)

    def sorted(self, resource: str) -> list[bytes]:
        """Return the objects in order of name; made anew only after a change."""
        made = self._sorted.get(resource)
        if made is None or made[0] != self.version:
            items = [body for _, body in sorted(self.objects[resource].items())]
            made = self._sorted[resource] = (self.version, items)
        return made[1]

    def put(self, resource: str, item: dict[str, Any]) -> None:
        """Create or change an object."""
        with self.changed:
            self.version += 1
            meta = item["metadata"]
            meta["resourceVersion"] = str(self.version)
            name = f"{meta.get('namespace', '')}/{meta['name']}"
            kind = "MODIFIED" if name in self.objects[resource] else "ADDED"
            body = json.dumps(item).encode()
            self.objects[resource][name] = body
            self.log[resource].append((self.version, kind, body))
            self.changed.notify_all()

    def delete(self, resource: str, name: str, **status: object) -> None:
        """Delete `namespace/name`; `status` are fields that its last state shows."""
        with self.changed:
            self.version += 1
            item = json.loads(self.objects[resource].pop(name))
            item["metadata"]["resourceVersion"] = str(self.version)
            item.setdefault("status", {}).update(status)
            self.log[resource].append((self.version, "DELETED", json.dumps(item).encode()))
            self.changed.notify_all()

    def tell(self, resource: str, line: bytes, version: int | None = None) -> None:
        """Send a line as it is to every watch."""
        with self.changed:
            self.version += 1
            self.log[resource].append((version or self.version, "", line))
            self.changed.notify_all()

    def compact(self) -> None:
        """Forget history: what resumes from before now gets 410 Gone."""
        with self.changed:
            self.version += 1
            self.oldest = self.version
            for log in self.log.values():
                log.clear()
            self.changed.notify_all()

    def cut(self) -> None:
        """Break every open connection."""
        for one in list(self.open):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def fault(self, verb: str, resource: str, *handles: Handle) -> None:
        self.faults.setdefault((verb, resource), deque()).extend(handles)

    def count(self, verb: str, resource: str) -> int:
        return sum(one[:2] == (verb, resource) for one in self.asked)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: KubernetesServer

    def setup(self) -> None:
        super().setup()
        self.api.open.add(self.connection)

    def finish(self) -> None:
        self.api.open.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        api = self.api
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        resource = PATHS[url.path]
        verb = "watch" if query.get("watch") else "list"
        api.asked.append((verb, resource, query, dict(self.headers.items())))
        if api.down:
            self.cut()
            return
        waiting = api.faults.get((verb, resource))
        try:
            if waiting and waiting.popleft()(self, query):
                return
            self.watch(resource, query) if verb == "watch" else self.list(resource, query)
        except OSError:
            self.close_connection = True

    def cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def answer(
        self, status: int, body: bytes, kind: str = "application/json", **headers: str
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def status(self, code: int, message: str, **headers: str) -> None:
        body = {"kind": "Status", "status": "Failure", "code": code, "message": message}
        self.answer(code, json.dumps(body).encode(), **headers)

    def list(self, resource: str, query: dict[str, str]) -> None:
        api = self.api
        with api.changed:
            version = str(api.version)
            items = api.sorted(resource)
        limit = int(query.get("limit", "0")) or len(items)
        version, _, first = query.get("continue", f"{version}:0").partition(":")
        if int(version) < api.oldest:
            self.status(410, "The provided continue parameter is too old")
            return
        start = int(first)
        meta: dict[str, str] = {"resourceVersion": version}
        if start + limit < len(items):
            meta["continue"] = f"{version}:{start + limit}"
        head = (
            b'{"kind":"List","apiVersion":"v1","metadata":%s,"items":[' % json.dumps(meta).encode()
        )
        self.answer(200, head + b",".join(items[start : start + limit]) + b"]}")

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def event(self, kind: str, body: bytes) -> None:
        self.chunk(b'{"type":"%s","object":%s}\n' % (kind.encode(), body))

    def watch(self, resource: str, query: dict[str, str], *, begun: bool = False) -> None:
        api = self.api
        since = int(query["resourceVersion"])
        if not begun:
            if since < api.oldest:
                self.status(410, "too old resource version")
                return
            self.begin()
        until = time.monotonic() + int(query.get("timeoutSeconds", "60"))
        place = 0
        while time.monotonic() < until and not api.down:
            with api.changed:
                if since < api.oldest:
                    self.event("ERROR", b'{"kind":"Status","code":410,"message":"too old"}')
                    break
                log = api.log[resource]
                fresh = [one for one in log[place:] if one[0] > since or not one[1]]
                place = len(log)
                version = api.version
                if not fresh:
                    api.changed.wait(api.bookmarks)
                    fresh = log[place:]
                    place = len(log)
            for _, kind, body in fresh:
                self.event(kind, body) if kind else self.chunk(body)
            if not fresh and query.get("allowWatchBookmarks"):
                mark = json.dumps({"metadata": {"resourceVersion": str(version)}})
                self.event("BOOKMARK", mark.encode())
                since = version
        self.wfile.write(b"0\r\n\r\n")


def html(status: int) -> Handle:
    """A proxy's error page."""

    def handle(handler: Handler, _: dict[str, str]) -> bool:
        handler.answer(status, b"<html><h1>Bad Gateway</h1></html>", "text/html")
        return True

    return handle


def refuse(status: int, **headers: str) -> Handle:
    def handle(handler: Handler, _: dict[str, str]) -> bool:
        handler.status(status, "no", **headers)
        return True

    return handle


def silent(seconds: float) -> Handle:
    """A watch that says nothing more, as behind a half-closed connection."""

    def handle(handler: Handler, _: dict[str, str]) -> bool:
        handler.begin()
        time.sleep(seconds)
        return True

    return handle


def lines(*parts: bytes, cut: bool = True) -> Handle:
    """A watch that sends these bytes, then breaks the connection or ends."""

    def handle(handler: Handler, _: dict[str, str]) -> bool:
        handler.begin()
        for part in parts:
            handler.chunk(part)
        if cut:
            handler.cut()
        else:
            handler.wfile.write(b"0\r\n\r\n")
        return True

    return handle


def answered(body: bytes) -> Handle:
    """An answer as it was recorded."""

    def handle(handler: Handler, _: dict[str, str]) -> bool:
        handler.answer(200, body)
        return True

    return handle
