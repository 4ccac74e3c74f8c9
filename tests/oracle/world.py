"""A scenario folder as the oracle reads it: places, devices, ways out and rows of bytes."""

from __future__ import annotations

import csv
import ipaddress
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Requirements of the providers' own pages: metadata, resolver, time, credentials, node-local DNS.
HOUSEKEEPING = (
    "169.254.0.0/16", "168.63.129.16/32", "fe80::/10",
    "fd00:ec2::254/128", "fd00:ec2::253/128", "fd00:ec2::123/128", "fd00:ec2::23/128",
)  # fmt: skip
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
NOWHERE = (
    "0.0.0.0/8", "127.0.0.0/8", "192.0.0.0/24", "224.0.0.0/4", "240.0.0.0/4",
    "::/128", "::1/128", "ff00::/8",
)  # fmt: skip


# What two blocks of one size say differently.
UNSURE = "?"


def _inside(address: Address, blocks: tuple[str, ...]) -> bool:
    return any(address in ipaddress.ip_network(block) for block in blocks)


@cache
def reach(address: Address) -> str:
    """Return housekeeping, nowhere, private or public."""
    if _inside(address, HOUSEKEEPING):
        return "housekeeping"
    if _inside(address, NOWHERE):
        return "nowhere"
    return "private" if _inside(address, PRIVATE) else "public"


