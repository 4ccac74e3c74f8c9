"""Who could see which bytes, what therefore stands in the ledger, and what it sums to."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction

from . import sheet as prices
from .bill import walk
from .stretch import WIRED, Bill, Line, Way
from .world import Place, Row, World, reach

LIVE = {"node_agent": 0, "interface": 1, "exporter": 2}
# Ways on which the far end's own interface stands in the open, metered like the near one.
OPEN_WAYS = {
    "none", "unknown", "vpc_peering", "transit_gateway", "internet_gateway", "nat_gateway",
    "regional_nat_gateway",
}  # fmt: skip
LOGGED_PATHS = {
    "2": "internet_gateway",
    "4": "vpc_peering",
    "5": "vpc_peering",
    "6": "local_gateway",
    "7": "gateway_endpoint",
    "8": "internet_gateway",
}
LOGGED_HOPS = {
    "nat_gateway": "nat_gateway",
    "regional_nat_gateway": "regional_nat_gateway",
    "transit_gateway": "transit_gateway",
    "vpc_endpoint": "interface_endpoint",
    "gateway_load_balancer_endpoint": "gwlb_endpoint",
}


@dataclass(frozen=True, order=True)
class Charge:
    """One expected line; `cost` None is unpriced."""

    path: str
    usage_type: str
    operation: str
    payer_account: str
    resource_id: str
    direction: str
    leg: str
    provenance: str
    quantity: int
    cost: Fraction | None


@dataclass(frozen=True)
class Expected:
    """Everything a scenario must come out as."""

    bytes: int
    unpriced_bytes: int
    observed_cost: Fraction
    account_cost: Fraction
    charges: tuple[Charge, ...]


@dataclass
class _Seen:
    """A row with everything that is known about it."""

    row: Row
    near: Place
    far: Place
    way: Way
    gateway: str
    vpc: str

    @property
    def key(self) -> tuple:
        return (*_interface(self.near), self.hour)

    @property
    def hour(self) -> datetime:
        return self.row.start.replace(minute=0, second=0, microsecond=0)


def _interface(place: Place) -> tuple:
    """An interface is its node's, else a resource's, else an address."""
    if place.node:
        return ("node", place.cluster, place.node)
    return ("resource", place.resource) if place.resource else ("address", place.address)


def derive(world: World, sheet: list[prices.Price] | None = None) -> Expected:
    """Return what `world` must cost."""
    seen = [_see(world, row) for row in world.rows]
    ranks: dict[tuple, int] = {}
    for one in seen:
        if not one.row.at_gateway:
            rank = LIVE[one.row.sensor]
            ranks[one.key] = min(rank, ranks.get(one.key, rank))
    left_by = {
        (one.key, one.gateway)
        for one in seen
        if not one.row.at_gateway and one.gateway and LIVE[one.row.sensor] == ranks[one.key]
    }
    explained = {
        (one.key, one.row.remote)
        for one in seen
        if not one.row.at_gateway
        and LIVE[one.row.sensor] == ranks[one.key]
        and one.way.kind not in ("none", "unknown")
    }
    lines: dict[tuple, int] = defaultdict(int)
    total = 0
    for one in seen:
        if one.row.at_gateway and (one.key, one.gateway) in left_by:
            continue  # the client's own sensor saw the same bytes leave through this gateway
        if not one.row.at_gateway and LIVE[one.row.sensor] != ranks[one.key]:
            continue  # a finer sensor watched this interface in this hour
        carried = not one.row.at_gateway or one.key not in ranks
        total += one.row.amount if carried else 0
        own_way = (one.key, one.row.remote) in explained
        for charge, line in _booked(
            one, ranks, _provider(world, one), carried=carried, explained=own_way
        ):
            lines[charge, line, one.hour] += one.row.amount
    tiering = world.options.get("tiering", "marginal")
    charges = _priced(lines, sheet or prices.read(), tiering)
    return Expected(
        bytes=total,
        unpriced_bytes=sum(one.quantity for one in charges if one.cost is None),
        observed_cost=sum(
            (one.cost or Fraction(0) for one in charges if one.provenance == "observed"),
            Fraction(0),
        ),
        account_cost=sum((one.cost or Fraction(0) for one in charges), Fraction(0)),
        charges=tuple(charges),
    )


def _priced(lines: dict, sheet: list[prices.Price], tiering: str) -> list[Charge]:
    """Price every line and sum what a report cannot tell apart."""
    month = _Month()
    summed: dict[tuple, tuple[int, Fraction]] = {}
    for (charge, line, hour), amount in sorted(
        lines.items(), key=lambda item: (item[0][2], str(item[0]))
    ):
        cost = charge.cost
        if line is not None and line.usage:
            place = (line.usage, line.operation, line.region, line.to_region)
            rows = prices.fit(sheet, *place, hour.date())
            price = prices.marginal(rows)
            cost = None if price is None else Fraction(amount, prices.GIB) * price.usd
            if tiering == "account_meter" and len(rows) > 1:
                cost = month.cost(line.usage, rows, hour, amount)
        key = (replace(charge, cost=None), cost is None)
        quantity, before = summed.get(key, (0, Fraction(0)))
        summed[key] = (quantity + amount, before + (cost or 0))
    return sorted(
        (
            replace(charge, quantity=quantity, cost=None if unpriced else cost)
            for (charge, unpriced), (quantity, cost) in summed.items()
        ),
        key=lambda one: str(replace(one, cost=None)),
    )


class _Month:
    """One payer's months: what each meter counted, and what is left of the free 100 GiB."""

    def __init__(self) -> None:
        self.counted: dict[tuple, int] = defaultdict(int)
        self.free: dict[tuple, int] = defaultdict(lambda: prices.FREE_EGRESS_GIB * prices.GIB)
        self.hours: set[tuple] = set()

    def cost(self, usage: str, rows: list[prices.Price], hour: datetime, amount: int) -> Fraction:
        pool = usage.endswith("DataTransfer-Out-Bytes")
        if (pool, hour) in self.hours:
            raise NotImplementedError("AWS does not say how one hour's lines share a tier")
        self.hours.add((pool, hour))
        month = (hour.year, hour.month)
        free = min(self.free[month], amount) if pool else 0
        cost = prices.climb(rows, self.counted[usage, month], amount, free)
        self.free[month] -= free
        self.counted[usage, month] += amount
        return cost


