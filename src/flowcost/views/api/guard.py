"""Who asks, and what of the ledger they may see: every view goes through here.

The middleware in `views.authentication` puts the principal on the request; `selection_of` turns
what is asked into a `Selection` that their tenant and scopes bound, whatever the filter says.
"""

from __future__ import annotations

from starlette.requests import Request

from flowcost.access.principal import Principal, Role
from flowcost.errors import ForbiddenError, UnauthenticatedError
from flowcost.ledger.filter import Expression, In, Or
from flowcost.ledger.query import Selection
from flowcost.views.api.parameters import Window, decode
from flowcost.views.service import Service


def principal_of(request: Request) -> Principal:
    """Return who asks.

    Raises:
        UnauthenticatedError: nobody said.
    """
    found = getattr(request.state, "principal", None)
    if not isinstance(found, Principal):
        raise UnauthenticatedError("sign in first", hint="Authorization: Bearer <token>")
    return found


def service_of(request: Request) -> Service:
    """Return what the views of this server stand on."""
    found: Service = request.state.service
    return found


def peer_of(request: Request) -> str:
    """Return the address of the other end of the connection, empty if there is none."""
    return request.client.host if request.client else ""


def require(request: Request, role: Role) -> Principal:
    """Return who asks, if they are people or tools with at least `role`.

    Raises:
        UnauthenticatedError: nobody said who asks.
        ForbiddenError: agents, or a lesser role.
    """
    asker = principal_of(request)
    if asker.is_agent:
        raise ForbiddenError("a cluster's token posts segments and reads identities, no more")
    if asker.role < role:
        raise ForbiddenError(
            f"needs the role {role.name.lower()}, you are {asker.role.name.lower()}",
            hint="ask an administrator of your tenant",
        )
    return asker


def within(asker: Principal) -> Expression | None:
    """Return the tree of all that `asker` may see; None is the whole tenant.

    A charge is visible if either of its ends lies in one of their namespaces or belongs to one
    of their teams.
    """
    terms = [
        In(f"{end}.{key}", values)
        for key, values in (("k8s.namespace.name", asker.namespaces), ("owner.team", asker.owners))
        for end in ("local", "remote")
        if values
    ]
    return Or(tuple(terms)) if terms else None


def selection_of(request: Request, window: Window | None = None) -> Selection:
    """Return what is asked, bounded by who asks.

    Without `window` the parameters `filter from to last attribute_by legs` are taken from the
    request's query, and others are passed over.

    Raises:
        UnauthenticatedError: nobody said who asks.
        RequestError: a parameter is wrong; each is named.
    """
    asker = principal_of(request)
    if window is None:
        window = decode(request.query_params.multi_items(), Window, strict=False)
    return bounded(asker, window, service_of(request))


def bounded(asker: Principal, window: Window, service: Service) -> Selection:
    """Return the selection of a window as `asker` may see it."""
    start, end = window.hours(service.now())
    return Selection(
        where=window.filter,
        start=start,
        end=end,
        attribute_by=window.attribute_by,
        legs=window.legs,
        tenant=asker.tenant,
        within=within(asker),
    )
