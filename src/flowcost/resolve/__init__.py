"""Who was this address, then.

Sources of identity publish `Layer`s of dated intervals; `timeline.build` merges them, most
specific first, into a `Resolution`: disjoint intervals that the engine joins and the agent looks
up. Resolution is always `(address, time) -> identity`, never address alone.
"""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct, field

from flowcost.model import Finding, GatewayKind, Identity

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER = datetime(9999, 12, 31, tzinfo=UTC)

# The type of a transit gateway's peering attachment as an observation point.
PEERING_ATTACHMENT = "transit_gateway_peering_attachment"

# Where two sources describe the same block, the earlier name here fills an attribute first.
PRECEDENCE = (
    "kubernetes",
    "interfaces",
    "declared",
    "netbox",
    "subnets",
    "published",
)


class Claim(Struct, frozen=True, kw_only=True, gc=False):
    """One source says: the addresses `first..last` were `identity` during `[from, to)`."""

    first: bytes
    last: bytes
    identity: Identity
    valid_from: datetime = ALWAYS
    valid_to: datetime = FOREVER


class ServiceClaim(Struct, frozen=True, kw_only=True, gc=False):
    """A virtual address that clients dial: `name` is `namespace/service`.

    `cluster` is where it is dialed, empty for everywhere.
    """

    address: bytes
    name: str
    cluster: str = ""
    valid_from: datetime = ALWAYS
    valid_to: datetime = FOREVER


class Gateway(Struct, frozen=True, kw_only=True):
    """A device that flows pass through; `identity.cloud_resource_id` is its id.

    `addresses` are its own (private and public): a NAT row is a client leg when neither packet
    address is one of them. `interfaces` are the network interface ids flows are logged under.
    """

    kind: GatewayKind
    identity: Identity
    addresses: frozenset[bytes] = frozenset()
    interfaces: frozenset[str] = frozenset()
    valid_from: datetime = ALWAYS
    valid_to: datetime = FOREVER

    @property
    def id(self) -> str:
        """Return the gateway's resource id."""
        return self.identity.cloud_resource_id


class Route(Struct, frozen=True, kw_only=True, gc=False):
    """One route: from `scope` (a subnet id, or a VPC id for its main table) to a block.

    `gateway_id` is empty for local delivery; the gateway may be unknown to `gateways`, then only
    `kind` is a fact.
    """

    scope: str
    first: bytes
    last: bytes
    kind: GatewayKind
    gateway_id: str = ""
    valid_from: datetime = ALWAYS
    valid_to: datetime = FOREVER


class NetworkInterface(Struct, frozen=True, kw_only=True):
    """A network interface as a flow log observes it.

    `blocks` are (first, last) addresses, the primary one first, then the others and delegated
    prefixes. `type` is the provider's interface type. `forwards` is true where the check of
    source and destination is off: packets of others may pass. `vpc` is where it stands.
    """

    id: str
    account: str = ""
    vpc: str = ""
    type: str = "interface"
    forwards: bool = False
    blocks: tuple[tuple[bytes, bytes], ...] = ()


class Layer(Struct, frozen=True, kw_only=True):
    """Everything one source of identity knows. `source` is a name in `PRECEDENCE`."""

    source: str
    claims: tuple[Claim, ...] = ()
    services: tuple[ServiceClaim, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    routes: tuple[Route, ...] = ()
    interfaces: tuple[NetworkInterface, ...] = ()
    findings: tuple[Finding, ...] = ()


class HostInterval(Struct, frozen=True, gc=False):
    """A single address with one merged identity for `[valid_from, valid_to)`."""

    address: bytes
    valid_from: datetime
    valid_to: datetime
    identity_id: int


class RangeInterval(Struct, frozen=True, gc=False):
    """An address range with one merged identity for `[valid_from, valid_to)`."""

    first: bytes
    last: bytes
    valid_from: datetime
    valid_to: datetime
    identity_id: int


class Known(Struct, frozen=True, kw_only=True):
    """Who has which address; both tables are sorted in the order of their fields.

    `hosts` are disjoint in time per address and already merged with the ranges under them: where
    a host holds at a time, it is the whole answer. `ranges` are disjoint in (address, time), and
    rows with equal `first` have equal `last`, so one search finds the block and a second its
    time.
    """

    hosts: tuple[HostInterval, ...] = ()
    ranges: tuple[RangeInterval, ...] = ()


class Resolution(Known, frozen=True, kw_only=True):
    """The merged answer; every table is sorted in the order of its fields.

    `hosts` and `ranges` answer whoever asks. `plans` are the address plans (`resolve.plans`) of
    clusters and VPCs that share addresses: what holds for an observer in one of them, as far as
    it has the addresses itself. `services` are disjoint in time per cluster and address; those of
    no cluster answer where the cluster's own do not. `routes` are disjoint in (address, time) per
    scope, as ranges are: the longest prefix has won. `gateways` are disjoint in time per id.
    `interfaces` are undated. `identities` maps the content id to the identity; id 0 is the empty
    identity.
    """

    plans: dict[str, Known] = field(default_factory=dict)
    identities: dict[int, Identity] = field(default_factory=dict)
    services: tuple[ServiceClaim, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    routes: tuple[Route, ...] = ()
    interfaces: tuple[NetworkInterface, ...] = ()
    findings: tuple[Finding, ...] = ()

    def everywhere(self) -> tuple[Known, ...]:
        """Return what answers anybody, and every plan."""
        return (self, *self.plans.values())
