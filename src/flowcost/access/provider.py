"""Signing people in by OpenID Connect: authorization code with PKCE (RFC 7636), state and nonce."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from msgspec.structs import replace

from flowcost.access import fetch
from flowcost.access.bearer import Verifier
from flowcost.access.keys import Discovered, Keys
from flowcost.access.sessions import Login as UnderWay
from flowcost.access.settings import Issuer, Login
from flowcost.errors import UnauthenticatedError

CALLBACK = "/login/callback"


class Provider:
    """One provider, with which this server is registered."""

    def __init__(self, settings: Login, algorithms: Issuer, now: Callable[[], datetime]) -> None:
        self.settings = settings
        self._discovered = Discovered(settings.issuer, now)
        issuer = replace(
            algorithms, issuer=settings.issuer, audience=settings.client_id, jwks_url=""
        )
        self._verifier = Verifier(issuer, Keys(self._discovered, now), now)

    @property
    def callback(self) -> str:
        """Return the URL the provider sends people back to."""
        return self.settings.public_url.rstrip("/") + CALLBACK

    async def address(self, login: UnderWay) -> str:
        """Return where a sign-in goes on: a page of the provider.

        Raises:
            BusyError: the provider cannot be asked.
        """
        proof = hashlib.sha256(login.verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.callback,
            "scope": " ".join(dict.fromkeys(("openid", *self.settings.scopes))),
            "state": login.state,
            "nonce": login.nonce,
            "code_challenge": base64.urlsafe_b64encode(proof).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        page = await self._discovered.endpoint("authorization_endpoint")
        return f"{page}{'&' if '?' in page else '?'}{urlencode(query)}"

    async def claims(self, code: str, login: UnderWay) -> dict[str, Any]:
        """Return the claims of who signed in, for the `code` that came back.

        Raises:
            UnauthenticatedError: the provider refuses the code, or its answer does not hold.
            BusyError: the provider cannot be asked.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.callback,
            "client_id": self.settings.client_id,
            "code_verifier": login.verifier,
        }
        secret = self.settings.client_secret
        basic = (self.settings.client_id, secret.read()) if secret else None
        answer = await fetch.document(
            await self._discovered.endpoint("token_endpoint"), form=form, basic=basic
        )
        found = await self._verifier.claims(str(answer.get("id_token", "")))
        nonce = found.get("nonce")
        if not isinstance(nonce, str) or not hmac.compare_digest(
            nonce.encode(), login.nonce.encode()
        ):
            raise UnauthenticatedError("the sign-in belongs to another browser", hint="try again")
        audience = found.get("aud")
        several = isinstance(audience, list) and len(audience) > 1
        if several and found.get("azp") != self.settings.client_id:
            raise UnauthenticatedError("the sign-in was made for another application")
        return found
