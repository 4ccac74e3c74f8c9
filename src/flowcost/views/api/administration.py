"""What administrators do: tokens, and the audit log of their own tenant."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from msgspec import Meta, Struct

from flowcost.access.audit import Entry
from flowcost.access.principal import Principal, Role
from flowcost.access.settings import ROLES
from flowcost.access.tokens import Token
from flowcost.errors import ForbiddenError, RequestError
from flowcost.views.api.endpoint import Asked, Nothing

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,99}$"


class NewToken(Struct, frozen=True, kw_only=True):
    """A token to make: with `cluster` for its agents, else for a person or tool."""

    name: Annotated[str, Meta(description="what it is for", pattern=_NAME)]
    cluster: Annotated[
        str, Meta(description="cluster whose agents post with it", max_length=253)
    ] = ""
    role: Annotated[
        str,
        Meta(
            description="of a person or tool; agents have none",
            extra_json_schema={"enum": list(ROLES)},
        ),
    ] = "viewer"
    namespaces: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=253)], ...],
        Meta(description="namespaces it sees; with owners empty: the whole tenant", max_length=100),
    ] = ()
    owners: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=253)], ...],
        Meta(description="teams it sees", max_length=100),
    ] = ()
    expires_in_hours: Annotated[
        int, Meta(description="how long it holds; 0 is until revoked", ge=0, le=24 * 366 * 5)
    ] = 0


class Rotation(Struct, frozen=True, kw_only=True):
    """How a token is replaced."""

    overlap_hours: Annotated[
        int, Meta(description="how long the old one still holds", ge=0, le=24 * 90)
    ] = 24


class TokenAsked(Struct, frozen=True, kw_only=True):
    """One token by its id."""

    id: Annotated[str, Meta(description="id of the token", pattern="^[0-9a-f]{12}$")]


class AuditAsked(Struct, frozen=True, kw_only=True):
    """What `/v1/audit` takes."""

    before: (
        Annotated[
            int,
            Meta(
                description="number of the line that the page before ended with", ge=0, lt=1 << 62
            ),
        ]
        | None
    ) = None
    limit: Annotated[int, Meta(description="lines at most", ge=1, le=1000)] = 100


class TokenShown(Struct, frozen=True, kw_only=True):
    """A token, without its secret. `cluster` is empty for people and tools."""

    id: str
    name: str
    cluster: str
    role: str
    namespaces: tuple[str, ...]
    owners: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_seen: datetime | None
    replaced_by: str


class TokenMade(Struct, frozen=True, kw_only=True):
    """A new token; `token` is its text, which is shown here and never again."""

    token: str
    shown: TokenShown


class TokenList(Struct, frozen=True, kw_only=True):
    """The tokens of the tenant, newest first."""

    tokens: list[TokenShown]


class AuditPage(Struct, frozen=True, kw_only=True):
    """Lines of the audit log, newest first; `next` is the `before` of the page that follows."""

    entries: list[Entry]
    next: int | None


class Done(Struct, frozen=True, kw_only=True):
    """It is done; there is nothing to say."""


def tokens(asked: Asked, takes: Nothing) -> TokenList:  # noqa: ARG001 - takes nothing
    """Return the tenant's tokens that see no more than you do, past ones too."""
    found = asked.service.access.tokens.all(asked.principal.tenant)
    inside = [token for token in found if _inside(asked.principal, token.principal)]
    return TokenList(tokens=[shown(token) for token in inside])


def create(asked: Asked, takes: tuple[Nothing, NewToken]) -> TokenMade:
    """Make a token with at most the rights of who asks, and show it once."""
    _, new = takes
    made = granted(asked.principal, new)
    now = asked.service.now()
    hours = new.expires_in_hours
    token, text = asked.service.access.tokens.create(
        made,
        new.name,
        by=asked.principal.subject,
        now=now,
        expires_at=now + timedelta(hours=hours) if hours else None,
    )
    return TokenMade(token=text, shown=shown(token))


def rotate(asked: Asked, takes: tuple[TokenAsked, Rotation]) -> TokenMade:
    """Replace a token; the old one holds for the overlap."""
    place, how = takes
    _reachable(asked, place.id)
    token, text = asked.service.access.tokens.rotate(
        asked.principal.tenant,
        place.id,
        by=asked.principal.subject,
        now=asked.service.now(),
        overlap=timedelta(hours=how.overlap_hours),
    )
    return TokenMade(token=text, shown=shown(token))


def revoke(asked: Asked, takes: TokenAsked) -> Done:
    """Revoke a token; it is refused from now on."""
    _reachable(asked, takes.id)
    asked.service.access.tokens.revoke(asked.principal.tenant, takes.id, now=asked.service.now())
    return Done()


def audit(asked: Asked, takes: AuditAsked) -> AuditPage:
    """Return who did what in the tenant, newest first; with a scope, what you did."""
    asker = asked.principal
    found = asked.service.access.audit.entries(
        asker.tenant,
        who=asker.subject if asker.is_scoped else None,
        before=takes.before,
        limit=takes.limit + 1,
    )
    more = len(found) > takes.limit
    page = found[: takes.limit]
    return AuditPage(entries=page, next=page[-1].number if more else None)


def granted(asker: Principal, new: NewToken) -> Principal:
    """Return who asks with a new token; never more than who makes it.

    Raises:
        RequestError: a cluster's token with rights of people.
        ForbiddenError: it would see more than `asker` does.
    """
    if new.cluster and (new.namespaces or new.owners or new.role != "viewer"):
        raise RequestError({"cluster": "a cluster's token has no role and no scope"})
    made = Principal(
        tenant=asker.tenant,
        subject=f"cluster {new.cluster}" if new.cluster else new.name,
        role=Role.VIEWER if new.cluster else ROLES[new.role],
        namespaces=new.namespaces,
        owners=new.owners,
        cluster=new.cluster,
    )
    if not _inside(asker, made):
        raise ForbiddenError("a token may not see more than you do")
    return made


def shown(token: Token) -> TokenShown:
    """Return a token as administrators see it."""
    principal = token.principal
    return TokenShown(
        id=token.id,
        name=token.name,
        cluster=principal.cluster,
        role="" if principal.is_agent else principal.role.name.lower(),
        namespaces=principal.namespaces,
        owners=principal.owners,
        created_at=token.created_at,
        created_by=token.created_by,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
        last_seen=token.last_seen,
        replaced_by=token.replaced_by,
    )


def _reachable(asked: Asked, token: str) -> None:
    """Refuse who is scoped the tokens of others: a successor would be shown to them."""
    if asked.principal.is_scoped:
        found = [
            t for t in asked.service.access.tokens.all(asked.principal.tenant) if t.id == token
        ]
        if not found or not _inside(asked.principal, found[0].principal):
            raise ForbiddenError("this token sees more than you do")


def _inside(asker: Principal, made: Principal) -> bool:
    """Return whether `made` sees nothing that `asker` does not."""
    if not asker.is_scoped:
        return True
    narrower = set(made.namespaces) <= set(asker.namespaces) and set(made.owners) <= set(
        asker.owners
    )
    return made.is_scoped and not made.is_agent and narrower