def _provider(world: World, one: _Seen) -> str:
    assumed = world.options.get("assume_provider", "")
    return one.near.provider or one.far.provider or assumed


def _see(world: World, row: Row) -> _Seen:
    near, far = (world.place(end, row.start, row) for end in (row.local, row.remote))
    near = _hinted(near, row) if not row.at_gateway else near
    if near.vpc and far.vpc:
        vpc = "same" if near.vpc == far.vpc else "other"
    else:
        vpc = "same" if near.cluster and near.cluster == far.cluster else "unknown"
    kind, gateway = _way_of(world, row, near, far, vpc)
    device = world.device(gateway)
    if kind in ("interface_endpoint", "gwlb_endpoint") and far.kind == kind:
        device = far
    if not device.zone and row.text.get("next_hop_az_id"):
        words = {**device.words, "cloud.availability_zone": row.text["next_hop_az_id"]}
        device = replace(device, words=words)
    other = device.vpc and near.vpc and device.vpc != near.vpc
    way = Way(
        kind=kind,
        device=device,
        device_vpc="other" if other else "same",
        client="sender" if row.sends else "receiver",
        inside=_inside(row, kind, vpc),
    )
    return _Seen(row, near, far, way, device.resource or gateway, vpc)


def _inside(row: Row, kind: str, vpc: str) -> bool:
    """IPv6 has no private side: one network is enough. Public IPv4 always leaves it."""
    if row.local.version == 6 and (kind == "none" or vpc == "same"):
        return True
    return "public" not in (reach(row.local), reach(row.remote))