def instant(value: str | date | datetime) -> datetime:
    """Return a UTC instant from ISO text or a TOML date."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return datetime.fromisoformat(value.replace("Z", "+00:00"))


@dataclass(frozen=True)
class Place:
    """What is declared of an address: attributes by their dotted names."""

    address: Address
    words: dict[str, str]

    def __getattr__(self, name: str) -> str:
        dotted = {
            "provider": "cloud.provider",
            "region": "cloud.region",
            "zone": "cloud.availability_zone",
            "vpc": "cloud.vpc_id",
            "subnet": "cloud.subnet_id",
            "account": "cloud.account.id",
            "resource": "cloud.resource_id",
            "node": "k8s.node.name",
            "cluster": "k8s.cluster.name",
        }
        if name not in dotted:
            raise AttributeError(name)
        return self.words.get(dotted[name], "")

    @property
    def kind(self) -> str:
        """Return what the end is; undeclared addresses speak for themselves."""
        where = reach(self.address)
        if where == "housekeeping":
            return "infrastructure"
        if self.words.get("kind"):
            return self.words["kind"]
        if self.region or "k8s.pod.name" in self.words or "k8s.pod.uid" in self.words:
            return "compute"
        return {"public": "internet", "private": "external_private"}.get(where, "unknown")


@dataclass(frozen=True)
class Row:
    """One observation: so many bytes, one way, seen at one end or at a gateway."""

    start: datetime
    end: datetime
    at_gateway: bool
    sensor: str
    sends: bool
    local: Address
    remote: Address
    via: str
    amount: int
    text: dict[str, str]


@dataclass
class World:
    """Everything a folder says."""

    networks: list[dict] = field(default_factory=list)
    gateways: dict[str, dict] = field(default_factory=dict)
    routes: list[dict] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    options: dict = field(default_factory=dict)

    def place(self, address: Address, at: datetime, row: Row | None = None) -> Place:
        """Return who `address` was at `at` for who wrote `row`.

        Narrow blocks speak first, wide ones fill gaps; what blocks of one size say differently
        nobody knows.
        """
        holding = [one for one in self.networks if address in one["block"] and _held(one, at)]
        if row:
            holding = self._met(holding, row)
        words: dict[str, str] = {}
        for size in sorted({one["block"].prefixlen for one in holding}, reverse=True):
            tied = [one["words"] for one in holding if one["block"].prefixlen == size]
            if words.get("cloud.vpc_id"):
                tied = [
                    one
                    for one in tied
                    if one.get("cloud.vpc_id", "") in ("", words["cloud.vpc_id"])
                ]
            said = {
                name: value if all(one.get(name, value) == value for one in tied) else UNSURE
                for one in tied
                for name, value in one.items()
            }
            if "kind" in words or "cloud.service" in words:
                said.pop("cloud.service", None)
            words = said | words
        return Place(address, {name: value for name, value in words.items() if value != UNSURE})

    def _met(self, holding: list[dict], row: Row) -> list[dict]:
        """Return the blocks that count where `row` was seen: in a cluster, else in a network."""
        own = row.text.get("cluster", "")
        clusters = {one["words"].get("k8s.cluster.name", "") for one in holding} - {""}
        if own in clusters and len(clusters) > 1:
            closest = max(
                one["block"].prefixlen
                for one in holding
                if one["words"].get("k8s.cluster.name") == own
            )
            return [
                one
                for one in holding
                if one["words"].get("k8s.cluster.name", own) == own
                or one["block"].prefixlen > closest
            ]
        vpc = row.text.get("vpc_id", "")
        vpcs = {one["words"].get("cloud.vpc_id", "") for one in holding} - {""}
        if vpc in vpcs and len(vpcs) > 1:
            return [one for one in holding if one["words"].get("cloud.vpc_id", vpc) == vpc]
        return holding

    def device(self, name: str) -> Place:
        """Return a gateway as a place; an unknown id is a place without attributes."""
        found = self.gateways.get(name)
        return Place(ipaddress.ip_address("0.0.0.0"), found["words"] if found else {})

    def way_out(self, place: Place, to: Address, at: datetime) -> dict | None:
        """Return the longest matching route of the subnet's table, else of the VPC's."""
        for scope in (place.subnet, place.vpc):
            table = [one for one in self.routes if scope and one["from"] == scope]
            if table:
                fit = [one for one in table if to in one["block"] and _held(one, at)]
                return max(fit, key=lambda one: one["block"].prefixlen, default=None)
        return None


def _held(entry: dict, at: datetime) -> bool:
    return entry["since"] <= at < entry["until"]


def _flat(row: dict, prefix: str = "") -> dict:
    flat: dict = {}
    for key, value in row.items():
        flat |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


def _dated(flat: dict, since: str, until: str) -> dict:
    return {
        "since": instant(flat.pop(since, "1970-01-01T00:00:00Z")),
        "until": instant(flat.pop(until, "9999-01-01T00:00:00Z")),
    }


ENDS = {
    "nat_gateway": "nat_gateway",
    "regional_nat_gateway": "nat_gateway",
    "interface_endpoint": "interface_endpoint",
    "gwlb_endpoint": "gwlb_endpoint",
    "transit_gateway": "transit_gateway",
}


def read(folder: Path) -> World:
    """Return the world of a scenario folder."""
    world = World(options=tomllib.loads((folder / "scenario.toml").read_text()))
    declared = tomllib.loads((folder / "declared.toml").read_text())
    for row in declared.get("network", []):
        flat = _flat(row)
        block = ipaddress.ip_network(flat.pop("cidr"))
        world.networks.append({"block": block, **_dated(flat, "from", "to"), "words": flat})
    for row in declared.get("gateway", []):
        flat = _flat(row)
        name, kind = flat.pop("id"), flat.pop("kind")
        addresses = flat.pop("addresses", [])
        flat.pop("interfaces", None)
        dates = _dated(flat, "from", "to")
        words = {"cloud.resource_id": name, **flat}
        if kind in ENDS:
            words["kind"] = ENDS[kind]
        world.gateways[name] = {"way": kind, "words": words}
        for text in addresses:
            block = ipaddress.ip_network(text)
            world.networks.append({"block": block, **dates, "words": words})
    for row in declared.get("route", []):
        world.routes.append(
            {
                "from": row["from"],
                "block": ipaddress.ip_network(row["to"]),
                "via": row["via"],
                **_dated(row, "valid_from", "valid_to"),
            }
        )
    with (folder / "flows.csv").open(newline="") as file:
        world.rows = [_row(text) for text in csv.DictReader(file)]
    return world


def _row(text: dict[str, str]) -> Row:
    return Row(
        start=instant(text["window_start"]),
        end=instant(text["window_end"]),
        at_gateway=text.get("observer_type") in ("gateway", "tgw_attachment"),
        sensor=text.get("observer_type") or "node_agent",
        sends=text["direction"] == "transmit",
        local=ipaddress.ip_address(text["local_address"]),
        remote=ipaddress.ip_address(text["remote_address"]),
        via=text.get("via", ""),
        amount=int(text["bytes"]),
        text=text,
    )
