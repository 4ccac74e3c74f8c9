"""The Kubernetes API over HTTPS, read-only: lists in pages, watches as lines.

Every trouble becomes one of four: the resource version is too old (`ExpiredError`), the right is
missing, the server cannot be reached, or it answers what no API server says (a proxy's page in
HTML, JSON cut short). Credentials are asked for again for every request, because they rotate.
"""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, Generic, Protocol, Self, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct, field

from flowcost.errors import BusyError, NotPermittedError, UnreachableError, UsageError
from flowcost.resolve.kubernetes_facts import Resource

PAGE = 500
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
LINE_BYTES = 16 << 20  # etcd takes objects of about 1.5 MiB
_QUOTED_BYTES = 200
_CHUNK = 1 << 16

_JSON = "application/json"
_BARE = "application/json;as=PartialObjectMetadata{kind};g=meta.k8s.io;v=v1,application/json"

T = TypeVar("T")


class ExpiredError(Exception):
    """The resource version, or the token of a list's next page, is older than what is kept."""


class Credentials(Protocol):
    """Who we are to an API server."""

    def token(self) -> str:
        """Return a bearer token that is valid now, "" if none is used."""
        ...

    def context(self) -> ssl.SSLContext:
        """Return the authorities that are trusted, and the client certificate if one is used."""
        ...

    def refused(self) -> None:
        """Learn that the server did not take the token: a cached one is thrown away."""
        ...


class _ListMeta(Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = field(name="continue", default="")


class Page(Struct, Generic[T]):
    """One page of a list; the last one has no `continue`. No items may be spelled null."""

    items: list[T] | None
    metadata: _ListMeta = field(default_factory=_ListMeta)


class ApiServer:
    """The API server of one cluster.

    Raises:
        UsageError: `url` is not an http or https URL.
    """

    def __init__(self, url: str, credentials: Credentials, *, agent: str = "flowcost") -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"{url!r} is not the URL of an API server", hint="https://host:port")
        self.url = url
        self._parts = parts
        self._credentials = credentials
        self._agent = agent

    def pages(self, resource: Resource, *, limit: int = PAGE) -> Iterator[Page[Any]]:
        """Yield all objects of a resource, in pages that show one moment.

        Raises:
            ExpiredError: the list took longer than the server keeps history; begin again.
            NotPermittedError: the role to grant is named.
            BusyError, UnreachableError: see the module's text.
        """
        decoder = msgspec.json.Decoder(Page[resource.shape])  # type: ignore[name-defined]
        query = {"limit": str(limit)}
        with Request(self, resource) as request:
            while True:
                body = request.get(query, accept=_accept(resource, "List")).read()
                try:
                    page = decoder.decode(body)
                except msgspec.MsgspecError as error:
                    raise self.nonsense(resource, body, str(error)) from None
                yield page
                if not page.metadata.continue_:
                    return
                query["continue"] = page.metadata.continue_

    def watch(self, resource: Resource, version: str, *, seconds: int, idle: float) -> Watching:
        """Begin a watch of what changes after `version`; the server ends it after `seconds`.

        Raises:
            As `pages`; `ExpiredError` means that `version` is too old.
        """
        query = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        request = Request(self, resource)
        try:
            request.get(query, accept=_accept(resource, ""))
            request.patience(idle)
        except BaseException:
            request.close()
            raise
        return Watching(request)

    def nonsense(self, resource: Resource, body: bytes, what: str) -> UnreachableError:
        """Return the error for an answer that no API server gives."""
        begin = body[:_QUOTED_BYTES].decode(errors="replace").strip()
        return UnreachableError(
            f"API server {self.url}: {resource.name}: not what Kubernetes answers ({what}):"
            f" {begin!r}",
            hint="A proxy or another server may stand in between.",
        )

    def unreachable(self, error: Exception) -> UnreachableError:
        """Return the error for a connection that failed."""
        return UnreachableError(f"API server {self.url}: {error or type(error).__name__}")

    def connect(self) -> http.client.HTTPConnection:
        """Return an open connection.

        Raises:
            UnreachableError: nobody answers, or not with a certificate that is trusted.
        """
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=CONNECT_SECONDS, context=self._context
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
        try:
            connection.connect()
            _keep_alive(connection.sock)
            connection.sock.settimeout(ANSWER_SECONDS)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self.unreachable(error) from None
        return connection

    def target(self, resource: Resource, query: Mapping[str, str]) -> str:
        """Return the request target of a resource."""
        return f"{self._parts.path.rstrip('/')}{resource.path}?{urlencode(query)}"

    def headers(self, accept: str) -> dict[str, str]:
        """Return the headers of a request, with a token that is valid now."""
        headers = {"Accept": accept, "User-Agent": self._agent}
        if token := self._credentials.token():
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def refuse(self, resource: Resource, response: http.client.HTTPResponse) -> Exception:
        """Return the error that a status other than 200 means."""
        status = response.status
        try:
            body = response.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            return self.unreachable(error)
        if status == http.client.GONE:
            return ExpiredError(_message(body))
        if status in {http.client.UNAUTHORIZED, http.client.FORBIDDEN}:
            self._credentials.refused()
            return NotPermittedError(
                f"API server {self.url}: may not list and watch {resource.name} ({status})",
                hint=f"Grant list and watch on {resource.name}: docs/identity.md has the role.",
            )
        told = response.headers.get("Retry-After", "")
        return BusyError(
            f"API server {self.url}: {resource.name} answered {status}: {_message(body)}",
            retry_after_s=int(told[:6]) if told.isdecimal() else 0,
        )

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return self._credentials.context()


