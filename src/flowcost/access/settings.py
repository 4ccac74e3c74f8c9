"""What the operator chooses about access: the section `[access]` of flowcost.toml."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from msgspec import Meta, Struct

from flowcost.access.place import check_url, is_loopback
from flowcost.access.principal import Role
from flowcost.address import network
from flowcost.secret import Secret

# Asymmetric only: with a shared secret whoever checks a token could also make one.
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "Ed25519"),
)
ROLES = {role.name.lower(): role for role in Role}


class Grant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[access.grants]]`: who has `value` in `claim` gets a role, and what they may see."""

    claim: Annotated[str, Meta(description="claim (or proxy header field) that is looked at")] = (
        "groups"
    )
    value: Annotated[str, Meta(description="what it must be or hold; `*` is anything")]
    role: Annotated[str, Meta(description="viewer, editor or admin")] = "viewer"
    tenant: Annotated[str, Meta(description="tenant it is for")] = "default"
    namespaces: Annotated[
        tuple[str, ...], Meta(description="namespaces they see; with owners empty: everything")
    ] = ()
    owners: Annotated[tuple[str, ...], Meta(description="teams they see")] = ()

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"role {self.role!r} is not one of {', '.join(ROLES)}")
        if not self.tenant or not self.value or not self.claim:
            raise ValueError("claim, value and tenant must be named")


class Issuer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[access.jwt]`: bearer tokens (JWT) of one issuer; off while `issuer` is empty."""

    issuer: Annotated[str, Meta(description="value of `iss`; its discovery names the keys")] = ""
    audience: Annotated[str, Meta(description="value that `aud` must hold")] = ""
    jwks_url: Annotated[str, Meta(description="keys, where there is no discovery")] = ""
    algorithms: Annotated[tuple[str, ...], Meta(description="signatures that are taken")] = (
        "RS256",
        "ES256",
    )
    leeway: Annotated[timedelta, Meta(description="how far clocks may differ")] = timedelta(
        seconds=60
    )

    def __post_init__(self) -> None:
        if self.issuer and not self.audience:
            raise ValueError("audience is missing: a token for another service would open this one")
        for url in (self.issuer, self.jwks_url):
            check_url(url)
        wrong = [name for name in self.algorithms if name not in ALGORITHMS]
        if wrong or not self.algorithms:
            raise ValueError(f"algorithms {wrong} are not among {', '.join(ALGORITHMS)}")


class Login(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[access.oidc]`: sign in to the console by OpenID Connect; off while `issuer` is empty."""

    issuer: Annotated[str, Meta(description="the provider; it has discovery")] = ""
    client_id: Annotated[str, Meta(description="as registered with the provider")] = ""
    client_secret: Annotated[Secret, Meta(description="empty for a public client")] = Secret()
    public_url: Annotated[
        str, Meta(description="where people reach this server: https://costs.example.org")
    ] = ""
    scopes: Annotated[tuple[str, ...], Meta(description="asked of the provider")] = (
        "openid",
        "profile",
        "email",
    )
    session: Annotated[timedelta, Meta(description="how long a sign-in lasts")] = timedelta(hours=8)

    def __post_init__(self) -> None:
        if self.issuer and not (self.client_id and self.public_url):
            raise ValueError("client_id and public_url are missing")
        for url in (self.issuer, self.public_url):
            check_url(url)


class Proxy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[access.proxy]`: a proxy signs people in and names them; off while `peers` is empty."""

    peers: Annotated[tuple[str, ...], Meta(description="addresses or blocks of the proxy")] = ()
    user_header: Annotated[str, Meta(description="header with the person's name")] = (
        "x-forwarded-user"
    )
    groups_header: Annotated[str, Meta(description="header with their groups, commas between")] = (
        "x-forwarded-groups"
    )

    def __post_init__(self) -> None:
        for peer in self.peers:
            network(peer)


class Access(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[access]`: who may ask.

    Without `jwt`, `oidc`, `proxy` and `required`, a server that listens on loopback is open, and
    says so; on any other address it takes tokens only.
    """

    required: Annotated[bool, Meta(description="ask for credentials on loopback too")] = False
    jwt: Annotated[Issuer, Meta(description="bearer tokens of an issuer")] = Issuer()
    oidc: Annotated[Login, Meta(description="sign in to the console")] = Login()
    proxy: Annotated[Proxy, Meta(description="a proxy that signs people in")] = Proxy()
    grants: Annotated[tuple[Grant, ...], Meta(description="who gets which role")] = ()

    def is_open(self, host: str) -> bool:
        """Return whether a server that listens on `host` asks nobody who they are."""
        configured = (
            self.required or self.jwt.issuer or self.oidc.issuer or self.proxy.peers or self.grants
        )
        return is_loopback(host) and not configured
