"""`declared.toml`: what the operator knows that no dump says.

One file serves as an operator's own declaration and as the world of a scenario:

    [[network]]                        # a block and who it is; the longest prefix wins
    cidr = "10.1.0.0/16"
    k8s.namespace.name = "shop"
    cloud.availability_zone = "use1-az1"
    from = 2026-11-01                  # optional, and `to`: UTC, half-open

    [[service]]                        # a virtual address that clients dial
    address = "172.20.0.10"
    name = "shop/cart"

    [[gateway]]                        # a device that flows pass through
    id = "nat-1"
    kind = "nat_gateway"
    addresses = ["10.1.0.220"]
    interfaces = ["eni-n"]

    [[route]]                          # from a subnet or a VPC, through a gateway id or a kind
    from = "vpc-a"
    to = "0.0.0.0/0"
    via = "nat-1"                      # or "local", "internet_gateway", … (`GatewayKind`)

Every entry may be dated; a route, whose `from` and `to` are places, with `valid_from` and
`valid_to`. Attributes are spelled as OpenTelemetry spells them
(`schema.attribute_name`), plus `kind`. The file is strict: everything wrong in it is reported in
one error.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from flowcost.address import network, pack
from flowcost.errors import InventoryError
from flowcost.model import EndKind, GatewayKind
from flowcost.resolve import Claim, Gateway, Layer, Route, ServiceClaim
from flowcost.resolve.grammar import Entry, Problems
from flowcost.resolve.rules import region_of_zone

# What a gateway is when it is an end of a flow itself.
END_KINDS = {
    GatewayKind.NAT_GATEWAY: EndKind.NAT_GATEWAY,
    GatewayKind.REGIONAL_NAT_GATEWAY: EndKind.NAT_GATEWAY,
    GatewayKind.INTERFACE_ENDPOINT: EndKind.INTERFACE_ENDPOINT,
    GatewayKind.GWLB_ENDPOINT: EndKind.GWLB_ENDPOINT,
    GatewayKind.TRANSIT_GATEWAY: EndKind.TRANSIT_GATEWAY,
}

_TABLES = ("network", "service", "gateway", "route")
_LOCAL = "local"


def read(path: Path) -> Layer:
    """Return the layer that the file at `path` declares.

    Raises:
        InventoryError: the file cannot be read, or all that is wrong in it, one line each.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InventoryError(f"{path} cannot be read: {error}") from None
    return parse(text, str(path))


