"""Signed tokens (JWT, RFC 7519) of an issuer: signature, then every claim that bounds them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from flowcost.access.keys import Keys
from flowcost.access.settings import Issuer
from flowcost.errors import UnauthenticatedError

LONGEST = 16 << 10
_TYPES = ("jwt", "at+jwt", "application/at+jwt")


class Verifier:
    """Tokens that one issuer made for one audience."""

    def __init__(self, settings: Issuer, keys: Keys, now: Callable[[], datetime]) -> None:
        self.settings = settings
        self.keys = keys
        self._now = now

    async def claims(self, text: str) -> dict[str, Any]:
        """Return the claims of a token that holds now.

        Raises:
            UnauthenticatedError: it does not; the reason is named, the token is not.
            BusyError: the issuer's keys are not known.
        """
        from joserfc import jwt  # noqa: PLC0415 - 60 ms, only where tokens are signed
        from joserfc.errors import ExpiredTokenError, JoseError  # noqa: PLC0415

        header = _header(text)
        if header.get("alg") not in self.settings.algorithms:
            raise UnauthenticatedError("the token is signed in a way that is not taken")
        if str(header.get("typ", "jwt")).lower() not in _TYPES:
            raise UnauthenticatedError("the token is of another kind")
        kid = header.get("kid")
        keys = await self.keys.holding(kid if isinstance(kid, str) else None)
        if not isinstance(kid, str) and len(keys.keys) != 1:
            raise UnauthenticatedError("the token does not say which key signed it")
        try:
            found = jwt.decode(text, keys, algorithms=list(self.settings.algorithms))
            self._rules().validate(found.claims)
        except ExpiredTokenError:
            raise UnauthenticatedError("the token has expired", hint="sign in again") from None
        except (JoseError, ValueError, TypeError, KeyError, binascii.Error) as error:
            reason = getattr(error, "claim", "") or type(error).__name__
            raise UnauthenticatedError(f"the token does not hold ({reason})") from None
        if not found.claims.get("sub"):
            raise UnauthenticatedError("the token does not hold (sub)")
        return found.claims

    def _rules(self) -> Any:  # noqa: ANN401 - imported late
        from joserfc.jwt import JWTClaimsRegistry  # noqa: PLC0415

        return JWTClaimsRegistry(
            now=int(self._now().timestamp()),
            leeway=int(self.settings.leeway.total_seconds()),
            iss={"essential": True, "value": self.settings.issuer},
            aud={"essential": True, "value": self.settings.audience},
            exp={"essential": True},
            sub={"essential": True},
        )


def _header(text: str) -> dict[str, Any]:
    """Return the header of a token, before anything of it is believed."""
    first = text.partition(".")[0]
    if len(text) > LONGEST or text.count(".") != 2:
        raise UnauthenticatedError("not a token of this server, nor a signed one")
    try:
        content = base64.urlsafe_b64decode(first + "=" * (-len(first) % 4))
        return msgspec.json.decode(content, type=dict[str, Any])
    except (ValueError, msgspec.MsgspecError):  # bad UTF-8 is a ValueError too
        raise UnauthenticatedError("not a token of this server, nor a signed one") from None
