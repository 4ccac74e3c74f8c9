"""Random worlds as scenario folders: networks, devices, routes, sensors and flows from one seed.

A world need not be sensible, only possible: routes that are missing, zones nobody declared,
sensors at one end, gateways in other accounts, days on either side of a change of rules. Worlds
at different slots use different addresses and names, so that several share a folder (and a run).
"""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ZONES = {
    "us-east-1": "use1",
    "us-east-2": "use2",
    "us-west-2": "usw2",
    "eu-west-1": "euw1",
    "eu-central-1": "euc1",
    "ap-south-1": "aps1",
    "ap-southeast-1": "apse1",
    "sa-east-1": "sae1",
}
DAYS = (
    "2021-04-30", "2021-05-01", "2022-03-31", "2022-04-01", "2023-06-15", "2025-03-31",
    "2025-04-01", "2025-11-19", "2026-11-02",
)  # fmt: skip
ACCOUNTS = ("111111111111", "222222222222", "333333333333")
FIELDS = (
    "window_start", "window_end", "observer_type", "direction", "local_address",
    "remote_address", "via", "traffic_path", "next_hop_type", "bytes",
)  # fmt: skip


@dataclass
class Network:
    """One VPC: `number` is its second octet."""

    number: int
    name: str
    region: str
    account: str
    cluster: str
    subnets: list[tuple[int, str]] = field(default_factory=list)
    nat: str = ""
    ends: list[str] = field(default_factory=list)

    def v4(self, subnet: int, host: int) -> str:
        return f"10.{self.number}.{subnet}.{host}"

    def v6(self, subnet: int, host: int) -> str:
        return f"2600:1f18:{self.number:x}00:{subnet}::{host:x}"