def parse(text: str, name: str = "declared.toml") -> Layer:
    """Return the layer of a declaration's text; `name` is how errors call it.

    Raises:
        InventoryError: all that is wrong in it, one line each.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InventoryError(f"{name} is not TOML: {error}") from None
    problems = Problems(name)
    tables = _tables(document, problems)
    gateways = [_gateway(entry) for entry in tables["gateway"]]
    known = {gateway.id: gateway.kind for gateway in gateways}
    claims = [claim for entry in tables["network"] for claim in _network(entry)]
    _refuse_duplicates(claims, problems)
    services = [one for entry in tables["service"] for one in _service(entry)]
    routes = [one for entry in tables["route"] for one in _route(entry, known)]
    problems.raise_all()
    return Layer(
        source="declared",
        claims=(*(claim for _, claim in claims), *_own_addresses(gateways)),
        services=tuple(services),
        gateways=tuple(gateways),
        routes=tuple(routes),
    )


def _tables(document: dict[str, Any], problems: Problems) -> dict[str, list[Entry]]:
    tables: dict[str, list[Entry]] = {name: [] for name in _TABLES}
    for name, rows in document.items():
        if name not in tables:
            problems.add(name, f"unknown table; known are {', '.join(_TABLES)}")
        elif not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            problems.add(name, f"must be written [[{name}]]")
        else:
            tables[name] = [
                Entry(f"{name} {number}", row, problems) for number, row in enumerate(rows, 1)
            ]
    return tables


def _network(entry: Entry) -> Iterator[tuple[str, Claim]]:
    block = entry.take("cidr", network)
    valid_from, valid_to = entry.dates()
    identity = entry.identity()
    if not identity.cloud_region and identity.cloud_availability_zone:
        region = region_of_zone(identity.cloud_availability_zone)
        identity = replace(identity, cloud_region=region)
    entry.close()
    if block:
        yield (
            entry.where,
            Claim(
                first=block[0],
                last=block[1],
                identity=identity,
                valid_from=valid_from,
                valid_to=valid_to,
            ),
        )


def _service(entry: Entry) -> Iterator[ServiceClaim]:
    address = entry.take("address", pack)
    name = entry.take("name", str)
    valid_from, valid_to = entry.dates()
    entry.close()
    if address and name:
        yield ServiceClaim(address=address, name=name, valid_from=valid_from, valid_to=valid_to)


def _gateway(entry: Entry) -> Gateway:
    name = entry.take("id", str) or ""
    kind = entry.take("kind", GatewayKind) or GatewayKind.UNKNOWN
    addresses = entry.take_list("addresses", pack)
    interfaces = entry.take_list("interfaces", str)
    valid_from, valid_to = entry.dates()
    identity = entry.identity(
        kind=END_KINDS.get(kind, EndKind.UNKNOWN).value, cloud_resource_id=name
    )
    entry.close()
    return Gateway(
        kind=kind,
        identity=identity,
        addresses=frozenset(addresses),
        interfaces=frozenset(interfaces),
        valid_from=valid_from,
        valid_to=valid_to,
    )


def _route(entry: Entry, gateways: dict[str, GatewayKind]) -> Iterator[Route]:
    scope = entry.take("from", str)
    block = entry.take("to", network)
    via = entry.take("via", str)
    valid_from, valid_to = entry.dates(start="valid_from", end="valid_to")
    entry.close()
    if via is None or block is None or not scope:
        return
    kind = gateways.get(via)
    if kind is None:
        try:
            kind = GatewayKind.NONE if via == _LOCAL else GatewayKind(via)
        except ValueError:
            kinds = ", ".join([_LOCAL, *(one.value for one in GatewayKind)])
            entry.refuse("via", f"{via!r} is no declared gateway and no kind ({kinds})")
            return
        via = ""
    yield Route(
        scope=scope,
        first=block[0],
        last=block[1],
        kind=kind,
        gateway_id=via,
        valid_from=valid_from,
        valid_to=valid_to,
    )


def _own_addresses(gateways: list[Gateway]) -> Iterator[Claim]:
    """Yield a gateway's own addresses as hosts, so that they resolve to the gateway."""
    for gateway in gateways:
        for address in sorted(gateway.addresses):
            yield Claim(
                first=address,
                last=address,
                identity=gateway.identity,
                valid_from=gateway.valid_from,
                valid_to=gateway.valid_to,
            )


def _refuse_duplicates(claims: list[tuple[str, Claim]], problems: Problems) -> None:
    """Refuse one block declared twice and differently at one time, except in different plans."""
    seen: dict[tuple[bytes, bytes], list[tuple[str, Claim]]] = {}
    for where, claim in claims:
        for other, earlier in seen.setdefault((claim.first, claim.last), []):
            overlap = claim.valid_from < earlier.valid_to and earlier.valid_from < claim.valid_to
            if overlap and claim.identity != earlier.identity and not _apart(claim, earlier):
                problems.add(where, f"cidr: the same block as {other}, with another identity")
        seen[claim.first, claim.last].append((where, claim))


def _apart(claim: Claim, other: Claim) -> bool:
    """Return whether two claims name different VPCs or different clusters."""
    one, two = claim.identity, other.identity
    pairs = (
        (one.cloud_vpc_id, two.cloud_vpc_id),
        (one.k8s_cluster_name, two.k8s_cluster_name),
    )
    return any(its and others and its != others for its, others in pairs)
