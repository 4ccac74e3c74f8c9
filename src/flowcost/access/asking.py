"""What a request says about who sends it, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from flowcost.access.principal import OPEN, Principal


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


class Access(Protocol):
    """Says who asks; `is_open` where nobody has to say."""

    @property
    def is_open(self) -> bool:
        """Return whether everybody is an administrator."""
        ...

    async def principal(self, asking: Asking) -> Principal | None:
        """Return who asks; None where the request does not say.

        Raises:
            UnauthenticatedError: what it says does not hold.
        """
        ...


class OpenAccess:
    """No access is configured: everybody is the administrator of one tenant.

    Only for a server that listens on loopback, and it says so when it starts.
    """

    is_open = True

    async def principal(self, asking: Asking) -> Principal | None:  # noqa: ARG002 - nobody is asked
        """Return `OPEN`."""
        return OPEN
