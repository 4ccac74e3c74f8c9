"""The vocabulary of the decision table: named tests on facts.

A condition's text is what `flowcost explain` prints as evidence, so it reads as a statement.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from flowcost.model import EndKind, Facts, GatewayKind, VpcRelation


class Condition(Struct, frozen=True):
    """A statement about facts and the test that proves it.

    `text` is filled with the facts' values; `name` states the condition itself, where they differ.
    """

    text: str
    test: Callable[[Facts], bool]
    name: str = ""

    def evidence(self, facts: Facts) -> str:
        """Return the statement with the values of `facts` filled in."""
        return self.text.format(f=facts)


def either_kind(*kinds: EndKind) -> Condition:
    """Hold when at least one end is of one of `kinds`."""
    names = " or ".join(kinds)
    return Condition(
        f"one end is {names} (local {{f.local_kind}}, remote {{f.remote_kind}})",
        lambda f: f.local_kind in kinds or f.remote_kind in kinds,
        f"one end is {names}",
    )


def local(*kinds: EndKind) -> Condition:
    """Hold when the local end is of one of `kinds`."""
    return Condition(
        "local end is {f.local_kind}",
        lambda f: f.local_kind in kinds,
        f"local end is {' or '.join(kinds)}",
    )


def remote(*kinds: EndKind) -> Condition:
    """Hold when the remote end is of one of `kinds`."""
    return Condition(
        "remote end is {f.remote_kind} {f.remote_service}",
        lambda f: f.remote_kind in kinds,
        f"remote end is {' or '.join(kinds)}",
    )


def through(*kinds: GatewayKind) -> Condition:
    """Hold when the flow leaves its subnet through one of `kinds`."""
    return Condition(
        "leaves through {f.gateway} {f.gateway_region} {f.gateway_az}",
        lambda f: f.gateway in kinds,
        f"leaves through {' or '.join(kinds)}",
    )


# What carries an interface that is metered by zone and region.
INTERFACES = (
    EndKind.COMPUTE,
    EndKind.MANAGED,
    EndKind.NAT_GATEWAY,
    EndKind.APPLICATION_LB,
    EndKind.NETWORK_LB,
    EndKind.CLASSIC_LB,
    EndKind.GATEWAY_LB,
)

SAME_NODE = Condition("both ends are on one node", lambda f: f.same_node)
SAME_REGION = Condition(
    "both ends are in {f.local_region}",
    lambda f: bool(f.local_region) and f.local_region == f.remote_region,
    "one region",
)
OTHER_REGION = Condition(
    "regions differ: {f.local_region} and {f.remote_region}",
    lambda f: bool(f.local_region and f.remote_region) and f.local_region != f.remote_region,
    "regions differ",
)
LOCAL_REGION = Condition(
    "local end is in {f.local_region}", lambda f: bool(f.local_region), "the local region is known"
)
GATEWAY_REGION = Condition(
    "gateway is in {f.gateway_region}",
    lambda f: bool(f.gateway_region),
    "the gateway's region is known",
)
SAME_AZ = Condition(
    "both ends are in zone {f.local_az}",
    lambda f: bool(f.local_az) and f.local_az == f.remote_az,
    "one zone",
)
OTHER_AZ = Condition(
    "zones differ: {f.local_az} and {f.remote_az}",
    lambda f: bool(f.local_az and f.remote_az) and f.local_az != f.remote_az,
    "zones differ",
)
# IPv6 has no private side: within one VPC its addresses are the network's own.
PRIVATE = Condition(
    "addresses of the network itself",
    lambda f: (
        (not f.local_public and not f.remote_public)
        or (f.family == 6 and f.vpc is VpcRelation.SAME)
    ),
)
PUBLIC = Condition("a public address is used", lambda f: f.local_public or f.remote_public)
IPV6 = Condition("IPv6", lambda f: f.family == 6)
SAME_VPC = Condition("both ends are in one VPC", lambda f: f.vpc is VpcRelation.SAME)
OTHER_VPC = Condition("the ends are in two VPCs", lambda f: f.vpc is VpcRelation.OTHER)
VPC_UNKNOWN = Condition(
    "the VPCs are not known; private peers in one region are taken as one network",
    lambda f: f.vpc is VpcRelation.UNKNOWN,
    "VPCs not known",
)
INTERFACE_ENDS = Condition(
    "both ends are interfaces ({f.local_kind}, {f.remote_kind})",
    lambda f: f.local_kind in INTERFACES and f.remote_kind in INTERFACES,
    "both ends are interfaces",
)
ANYTHING = Condition("no rule with known facts applies", lambda f: True)  # noqa: ARG005
