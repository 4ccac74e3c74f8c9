"""From what a provider says of somebody to a role, a tenant and a scope: the operator's grants.

The highest role wins; grants of that role add up, and one without scope opens the whole tenant.
Who has no grant may not enter: nothing is given by default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from flowcost.access.principal import Principal
from flowcost.access.settings import ROLES, Grant
from flowcost.errors import ForbiddenError


def principal_of(claims: Mapping[str, object], subject: str, grants: Sequence[Grant]) -> Principal:
    """Return who somebody with `claims` is.

    Raises:
        ForbiddenError: no grant, or grants of several tenants.
    """
    found = [grant for grant in grants if _matches(grant, claims)]
    if not found:
        raise ForbiddenError(
            f"{subject} is known, but no [[access.grants]] gives them a role",
            hint="ask an administrator to add a grant for one of your groups",
        )
    tenants = sorted({grant.tenant for grant in found})
    if len(tenants) > 1:
        raise ForbiddenError(f"{subject} has grants of several tenants: {', '.join(tenants)}")
    role = max(ROLES[grant.role] for grant in found)
    highest = [grant for grant in found if ROLES[grant.role] is role]
    everything = any(not (grant.namespaces or grant.owners) for grant in highest)
    namespaces = {name for grant in highest for name in grant.namespaces}
    owners = {name for grant in highest for name in grant.owners}
    return Principal(
        tenant=tenants[0],
        subject=subject,
        role=role,
        namespaces=() if everything else tuple(sorted(namespaces)),
        owners=() if everything else tuple(sorted(owners)),
    )


def _matches(grant: Grant, claims: Mapping[str, object]) -> bool:
    values = tuple(_values(_claim(claims, grant.claim)))
    return bool(values) if grant.value == "*" else grant.value in values


def _claim(claims: Mapping[str, object], name: str) -> object:
    """Return a claim by its own name, else by the path its dots spell (`realm_access.roles`)."""
    if name in claims:
        return claims[name]
    found: object = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _values(claim: object) -> Iterator[str]:
    if isinstance(claim, str):
        yield claim
    elif isinstance(claim, list | tuple):
        yield from (value for value in claim if isinstance(value, str))
