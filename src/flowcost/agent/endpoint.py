"""One HTTP server the agent talks to, with a bearer token from a file.

The token is read again for every request (tokens rotate) and stands in no message. Redirects are
not followed: they would carry the token elsewhere.
"""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Mapping
from email.message import Message
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from flowcost.errors import NotPermittedError, UnreachableError, UsageError

USER_AGENT = "flowcost-agent"


class Answer(Struct, frozen=True):
    """What the server answered; header names are looked up without regard to case."""

    status: int
    headers: Message
    body: bytes


class Endpoint:
    """A server at `url`; the connection is kept open between requests. For one thread.

    `most_bytes` bounds the body of an answer.

    Raises:
        UsageError: `url` is not an http or https URL.
    """

    def __init__(
        self,
        url: str,
        *,
        what: str,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        timeout_s: float = 15.0,
        most_bytes: int = 1 << 30,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise UsageError(f"{url!r} is not the URL of a {what}", hint="https://host:port")
        self.url, self.what = url, what
        self.encrypted = parts.scheme == "https"
        self.on_loopback = parts.hostname in {"127.0.0.1", "::1", "localhost"}
        self._where, self._prefix = parts.netloc, parts.path.rstrip("/")
        self._token_file, self._ca_file = token_file, ca_file
        self._timeout_s, self._most_bytes = timeout_s, most_bytes
        self._connection: http.client.HTTPConnection | None = None

    def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Return the answer to one request, whatever its status.

        A kept connection that the server has closed meanwhile is opened once more.

        Raises:
            NotPermittedError: the token file cannot be read.
            UnreachableError: no answer, a broken one, or one that is too long.
        """
        sent = {"User-Agent": USER_AGENT, **(headers or {})}
        if self._token_file:
            sent["Authorization"] = f"Bearer {_token(self._token_file)}"
        kept = self._connection is not None
        try:
            try:
                return self._exchange(method, self._prefix + path, sent, body)
            except (ConnectionError, http.client.BadStatusLine):
                if not kept:
                    raise
                self.close()
                return self._exchange(method, self._prefix + path, sent, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise UnreachableError(
                f"{self.what} {self.url}: {error or type(error).__name__}"
            ) from None

    def close(self) -> None:
        """Close the connection; the next request opens one."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        connection = self._connection = self._connection or self._open()
        connection.request(method, path, body=body, headers=dict(headers))
        response = connection.getresponse()
        found = response.read(self._most_bytes + 1)
        if len(found) > self._most_bytes:
            raise http.client.HTTPException(f"an answer of more than {self._most_bytes} bytes")
        if response.will_close:
            self.close()
        return Answer(response.status, response.headers, found)

    def _open(self) -> http.client.HTTPConnection:
        if not self.encrypted:
            return http.client.HTTPConnection(self._where, timeout=self._timeout_s)
        context = ssl.create_default_context(
            cafile=os.fspath(self._ca_file) if self._ca_file else None
        )
        return http.client.HTTPSConnection(self._where, timeout=self._timeout_s, context=context)


def _token(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not ASCII"
        raise NotPermittedError(f"token {path}: {reason}") from None