class Builder:
    """One seed's world, table by table."""

    def __init__(self, seed: int, slot: int) -> None:
        self.dice = random.Random(seed)
        self.slot = slot
        self.tables: list[str] = []
        self.networks: list[Network] = []
        self.strangers: list[str] = []
        self.gateways: list[str] = []

    @property
    def transit(self) -> str:
        return f"tgw-{self.slot}"

    def block(self, half: str) -> str:
        return f"{half}.{self.slot}.0/24"

    def often(self, chance: float) -> bool:
        return self.dice.random() < chance

    def table(self, name: str, /, **words: str | list[str]) -> None:
        lines = [f"[[{name}]]"]
        for key, value in words.items():
            if value:
                dotted = key.replace("__", ".")
                lines.append(
                    f"{dotted} = {value!r}".replace("'", '"')
                    if isinstance(value, list)
                    else f'{dotted} = "{value}"'
                )
        self.tables.append("\n".join(lines) + "\n")

    def place(self, region: str, account: str, zone: str = "", vpc: str = "") -> dict[str, str]:
        return {
            "cloud__provider": "aws",
            "cloud__region": region,
            "cloud__account__id": account,
            "cloud__availability_zone": zone,
            "cloud__vpc_id": vpc,
        }

    def zone(self, region: str) -> str:
        return f"{ZONES[region]}-az{self.dice.randint(1, 3)}"

    def network(self, number: int, region: str) -> None:
        name = f"vpc-{number}" if self.often(0.85) else ""
        account = self.dice.choice(ACCOUNTS) if self.often(0.9) else ""
        one = Network(number, name, region, account, "c1" if self.often(0.3) else "")
        for block in (f"10.{number}.0.0/16", f"2600:1f18:{number:x}00::/56"):
            self.table("network", cidr=block, **self.place(region, account, "", name))
        for subnet in range(1, self.dice.randint(2, 3) + 1):
            zone = self.zone(region) if self.often(0.9) else ""
            one.subnets.append((subnet, zone))
            if zone:
                for block in (one.v4(subnet, 0) + "/24", one.v6(subnet, 0) + "/64"):
                    self.table("network", cidr=block, cloud__availability_zone=zone)
        for host in range(10, 10 + self.dice.randint(3, 5)):
            self.end(one, host)
        self.networks.append(one)

    def end(self, one: Network, host: int) -> None:
        subnet = self.dice.choice(one.subnets)[0]
        node = f"node-{one.number}-{subnet}-{self.dice.randint(1, 2)}"
        if self.often(0.7):
            words = {"k8s__workload__name": f"w{host}"}
            words["k8s__cluster__name"] = one.cluster
            words["k8s__node__name"] = node if self.often(0.8) else ""
            words["cloud__resource_id"] = f"i-{node}" if self.often(0.5) else ""
        else:
            kind = self.dice.choice(("managed", "application_lb", "network_lb", "classic_lb"))
            words = {"kind": kind, "cloud__resource_id": f"{kind}-{one.number}-{host}"}
        for address in (one.v4(subnet, host), one.v6(subnet, host)):
            self.table("network", cidr=address, **words)
            one.ends.append(address)

    def gateway(self, name: str, kind: str, addresses: list[str], **place: str) -> str:
        self.table("gateway", id=name, kind=kind, addresses=addresses, **place)
        self.gateways.append(name)
        return name

    def devices(self) -> None:
        first = self.networks[0]
        for one in self.networks:
            if self.often(0.7):
                kind = "nat_gateway" if self.often(0.75) else "regional_nat_gateway"
                home = first if self.often(0.3) else one
                zone = self.zone(home.region) if self.often(0.9) else ""
                where = self.place(home.region, self.dice.choice(ACCOUNTS), zone, home.name)
                one.nat = self.gateway(f"nat-{one.number}", kind, [one.v4(9, 220)], **where)
            if self.often(0.5):
                kind = self.dice.choice(("interface_endpoint", "gwlb_endpoint"))
                address = one.v4(1, 240)
                where = self.place(one.region, one.account, self.zone(one.region), one.name)
                self.gateway(f"vpce-{one.number}", kind, [address], **where)
                self.strangers.append(address)
        zone = self.zone(first.region) if self.often(0.5) else ""
        transit = self.place(first.region, ACCOUNTS[2], zone)
        self.gateway(f"tgw-{self.slot}", "transit_gateway", [], **transit)
        self.gateway(f"vpn-{self.slot}", "vpn", [], **self.place(first.region, ACCOUNTS[0]))
        location = self.dice.choice(("EqDC2", "EqSV5", ""))
        self.gateway(f"dx-{self.slot}", "direct_connect", [], **self.place(location, ACCOUNTS[0]))

    def outside(self) -> None:
        regions = [one.region for one in self.networks]
        for index, (kind, block, address) in enumerate(
            (
                ("service", self.block("52.216"), f"52.216.{self.slot}.7"),
                ("service", f"2600:1fa0:{self.slot}::/48", f"2600:1fa0:{self.slot}::7"),
                ("ec2_public", self.block("3.80"), f"3.80.{self.slot}.7"),
                ("ec2_public", f"2600:1f14:{self.slot}::/48", f"2600:1f14:{self.slot}::7"),
                ("cloudfront", self.block("13.32"), f"13.32.{self.slot}.7"),
                ("global_accelerator", self.block("75.2"), f"75.2.{self.slot}.7"),
                ("on_premises", self.block("192.168"), f"192.168.{self.slot}.7"),
            )
        ):
            region = self.dice.choice([*regions, "us-west-2"])
            place = {"cloud__provider": "aws", "cloud__region": region} if index < 4 else {}
            self.table("network", cidr=block, kind=kind, **place)
            self.strangers.append(address)
        self.strangers += (
            "8.8.8.8", "2a00:1450::8", "203.0.113.5", "172.16.7.7", "169.254.169.254",
            "fd00:ec2::254", "224.0.0.9", "64:ff9b::808:808", "fd12::7",
        )  # fmt: skip
        for host, one in enumerate(self.networks, 1):
            address = f"3.80.{self.slot}.{100 + host}"
            where = self.place(one.region, one.account, self.zone(one.region), one.name)
            kind = self.dice.choice(("", "application_lb", "nat_gateway"))
            resource = f"eip-{one.number}"
            self.table("network", cidr=address, kind=kind, cloud__resource_id=resource, **where)
            self.strangers.append(address)

    def routes(self) -> None:
        for one in self.networks:
            if not one.name or self.often(0.25):
                continue
            home = {f"10.{one.number}.0.0/16", f"2600:1f18:{one.number:x}00::/56"}
            for block in sorted(home):
                self.route(one, block, "local")
            ways = [one.nat, one.nat, "internet_gateway", "internet_gateway", self.transit]
            ways += "blackhole", "unknown"
            self.route(one, "0.0.0.0/0", self.dice.choice([way for way in ways if way]))
            self.route(one, "::/0", self.dice.choice(("internet_gateway", "egress_only_gateway")))
            if one.nat and self.often(0.5):
                self.route(one, "64:ff9b::/96", one.nat)
            if self.often(0.5):
                self.route(one, self.block("52.216"), "gateway_endpoint")
            if self.often(0.7):
                way = self.dice.choice((f"vpn-{self.slot}", f"dx-{self.slot}", "local_gateway"))
                self.route(one, self.block("192.168"), way)
            for other in self.networks:
                if other is not one and self.often(0.8):
                    way = self.dice.choice(("vpc_peering", "vpc_peering", self.transit))
                    self.route(one, f"10.{other.number}.0.0/16", way)
                    if self.often(0.5):
                        self.route(one, f"2600:1f18:{other.number:x}00::/56", way)

    def route(self, one: Network, block: str, via: str) -> None:
        self.table("route", **{"from": one.name, "to": block, "via": via})

    def rows(self, days: list[str]) -> list[dict[str, str]]:
        ends = [(one, address) for one in self.networks for address in one.ends]
        rows = []
        for _ in range(self.dice.randint(12, 30)):
            one, local = self.dice.choice(ends)
            version = ":" in local
            far = [address for _, address in ends] + self.strangers
            remote = self.dice.choice([a for a in far if (":" in a) is version and a != local])
            hour = f"{self.dice.choice(days)}T09"
            row = {
                "window_start": f"{hour}:00:00Z",
                "window_end": f"{hour}:10:00Z",
                "observer_type": self.dice.choice(("node_agent", "node_agent", "interface")),
                "direction": self.dice.choice(("transmit", "receive")),
                "local_address": local,
                "remote_address": remote,
                "bytes": str(self.dice.choice((1, 1500, 10**9, 2**30, self.dice.getrandbits(43)))),
            }
            if one.nat and self.often(0.2):
                row |= {"observer_type": "gateway", "via": one.nat}
            elif self.often(0.05):
                row |= {"observer_type": "gateway", "via": self.transit}
            elif row["observer_type"] == "interface" and self.often(0.4):
                row["traffic_path"] = str(self.dice.choice((1, 3, 4, 7, 8)))
                row["next_hop_type"] = self.dice.choice(("", "", "transit_gateway", "nat_gateway"))
            rows.append(row)
            if self.often(0.3) and any(a == remote for _, a in ends):
                back = "receive" if row["direction"] == "transmit" else "transmit"
                swapped = {"local_address": remote, "remote_address": local, "direction": back}
                rows.append(row | swapped | {"observer_type": "node_agent", "via": ""})
        return rows


def build(seed: int, slot: int) -> tuple[list[str], list[dict[str, str]]]:
    """Return the tables and rows of the world of `seed` at `slot` (0 to 50)."""
    one = Builder(seed, slot)
    regions = one.dice.sample(sorted(ZONES), 2)
    if one.often(0.6):
        regions[0] = "us-east-1"
    for number in range(1, one.dice.randint(2, 4) + 1):
        one.network(5 * slot + number, one.dice.choice(regions))
    one.devices()
    one.outside()
    one.routes()
    return one.tables, one.rows(one.dice.sample(DAYS, 2))


def write(seeds: Sequence[int], folder: Path) -> Path:
    """Write the worlds of `seeds` as one scenario folder below `folder`; return the folder."""
    target = folder / f"worlds-{seeds[0]}-{len(seeds)}"
    target.mkdir()
    built = [build(seed, slot) for slot, seed in enumerate(seeds)]
    (target / "scenario.toml").write_text(f'title = "worlds {seeds}"\ntext = "random"\n')
    (target / "declared.toml").write_text("\n".join(t for tables, _ in built for t in tables))
    with (target / "flows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for _, rows in built for row in rows)
    return target
