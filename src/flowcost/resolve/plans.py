"""Address plans: what an address means depends on where it was met.

Clusters share pod and Service blocks, VPCs share CIDR blocks. An observer stands in a cluster, in
a VPC, in both or in none that is known: an agent in its node's, a flow log in its interface's.
What it meets is whom its own plans know there, the cluster's first:

- an address that a claim of its own VPC covers lies in that VPC, since the plans of connected
  networks cannot overlap: what others claim of it describes another place;
- an address that a claim of its own cluster covers is the cluster's, unless a smaller block is
  another's: clusters may share a VPC, and then the longest prefix wins, as everywhere.

Claims that name no VPC or no cluster hold in all of them. Where no plan of its own knows an
address, what is unambiguous everywhere holds, and a contradiction is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowcost.resolve.merge import CLUSTER, VPC, Chain, Ranked


def cluster_plan(name: str) -> str:
    """Return the name of a cluster's plan."""
    return f"cluster/{name}"


def vpc_plan(name: str) -> str:
    """Return the name of a VPC's plan."""
    return f"vpc/{name}"


def plans_of(*, cluster: str = "", vpc: str = "") -> tuple[str, ...]:
    """Return the plans of an observer in the order in which they are asked; "" is not known."""
    clusters = (cluster_plan(cluster),) if cluster else ()
    return (*clusters, vpc_plan(vpc)) if vpc else clusters


def contested(narrow: Sequence[Ranked], wide: Chain) -> tuple[str, ...]:
    """Return the plans that know a point, as far as several clusters or several VPCs do.

    `narrow` and `wide` are the claims on the point. Elsewhere all observers meet the same.
    """
    if not _several(narrow, wide.clusters, CLUSTER) and not _several(narrow, wide.vpcs, VPC):
        return ()  # nearly always
    clusters, vpcs = _named(narrow, wide.clusters, CLUSTER), _named(narrow, wide.vpcs, VPC)
    return (
        *(cluster_plan(name) for name in clusters if len(clusters) > 1),
        *(vpc_plan(name) for name in vpcs if len(vpcs) > 1),
    )


def _several(narrow: Sequence[Ranked], named: frozenset[str], position: int) -> bool:
    """Return whether claims name several things at `position`."""
    only = next(iter(named), "")
    for claim in narrow:
        value = claim.values[position]
        if value and value != only:
            if only:
                return True
            only = value
    return len(named) > 1


def _named(narrow: Sequence[Ranked], named: frozenset[str], position: int) -> list[str]:
    """Return what claims name at `position`."""
    return sorted(named.union(claim.values[position] for claim in narrow) - {""})


def visible(claims: Sequence[Ranked], plan: str) -> list[Ranked]:
    """Return those of `claims`, all on one point, that an observer in `plan` meets.

    One of them is of the plan.
    """
    kind, _, name = plan.partition("/")
    if kind == "vpc":
        return [claim for claim in claims if claim.values[VPC] in ("", name)]
    closest = min(claim.rank[0] for claim in claims if claim.values[CLUSTER] == name)
    return [
        claim for claim in claims if claim.values[CLUSTER] in ("", name) or claim.rank[0] < closest
    ]
