"""A small OpenID provider on loopback: real HTTP, real signatures, and faults on demand."""

import base64
import hashlib
import secrets
from contextlib import contextmanager
from urllib.parse import parse_qsl

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

from tests.api.running import running as serving

CLIENT, SECRET = "flowcost", "a-secret-of-the-test"


class Provider:
    """What it knows, and what it is told to get wrong (`faults`)."""

    def __init__(self):
        self.keys = [RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})]
        self.asked = {"/jwks": 0, "/discovery": 0}
        self.person = {"sub": "u-1", "email": "ann@example.org", "groups": ["finops"]}
        self.faults = {}
        self.codes = {}
        self.url = ""

    def rotate(self, kid):
        """Sign with a new key, beside the old ones."""
        self.keys.insert(0, RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}))

    def sign(self, claims, header=None, key=None):
        """Return a token with these claims."""
        key = key or self.keys[0]
        header = {"alg": "RS256", "kid": key.kid} | (header or {})
        return jwt.encode(header, claims, key, algorithms=["RS256", "RS512"])

    def claims(self, now, audience, **changes):
        """Return good claims; a change to None leaves one out."""
        seconds = int(now.timestamp())
        found = {"iss": self.url, "aud": audience, "iat": seconds, "exp": seconds + 300}
        found |= self.person | changes
        return {name: value for name, value in found.items() if value is not None}

    def routes(self):
        return [
            Route("/.well-known/openid-configuration", self._discovery),
            Route("/jwks", self._jwks),
            Route("/authorize", self._authorize),
            Route("/token", self._token, methods=["POST"]),
        ]

    async def _discovery(self, request):
        self.asked["/discovery"] += 1
        if self.faults.get("discovery"):
            return JSONResponse({}, 500)
        return JSONResponse(
            {
                "issuer": self.faults.get("issuer", self.url),
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/jwks",
            }
        )

    async def _jwks(self, request):
        self.asked["/jwks"] += 1
        if self.faults.get("jwks"):
            return self.faults["jwks"]
        return JSONResponse(KeySet(self.keys).as_dict(private=False))

    async def _authorize(self, request):
        query = dict(request.query_params)
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        if query["client_id"] != CLIENT:
            return JSONResponse({"error": "unauthorized_client"}, 400)
        code = secrets.token_urlsafe(8)
        self.codes[code] = query
        return RedirectResponse(f"{query['redirect_uri']}?code={code}&state={query['state']}")

    async def _token(self, request):
        form = dict(await _form(request))
        query = self.codes.pop(form["code"], None)  # a code is good once
        given = request.headers.get("authorization", "")
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        proof = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
        if (
            query is None
            or given != f"Basic {basic}"
            or query["code_challenge"] != proof.decode().rstrip("=")
            or form["redirect_uri"] != query["redirect_uri"]
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        nonce = self.faults.get("nonce", query["nonce"])
        claims = self.claims(self.faults["now"], CLIENT, nonce=nonce)
        return JSONResponse({"id_token": self.sign(claims), "token_type": "Bearer"})


async def _form(request):
    return parse_qsl((await request.body()).decode())


@contextmanager
def running(provider):
    """Serve a provider on loopback."""
    with serving(Starlette(routes=provider.routes())) as url:
        provider.url = url
        yield provider
