"""One identity out of several claims: the most specific speaks first, the rest fill its gaps.

A claim's attributes are handled as a tuple in field order, where the empty string is "not
known" (`EndKind.UNKNOWN` included). Three rules go beyond "first non-empty wins":

- claims of one source on one block that contradict each other leave the attribute unknown, and
  nothing wider may fill it (two VPCs with one address plan: law 2, nothing is guessed);
- `cloud_service` says what `kind` is, so it is taken with the kind and never added to another's;
- a claim of another VPC than the one already found describes another place and says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import msgspec
from msgspec import Struct

from flowcost.model import EndKind, Identity
from flowcost.schema import IDENTITY_FIELDS

Values = tuple[str, ...]

KIND = IDENTITY_FIELDS.index("kind")
SERVICE = IDENTITY_FIELDS.index("cloud_service")
VPC = IDENTITY_FIELDS.index("cloud_vpc_id")
CLUSTER = IDENTITY_FIELDS.index("k8s_cluster_name")
NOTHING: Values = ("",) * len(IDENTITY_FIELDS)
# Truthy, so that it stops every wider claim; no provider name holds a control character.
CONTRADICTED = "\x00"


class Ranked(Struct, frozen=True, gc=False):
    """A claim's values with its rank: block size in addresses, then position in `PRECEDENCE`."""

    rank: tuple[int, int]
    values: Values


class Chain(Struct, frozen=True, gc=False):
    """Claims in rank order, already merged, with every VPC and cluster that they name."""

    claims: tuple[Ranked, ...]
    values: Values
    vpcs: frozenset[str]
    clusters: frozenset[str]


EMPTY_CHAIN = Chain((), NOTHING, frozenset(), frozenset())


def values_of(identity: Identity) -> Values:
    """Return an identity's attributes in field order, "" where not known."""
    values: tuple[str, ...] = msgspec.structs.astuple(identity)
    return ("", *values[1:]) if values[KIND] is EndKind.UNKNOWN else values


def identity_of(values: Values) -> Identity:
    """Return the identity of merged values; contradicted attributes are not known."""
    if CONTRADICTED in values:
        values = tuple([value if value != CONTRADICTED else "" for value in values])
    named = dict(zip(IDENTITY_FIELDS, values, strict=True))
    named["kind"] = values[KIND] or EndKind.UNKNOWN
    return Identity(**named)  # type: ignore[arg-type]


def agreed(group: Sequence[Values]) -> Values:
    """Return what claims of equal rank say together; contradictions are marked."""
    if len(group) == 1:
        return group[0]
    merged = list(NOTHING)
    for position, column in enumerate(zip(*group, strict=True)):
        said = {value for value in column if value}
        if said:
            merged[position] = said.pop() if len(said) == 1 else CONTRADICTED
    return tuple(merged)


def filled(values: Values, wider: Values) -> Values:
    """Return `values` with its gaps filled from a wider claim of the same place."""
    if wider[SERVICE] and (values[KIND] or values[SERVICE]):
        wider = (*wider[:SERVICE], "", *wider[SERVICE + 1 :])
    return tuple([value or other for value, other in zip(values, wider, strict=True)])


def chain(claims: Sequence[Ranked]) -> Chain:
    """Return the merge of `claims`, which cover the same addresses at the same time."""
    if len(claims) == 1:
        (only,) = claims
        return Chain((only,), only.values, _named(claims, VPC), _named(claims, CLUSTER))
    ordered = tuple(sorted(claims, key=lambda claim: (claim.rank, claim.values)))
    merged = NOTHING
    for _, tied in groupby(ordered, key=lambda claim: claim.rank):
        here = [claim.values for claim in tied if _one_place(merged, claim.values)]
        if here:
            merged = agreed(here) if merged is NOTHING else filled(merged, agreed(here))
    return Chain(ordered, merged, _named(ordered, VPC), _named(ordered, CLUSTER))


def _named(claims: Sequence[Ranked], position: int) -> frozenset[str]:
    return frozenset(claim.values[position] for claim in claims if claim.values[position])


def _one_place(values: Values, wider: Values) -> bool:
    return not values[VPC] or not wider[VPC] or values[VPC] == wider[VPC]


def merged_over(narrow: Sequence[Ranked], wide: Chain) -> Values:
    """Return the merge of host claims (rank order not required) over the chain under them."""
    if rests(narrow, wide):
        top, *others = narrow
        below = merged_over(others, wide) if others else wide.values
        return filled(top.values, below)
    return chain([*narrow, *wide.claims]).values


def rests(narrow: Sequence[Ranked], wide: Chain) -> bool:
    """Return whether the first host claim only fills its gaps from the merge of all others.

    It does where it alone is of the first rank, and every VPC named below is its own, or it names
    none: merging is associative then.
    """
    vpc = narrow[0].values[VPC]
    for claim in narrow[1:]:
        if claim.rank <= narrow[0].rank or (vpc and claim.values[VPC] not in ("", vpc)):
            return False
    return not vpc or wide.vpcs <= {vpc}


def contradicted(values: Values) -> tuple[str, ...]:
    """Return the names of the attributes that equal-ranked claims contradict each other on."""
    if CONTRADICTED not in values:
        return ()
    return tuple(
        name for name, value in zip(IDENTITY_FIELDS, values, strict=True) if value == CONTRADICTED
    )
