"""What a request says about who sends it, as plain data."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class Asking(Struct, frozen=True, kw_only=True):
    """The parts of a request that can name its sender.

    `headers` have lower-case names and every value that was given; `peer` is the address of the
    other end of the connection, empty if there is none.
    """

    headers: Mapping[str, tuple[str, ...]] = {}
    cookies: Mapping[str, str] = {}
    peer: str = ""
    method: str = "GET"
    path: str = "/"

    def one(self, header: str) -> str:
        """Return the value of a header that must be given once, empty if it is not."""
        values = self.headers.get(header, ())
        return values[0] if len(values) == 1 else ""