class Request:
    """One connection to an API server, used for one request after another."""

    def __init__(self, server: ApiServer, resource: Resource) -> None:
        self.server = server
        self.resource = resource
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self.response: http.client.HTTPResponse | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, query: Mapping[str, str], *, accept: str) -> Body:
        """Return the body of the answer, which is a good one.

        Raises:
            As `ApiServer.pages`.
        """
        server = self.server
        if self._connection is None or self._connection.sock is None:
            self._connection = server.connect()
            self._socket = self._connection.sock
        try:
            self._connection.request(
                "GET",
                server.target(self.resource, query),
                headers={
                    **server.headers(accept),
                    "Accept-Encoding": "identity" if "watch" in query else "gzip",
                },
            )
            self.response = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise server.unreachable(error) from None
        if self.response.status != http.client.OK:
            raise server.refuse(self.resource, self.response)
        kind = self.response.headers.get_content_type()
        if kind != _JSON:
            raise server.nonsense(self.resource, self.response.read(_CHUNK), kind)
        return Body(self)

    def patience(self, seconds: float) -> None:
        """Bound how long a read waits for the next byte: a half-closed connection ends here."""
        if self._socket:
            self._socket.settimeout(seconds)

    def interrupt(self) -> None:
        """Make a read that waits in another thread fail at once."""
        if self._socket:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection, from the thread that reads."""
        if self.response:
            self.response.close()
        if self._connection:
            self._connection.close()


class Body:
    """The bytes of an answer."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def read(self) -> bytes:
        """Return all of it, unpacked.

        Raises:
            UnreachableError: the connection broke.
        """
        response = self._request.response
        assert response is not None  # noqa: S101 - a body is made with its answer
        try:
            body = response.read()
            packed = response.headers.get("Content-Encoding", "") == "gzip"
            return gzip.decompress(body) if packed else body
        except (OSError, EOFError, http.client.HTTPException) as error:
            raise self._request.server.unreachable(error) from None


class Watching:
    """A watch under way: its lines."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def __iter__(self) -> Iterator[list[bytes]]:
        """Yield whole lines, as many as have arrived; ends when the server ends the watch.

        Raises:
            UnreachableError: the connection broke, was silent for too long, or a line is cut.
        """
        response = self._request.response
        assert response is not None  # noqa: S101 - a watch begins with an answer
        rest = b""
        while True:
            try:
                chunk = response.read1(_CHUNK)
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise self._request.server.unreachable(error) from None
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LINE_BYTES:
                raise self._cut(rest)
            if lines:
                yield [line for line in lines if line.strip()]
        if rest.strip():
            raise self._cut(rest)

    def interrupt(self) -> None:
        """End the iteration from another thread."""
        self._request.interrupt()

    def close(self) -> None:
        """End the watch."""
        self._request.close()

    def _cut(self, rest: bytes) -> UnreachableError:
        return self._request.server.nonsense(self._request.resource, rest, "a line without end")


def _keep_alive(sock: socket.socket) -> None:
    """Let the kernel find out within a minute that nobody is there any more."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if option := getattr(socket, name, None):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _accept(resource: Resource, kind: str) -> str:
    return _BARE.format(kind=kind) if resource.bare else _JSON


def _message(body: bytes) -> str:
    """Return what a Status says, else the beginning of the body."""
    with suppress(ValueError, AttributeError):
        if message := json.loads(body).get("message"):
            return str(message)
    return repr(body[:_QUOTED_BYTES].decode(errors="replace").strip())
