"""The keys of an issuer: found by discovery, kept, and asked for again when they rotate.

Whoever asks with made-up key ids cannot make us ask the issuer more than once in a while, and an
issuer that is away for a while locks nobody out.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio

from flowcost import clock
from flowcost.access import fetch
from flowcost.access.place import check_url
from flowcost.errors import BusyError

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

DISCOVERY = "/.well-known/openid-configuration"
FRESH = timedelta(minutes=10)  # after this they are asked for again
STALE = timedelta(hours=24)  # after this they hold no longer, even if the issuer is away
PAUSE = timedelta(seconds=30)  # between two askings
MOST_KEYS = 100


class Discovered:
    """What an issuer says of itself; kept for as long as its keys."""

    def __init__(self, issuer: str, now: Callable[[], datetime]) -> None:
        self.issuer = issuer
        self._now = now
        self._found: dict[str, Any] = {}
        self._at = clock.EARLIEST

    async def endpoint(self, name: str) -> str:
        """Return one of its URLs.

        Raises:
            BusyError: it cannot be asked, or it speaks for another issuer.
        """
        if not self._found or self._now() - self._at > FRESH:
            found = await fetch.document(self.issuer.rstrip("/") + DISCOVERY)
            if found.get("issuer") != self.issuer:
                raise BusyError(f"{self.issuer}: its discovery names another issuer")
            self._found, self._at = found, self._now()
        url = self._found.get(name)
        try:
            check_url(url if isinstance(url, str) else "(none)")
        except ValueError as error:
            raise BusyError(f"{self.issuer}: {name}: {error}") from None
        return str(url)


class Keys:
    """The keys of one issuer."""

    def __init__(
        self, discovered: Discovered, now: Callable[[], datetime], jwks_url: str = ""
    ) -> None:
        self._discovered = discovered
        self._url = jwks_url
        self._now = now
        self._keys: KeySet | None = None
        self._at = clock.EARLIEST
        self._asked = clock.EARLIEST
        self._lock = anyio.Lock()

    async def holding(self, kid: str | None) -> KeySet:
        """Return the keys; asked for again if they are old, or none of them is called `kid`.

        Raises:
            BusyError: there are none, and the issuer cannot be asked.
        """
        async with self._lock:
            now = self._now()
            known = self._keys is not None and (kid is None or kid in _names(self._keys))
            if (not known or now - self._at > FRESH) and now - self._asked > PAUSE:
                self._asked = now
                try:
                    self._keys, self._at = await self._fetched(), now
                except BusyError:
                    if self._keys is None or now - self._at > STALE:
                        raise
            if self._keys is None or now - self._at > STALE:
                raise BusyError(
                    f"{self._discovered.issuer}: its keys are not known", retry_after_s=30
                )
            return self._keys

    async def _fetched(self) -> KeySet:
        from joserfc.errors import JoseError  # noqa: PLC0415 - only where tokens are signed
        from joserfc.jwk import KeySet  # noqa: PLC0415

        url = self._url or await self._discovered.endpoint("jwks_uri")
        found = await fetch.document(url)
        listed = found.get("keys")
        # Shared secrets and keys for encryption have no business here.
        usable = [
            key
            for key in (listed if isinstance(listed, list) else [])[:MOST_KEYS]
            if isinstance(key, dict) and key.get("kty") != "oct" and key.get("use", "sig") == "sig"
        ]
        try:
            return KeySet.import_key_set({"keys": usable})
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise BusyError(f"{url}: no key set: {type(error).__name__}") from None


def _names(keys: KeySet) -> set[str | None]:
    return {key.kid for key in keys.keys}