def _hinted(place: Place, row: Row) -> Place:
    """A record's own words fill what nobody declared."""
    said = {
        "cloud.account.id": row.text.get("account", ""),
        "cloud.region": row.text.get("region", ""),
        "cloud.availability_zone": row.text.get("az_id", ""),
        "cloud.vpc_id": row.text.get("vpc_id", ""),
        "cloud.subnet_id": row.text.get("subnet_id", ""),
    }
    return replace(place, words={k: v for k, v in said.items() if v} | place.words)


def _way_of(world: World, row: Row, near: Place, far: Place, vpc: str) -> tuple[str, str]:
    """Return (kind of way, gateway id) by the best evidence there is."""
    if row.via:
        known = world.gateways.get(row.via)
        return (known["way"] if known else "unknown"), row.via
    if far.kind in ("interface_endpoint", "gwlb_endpoint"):
        return far.kind, far.resource
    route = world.way_out(near, row.remote, row.start)
    if route:
        known = world.gateways.get(route["via"])
        if known:
            return known["way"], route["via"]
        if route["via"] != "unknown":
            return ("none" if route["via"] == "local" else route["via"]), ""
    for logged in (
        LOGGED_HOPS.get(row.text.get("next_hop_type", "")),
        LOGGED_PATHS.get(row.text.get("traffic_path", "")),
    ):
        if logged:
            return logged, ""
    return ("none" if vpc == "same" and _inside(row, "", vpc) else "unknown"), ""


def _booked(
    one: _Seen, ranks: dict, provider: str, *, carried: bool, explained: bool
) -> list[tuple[Charge, Line | None]]:
    """Return the charges of one row with the lines that price them; quantities are still open."""
    near_end = "sender" if one.row.sends else "receiver"
    sender, receiver = (one.near, one.far) if one.row.sends else (one.far, one.near)
    bill = Bill("unknown", known=False)
    if provider == "aws":
        bill = walk(sender, receiver, one.way, one.vpc, one.row.start.date())
    direction, back = ("transmit", "receive") if one.row.sends else ("receive", "transmit")
    here = [line for line in bill.lines if line.end in (near_end, "gateway")]
    charges: list[tuple[Charge, Line | None]] = []
    for line in here:
        answered = explained if line.role == "processing" else one.key in ranks
        if one.row.at_gateway and line.end == near_end and answered:
            continue  # the client's own sensor answers for its end
        seen_at = "gateway" if one.row.at_gateway else near_end
        # The two legs between a client and its gateway are each end's own, and only seen there;
        # whatever else a byte fires on its way follows from having been seen.
        crossing = line.operation.startswith("InterZone") or "xAZ" in line.usage
        unknown_hop = not line.usage and line.end == near_end
        observed = line.end == seen_at or not (crossing or unknown_hop)
        place = one.way.device if line.end == "gateway" else one.near
        resource = one.gateway if line.end == "gateway" else one.near.resource
        provenance = "observed" if observed else "implied"
        charges.append((_charge(bill, line, place, resource, direction, provenance), line))
    if not here and carried:
        free = Fraction(0) if bill.known else None
        account = one.near.account
        charges.append(
            (Charge(bill.path, "", "", account, "", direction, "", "observed", 0, free), None)
        )
    ours = one.far.kind in WIRED and one.far.account and one.way.kind in OPEN_WAYS
    if ours and (*_interface(one.far), one.hour) not in ranks:
        bill = replace(bill, path=bill.far_path or bill.path)
        charges += (
            (_charge(bill, line, one.far, one.far.resource, back, "implied"), line)
            for line in bill.lines
            if line.end not in (near_end, "gateway")
        )
    return charges


def _charge(
    bill: Bill, line: Line, payer: Place, resource: str, direction: str, provenance: str
) -> Charge:
    leg = line.role if line.usage else ""
    return Charge(
        path=bill.path,
        usage_type=line.usage,
        operation=line.operation,
        payer_account=payer.account,
        resource_id=resource if leg else "",
        direction=direction,
        leg=leg,
        provenance=provenance,
        quantity=0,
        cost=None,
    )
