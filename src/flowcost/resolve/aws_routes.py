"""Route tables: which way a subnet's packets leave, and where a transit gateway sends them.

Reads `describe-route-tables`, `describe-managed-prefix-lists` with
`get-managed-prefix-list-entries/<id>.json`, and `search-transit-gateway-routes/<table>.json`. The
longest prefix wins; of equal ones AWS prefers a static route (Amazon VPC, "Route priority"). A
subnet without an association uses its VPC's main table. A route to a machine of ours (an instance
or interface) is a way of its own: its gateway is named and its kind stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct, field

from flowcost.address import network
from flowcost.model import Finding, GatewayKind
from flowcost.resolve import Route
from flowcost.resolve.aws_directory import Place
from flowcost.resolve.aws_gateways import Gateways
from flowcost.resolve.aws_network import Networks
from flowcost.resolve.aws_ranges import blocks_of, packaged_claims

Block = tuple[bytes, bytes]

_PROPAGATED = "EnableVgwRoutePropagation"
_BLACKHOLE = "blackhole"
_AWS_LIST = "com.amazonaws."

# Route target field -> kind of gateway.
_TARGETS = (
    ("nat_gateway_id", GatewayKind.NAT_GATEWAY),
    ("transit_gateway_id", GatewayKind.TRANSIT_GATEWAY),
    ("vpc_peering_connection_id", GatewayKind.VPC_PEERING),
    ("egress_only_internet_gateway_id", GatewayKind.EGRESS_ONLY_GATEWAY),
    ("local_gateway_id", GatewayKind.LOCAL_GATEWAY),
    ("carrier_gateway_id", GatewayKind.UNKNOWN),
    ("core_network_arn", GatewayKind.UNKNOWN),
    ("odb_network_arn", GatewayKind.UNKNOWN),
    ("network_interface_id", GatewayKind.UNKNOWN),
    ("instance_id", GatewayKind.UNKNOWN),
)

# What a gateway id begins with -> kind. Behind a virtual private gateway lies a VPN or Direct
# Connect, and no file here says which.
_PREFIXES = (
    ("igw-", GatewayKind.INTERNET_GATEWAY),
    ("eigw-", GatewayKind.EGRESS_ONLY_GATEWAY),
    ("vgw-", GatewayKind.UNKNOWN),
)

_ATTACHED = {
    "vpn": GatewayKind.VPN,
    "direct-connect-gateway": GatewayKind.DIRECT_CONNECT,
}


class _Route(Struct, rename="pascal"):
    destination_cidr_block: str = ""
    destination_ipv6_cidr_block: str = ""
    destination_prefix_list_id: str = ""
    gateway_id: str = ""
    nat_gateway_id: str = ""
    transit_gateway_id: str = ""
    vpc_peering_connection_id: str = ""
    egress_only_internet_gateway_id: str = ""
    local_gateway_id: str = ""
    carrier_gateway_id: str = ""
    core_network_arn: str = ""
    odb_network_arn: str = ""
    network_interface_id: str = ""
    instance_id: str = ""
    origin: str = ""
    state: str = ""


class _Association(Struct, rename="pascal"):
    main: bool = False
    subnet_id: str = ""
    gateway_id: str = ""


class _Table(Struct, rename="pascal"):
    route_table_id: str
    vpc_id: str = ""
    associations: list[_Association] = field(default_factory=list)
    routes: list[_Route] = field(default_factory=list)


class _Tables(Struct, rename="pascal"):
    route_tables: list[_Table]


class _List(Struct, rename="pascal"):
    prefix_list_id: str
    prefix_list_name: str = ""


class _Lists(Struct, rename="pascal"):
    prefix_lists: list[_List]


class _Entry(Struct, rename="pascal"):
    cidr: str


class _Entries(Struct, rename="pascal"):
    entries: list[_Entry]


class _TransitHop(Struct, rename="pascal"):
    transit_gateway_attachment_id: str = ""
    resource_type: str = ""


class _TransitRoute(Struct, rename="pascal"):
    destination_cidr_block: str = ""
    prefix_list_id: str = ""
    state: str = ""
    type: str = ""
    transit_gateway_attachments: list[_TransitHop] = field(default_factory=list)


class _TransitRoutes(Struct, rename="pascal"):
    routes: list[_TransitRoute]
    additional_routes_available: bool = False


class Routes:
    """The routes of one account and region."""

    def __init__(self, networks: Networks, gateways: Gateways) -> None:
        """Read the route files of a place whose networks and gateways are known."""
        self._networks = networks
        self._gateways = gateways
        self._place: Place = networks.place
        lists = self._place.read("describe-managed-prefix-lists", _Lists)
        self._lists = {one.prefix_list_id: one for one in lists.prefix_lists} if lists else {}
        self._unlisted: set[str] = set()
        self._cut_off: set[str] = set()
        self._entries: dict[str, list[Block]] = {}

    def routes(self) -> Iterator[Route]:
        """Yield the routes of every subnet and main table, then of every transit attachment."""
        tables = self._place.read("describe-route-tables", _Tables)
        associated: set[str] = set()
        mains: dict[str, list[Route]] = {}
        for table in tables.route_tables if tables else []:
            routes = list(self._table(table))
            for association in table.associations:
                if association.main:
                    mains[table.vpc_id] = routes
                    yield from _scoped(routes, table.vpc_id)
                elif association.subnet_id:
                    associated.add(association.subnet_id)
                    yield from _scoped(routes, association.subnet_id)
        for subnet in self._networks.subnets.values():
            if subnet.subnet_id not in associated:
                yield from _scoped(mains.get(subnet.vpc_id, []), subnet.subnet_id)
        yield from self._transit()

    def findings(self) -> Iterator[Finding]:
        """Yield what is missing: prefix lists no file spells out, tables cut off by AWS."""
        if self._unlisted:
            yield Finding(
                code="unknown-prefix-list",
                severity="warning",
                subject=f"{self._place.account}/{self._place.region}",
                count=len(self._unlisted),
                sample=min(self._unlisted),
                hint="dump get-managed-prefix-list-entries/<id>.json for it",
            )
        if self._cut_off:
            yield Finding(
                code="truncated-routes",
                severity="warning",
                subject=f"{self._place.account}/{self._place.region}",
                count=len(self._cut_off),
                sample=min(self._cut_off),
                hint="search-transit-gateway-routes answers with 1,000 routes at most; search "
                "such a table by parts and put the routes into one file",
            )

    def _table(self, table: _Table) -> Iterator[Route]:
        """Yield one table's routes, with no scope yet; of equal blocks the static one."""
        taken: set[Block] = set()
        for route in sorted(table.routes, key=lambda one: one.origin == _PROPAGATED):
            kind, gateway = self._target(route)
            for first, last in self._blocks(route):
                if (first, last) not in taken:
                    taken.add((first, last))
                    yield Route(scope="", first=first, last=last, kind=kind, gateway_id=gateway)

    def _target(self, route: _Route) -> tuple[GatewayKind, str]:
        if route.state == _BLACKHOLE:
            return GatewayKind.BLACKHOLE, ""
        if route.gateway_id == "local":
            return GatewayKind.NONE, ""
        if route.gateway_id.startswith("vpce-"):
            listed = bool(route.destination_prefix_list_id)
            guess = GatewayKind.GATEWAY_ENDPOINT if listed else GatewayKind.GWLB_ENDPOINT
            return self._gateways.kinds.get(route.gateway_id, guess), route.gateway_id
        for prefix, kind in _PREFIXES:
            if route.gateway_id.startswith(prefix):
                return kind, route.gateway_id
        for name, kind in _TARGETS:
            if target := getattr(route, name):
                return self._gateways.kinds.get(target, kind), target
        return GatewayKind.UNKNOWN, route.gateway_id

    def _blocks(self, route: _Route) -> Iterable[Block]:
        if route.destination_prefix_list_id:
            return self._listed(route.destination_prefix_list_id, route.gateway_id)
        cidr = route.destination_cidr_block or route.destination_ipv6_cidr_block
        return [network(cidr)] if cidr else []

    def _listed(self, name: str, gateway: str = "") -> list[Block]:
        """Return the blocks of a prefix list; AWS's own lists also follow from published ranges."""
        if name not in self._entries:
            read = self._place.read(f"get-managed-prefix-list-entries/{name}", _Entries)
            self._entries[name] = [network(entry.cidr) for entry in read.entries] if read else []
        if self._entries[name]:
            return self._entries[name]
        endpoint = self._gateways.endpoints.get(gateway)
        title = self._lists[name].prefix_list_name if name in self._lists else ""
        own = title.startswith(f"{_AWS_LIST}{self._place.region}.")
        service = title.rpartition(".")[2].upper() if own else endpoint.service if endpoint else ""
        found = list(blocks_of(packaged_claims(), service, self._place.region)) if service else []
        if not found:
            self._unlisted.add(name)
        return found

    def _transit(self) -> Iterator[Route]:
        """Yield where a transit gateway sends what each attachment sends into it."""
        tables: dict[str, list[Route]] = {}
        for attachment in self._gateways.attachments.values():
            name = attachment.association.transit_gateway_route_table_id
            if not name:
                continue
            if name not in tables:
                found = self._place.read(f"search-transit-gateway-routes/{name}", _TransitRoutes)
                tables[name] = list(self._transit_table(found.routes if found else []))
                if found and found.additional_routes_available:
                    self._cut_off.add(name)
            yield from _scoped(tables[name], attachment.transit_gateway_attachment_id)

    def _transit_table(self, routes: list[_TransitRoute]) -> Iterator[Route]:
        taken: set[Block] = set()
        for route in sorted(routes, key=lambda one: one.type == "propagated"):
            hops = route.transit_gateway_attachments
            kinds = {_ATTACHED.get(hop.resource_type, GatewayKind.TRANSIT_GATEWAY) for hop in hops}
            kind, gateway = GatewayKind.UNKNOWN, ""
            if route.state == _BLACKHOLE:
                kind = GatewayKind.BLACKHOLE
            elif len(kinds) == 1:  # several hops of one kind share the load
                kind = kinds.pop()
                gateway = hops[0].transit_gateway_attachment_id if len(hops) == 1 else ""
            cidr = route.destination_cidr_block
            for first, last in [network(cidr)] if cidr else self._listed(route.prefix_list_id):
                if (first, last) not in taken:
                    taken.add((first, last))
                    yield Route(scope="", first=first, last=last, kind=kind, gateway_id=gateway)


def _scoped(routes: Iterable[Route], scope: str) -> Iterator[Route]:
    for route in routes:
        yield Route(
            scope=scope,
            first=route.first,
            last=route.last,
            kind=route.kind,
            gateway_id=route.gateway_id,
        )
