"""The gate: from what a request says to who asks, by every way the operator allows.

In this order: a bearer token (ours, or an issuer's), a session cookie, a proxy that signs people
in, and, on a server that is open, nothing at all. What is said and does not hold is refused, also
on an open server.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from anyio.to_thread import run_sync

from flowcost import clock
from flowcost.access.asking import Asking
from flowcost.access.audit import Audit
from flowcost.access.bearer import Verifier
from flowcost.access.keys import Discovered, Keys
from flowcost.access.origin import refuse_other_names, refuse_other_sites
from flowcost.access.principal import OPEN, Principal
from flowcost.access.provider import Provider
from flowcost.access.roles import principal_of
from flowcost.access.sessions import COOKIE, Sessions
from flowcost.access.settings import Access
from flowcost.access.store import Store
from flowcost.access.tokens import PREFIX, Tokens
from flowcost.address import network, pack
from flowcost.errors import ForbiddenError, UnauthenticatedError

FOLDER = ".serve"


class Gate:
    """Says who asks, and keeps what access must remember below `folder`."""

    def __init__(
        self,
        folder: Path,
        settings: Access | None = None,
        *,
        host: str = "127.0.0.1",
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        """Open the gate of a server that listens on `host`.

        Raises:
            LedgerError: `folder` cannot be written.
        """
        self.settings = settings or Access()
        self.now = now
        self.is_open = self.settings.is_open(host)
        self.store = Store(folder)
        self.tokens = Tokens(self.store)
        self.sessions = Sessions(self.store)
        self.audit = Audit(self.store)
        jwt, oidc = self.settings.jwt, self.settings.oidc
        self.verifier = (
            Verifier(jwt, Keys(Discovered(jwt.issuer, now), now, jwt.jwks_url), now)
            if jwt.issuer
            else None
        )
        self.provider = Provider(oidc, jwt, now) if oidc.issuer else None
        self._peers = [network(peer) for peer in self.settings.proxy.peers]

    def close(self) -> None:
        """Close what is kept on disk."""
        self.store.close()

    async def principal(self, asking: Asking) -> Principal | None:
        """Return who asks; None where the request does not say.

        Raises:
            UnauthenticatedError: what it says does not hold.
            ForbiddenError: who it is has no role, or another site's page sent it.
            BusyError: an issuer must be asked, and cannot be.
        """
        try:
            return await self._principal(asking)
        except (UnauthenticatedError, ForbiddenError) as error:
            await run_sync(self._refused, asking, error.message)
            raise

    def _refused(self, asking: Asking, why: str) -> None:
        self.audit.refused(
            tenant="",
            who="(unknown)",
            action=f"{asking.method} {asking.path}",
            result=why,
            at=self.now(),
            peer=asking.peer,
        )

    async def _principal(self, asking: Asking) -> Principal | None:
        if "authorization" in asking.headers:
            return await self._bearer(asking.one("authorization"))
        found = self._session(asking) or self._proxied(asking)
        if found is None and self.is_open:
            refuse_other_names(asking)
            found = OPEN
        if found is not None:
            refuse_other_sites(asking, self.settings.oidc.public_url)
        return found

    async def _bearer(self, header: str) -> Principal:
        scheme, _, text = header.partition(" ")
        text = text.strip()
        if scheme.lower() != "bearer" or not text:
            raise UnauthenticatedError(
                "not one bearer token", hint="Authorization: Bearer <token>, once"
            )
        if text.startswith(f"{PREFIX}_"):
            found = self.tokens.principal(text, self.now())
            if found is None:
                raise UnauthenticatedError("this token does not hold, or no longer")
            return found
        if self.verifier is None:
            raise UnauthenticatedError("not a token of this server")
        claims = await self.verifier.claims(text)
        return principal_of(claims, str(claims["sub"]), self.settings.grants)

    def _session(self, asking: Asking) -> Principal | None:
        secret = asking.cookies.get(COOKIE, "")
        return self.sessions.principal(secret, self.now()) if secret else None

    def _proxied(self, asking: Asking) -> Principal | None:
        """Return who the proxy names; only the proxy itself is believed."""
        proxy = self.settings.proxy
        user = asking.one(proxy.user_header.lower())
        if not user or not self._is_proxy(asking.peer):
            return None
        groups = [group.strip() for group in asking.one(proxy.groups_header.lower()).split(",")]
        claims: dict[str, object] = {"groups": [group for group in groups if group], "user": user}
        return principal_of(claims, user, self.settings.grants)

    def _is_proxy(self, peer: str) -> bool:
        try:
            address = pack(peer)
        except ValueError:
            return False
        return any(first <= address <= last for first, last in self._peers)
