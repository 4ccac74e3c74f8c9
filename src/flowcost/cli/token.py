"""`flowcost serve token`: tokens for agents and tools, made beside the server's ledger."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import click

from flowcost import clock, config
from flowcost.access.audit import Audit
from flowcost.access.gate import FOLDER
from flowcost.access.principal import Principal, Role
from flowcost.access.settings import ROLES
from flowcost.access.store import Store
from flowcost.access.tokens import Token, Tokens
from flowcost.cli.config import file_option, found
from flowcost.cli.options import Span, emit, format_option
from flowcost.errors import UsageError
from flowcost.ledger import Ledger
from flowcost.schema import Column
from flowcost.views.tables import render

COLUMNS = (
    Column("id", "text", "how to name it"),
    Column("name", "text", "what it is for"),
    Column("cluster", "text", "cluster whose agents post with it"),
    Column("role", "text", "of a person or tool"),
    Column("scope", "text", "namespaces and teams it sees; empty is the whole tenant"),
    Column("state", "text", "holds, expired or revoked"),
    Column("created_at", "instant", "when it was made"),
    Column("expires_at", "instant", "when it ends"),
    Column("last_seen", "instant", "when it was last used, to the hour"),
    Column("replaced_by", "text", "its successor"),
)

_ledger = click.option(
    "--ledger",
    "ledger",
    type=click.Path(path_type=Path),
    help="Folder of the ledger. Default: the configuration's.",
)
_tenant = click.option("--tenant", default="default", show_default=True, help="Whose tokens.")


@click.group()
def token() -> None:
    """Make, list, rotate and revoke tokens; a running server minds at once."""


@token.command()
@click.argument("name")
@click.option("--cluster", default="", help="For this cluster's agents; else for a person or tool.")
@click.option(
    "--role", type=click.Choice(list(ROLES)), default="viewer", show_default=True, help="Rights."
)
@click.option("--namespace", "namespaces", multiple=True, help="Sees this namespace; repeatable.")
@click.option("--owner", "owners", multiple=True, help="Sees this team; repeatable.")
@click.option("--expires", type=Span(), help="Holds for so long, as 90d. Default: until revoked.")
@_tenant
@_ledger
@file_option
def create(
    *,
    name: str,
    cluster: str,
    role: str,
    namespaces: tuple[str, ...],
    owners: tuple[str, ...],
    expires: timedelta | None,
    tenant: str,
    ledger: Path | None,
    path: Path | None,
) -> None:
    """Make a token and print it, once: only its digest is kept."""
    if cluster and (namespaces or owners or role != "viewer"):
        raise UsageError("a cluster's token has no role and no scope", hint="leave them out")
    principal = Principal(
        tenant=tenant,
        subject=f"cluster {cluster}" if cluster else name,
        role=Role.VIEWER if cluster else ROLES[role],
        namespaces=namespaces,
        owners=owners,
        cluster=cluster,
    )
    now = clock.now()
    with _opened(ledger, path) as store:
        made, text = Tokens(store).create(
            principal, name, by=_who(), now=now, expires_at=now + expires if expires else None
        )
        _record(store, tenant, "createToken", made)
    click.echo(text)
    click.echo(f"token {made.id}; it is not shown again", err=True)


@token.command(name="list")
@_tenant
@_ledger
@file_option
@format_option
def list_(*, tenant: str, ledger: Path | None, path: Path | None, form: str) -> None:
    """List a tenant's tokens, newest first, without their secrets."""
    with _opened(ledger, path) as store:
        rows = [_row(each) for each in Tokens(store).all(tenant)]
    emit(render(COLUMNS, rows, form), None)


@token.command()
@click.argument("token")
@click.option(
    "--overlap",
    type=Span(),
    default="24h",
    show_default=True,
    help="How long the old one still holds.",
)
@_tenant
@_ledger
@file_option
def rotate(
    *, token: str, overlap: timedelta, tenant: str, ledger: Path | None, path: Path | None
) -> None:
    """Print the successor of a token, by its id; the old one holds for the overlap."""
    with _opened(ledger, path) as store:
        made, text = Tokens(store).rotate(
            tenant, token, by=_who(), now=clock.now(), overlap=overlap
        )
        _record(store, tenant, "rotateToken", made)
    click.echo(text)
    click.echo(f"token {made.id} replaces {token}; it is not shown again", err=True)


@token.command()
@click.argument("token")
@_tenant
@_ledger
@file_option
def revoke(*, token: str, tenant: str, ledger: Path | None, path: Path | None) -> None:
    """Revoke a token, by its id; it is refused from now on."""
    with _opened(ledger, path) as store:
        _record(store, tenant, "revokeToken", Tokens(store).revoke(tenant, token, now=clock.now()))
    click.echo(f"token {token} is revoked")


@contextmanager
def _opened(ledger: Path | None, path: Path | None) -> Iterator[Store]:
    where = ledger or config.load(found(path)).ledger.path
    store = Store(Ledger.open(where, create=True).root / FOLDER)
    try:
        yield store
    finally:
        store.close()


def _record(store: Store, tenant: str, action: str, made: Token) -> None:
    Audit(store).record(
        tenant=tenant, who=_who(), action=action, target=made.id, at=clock.now(), peer="local"
    )


def _who() -> str:
    return f"{getpass.getuser()} at the command line"


def _row(made: Token) -> list[object]:
    state = "holds" if made.holds(clock.now()) else "revoked" if made.revoked_at else "expired"
    principal = made.principal
    scope = (*principal.namespaces, *principal.owners)
    return [
        made.id,
        made.name,
        principal.cluster,
        "" if principal.is_agent else principal.role.name.lower(),
        ", ".join(scope),
        state,
        made.created_at,
        made.expires_at,
        made.last_seen,
        made.replaced_by,
    ]
