"""Conversations with Zipf popularity, as the rows every sensor on their way would log.

One exchange is a request and a response in one aggregation window. Each is logged where AWS
would log it: at the pods' interfaces, at the four sides of a NAT gateway's interface, at the
transit gateway's interfaces, and in the transit gateway's own flow log. The truth is written
from the exchange, not from the rows: who sent how many bytes to whom in which UTC hour, once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.gen_topology import PODS_PER_NODE, Topology

SAME_VPC, OTHER_VPC, INTERNET = 0, 1, 2
INGRESS, EGRESS = 0, 1
ACCEPT, REJECT = 0, 1
OK, NODATA, SKIPDATA = 0, 1, 2
ROWS_PER_EXCHANGE = 6.3  # measured; turns a wanted number of rows into exchanges
SERVICE_PORTS = np.array([443, 443, 443, 80, 8080, 5432, 6379, 9092, 53, 3306])

Block = dict[str, np.ndarray]


def zipf(rng: np.random.Generator, size: int, count: int, exponent: float) -> np.ndarray:
    """Return `count` ranks below `size` with weight `1 / rank ** exponent`."""
    weights = np.cumsum(1.0 / np.arange(1, size + 1) ** exponent)
    return np.searchsorted(weights, rng.random(count) * weights[-1]).clip(max=size - 1)


@dataclass
class Conversations:
    """Who talks to whom: a client slot, and a server slot or a far address."""

    client: np.ndarray
    server: np.ndarray  # pod slot; undefined for INTERNET
    remote: np.ndarray  # address number of the far end
    kind: np.ndarray
    port: np.ndarray

    @classmethod
    def plan(cls, topology: Topology, count: int) -> Conversations:
        """Draw `count` conversations; servers and far ends are more popular than clients."""
        rng = np.random.default_rng([topology.seed, 2])
        pods = rng.permutation(topology.pods)
        client = pods[zipf(rng, topology.pods, count, 0.6)]
        vpc = topology.pod_vpc[client]
        first = vpc * topology.per_vpc * PODS_PER_NODE
        size = np.minimum(topology.per_vpc * PODS_PER_NODE, topology.pods - first)
        near = first + (zipf(rng, 1 << 16, count, 0.9) * 7919 % size)
        full = np.flatnonzero(topology.pod_full)
        far = full[zipf(rng, len(full), count, 0.9)]
        draw = rng.random(count)
        kind = np.select([draw < 0.55, draw < 0.70], [SAME_VPC, OTHER_VPC], INTERNET)
        kind = np.where(~topology.pod_full[client] & (kind == SAME_VPC), INTERNET, kind)
        kind = np.where((kind == OTHER_VPC) & (topology.pod_vpc[far] == vpc), INTERNET, kind)
        server = np.where(kind == SAME_VPC, near, far)
        kind = np.where((kind == SAME_VPC) & (server == client), INTERNET, kind)
        remote = topology.remotes[zipf(rng, len(topology.remotes), count, 0.9)]
        remote = np.where(kind == INTERNET, remote, server)
        return cls(client, server, remote, kind, rng.choice(SERVICE_PORTS, count))


class Slot:
    """All rows and the truth of one delivery slot `[begin, end)` of seconds."""

    def __init__(self, topology: Topology, conversations: Conversations, begin: int, end: int):
        self.topology, self.talks, self.begin, self.end = topology, conversations, begin, end
        self.rng = np.random.default_rng([topology.seed, 3, begin])
        self.blocks: list[Block] = []
        self.truth: list[Block] = []

    def generate(self, exchanges: int) -> None:
        """Draw exchanges and log them."""
        pick = zipf(self.rng, len(self.talks.client), exchanges, 0.8)
        seconds = self.rng.integers(20, 61, exchanges)
        end = self.rng.integers(self.begin + 1, self.end + 1, exchanges)
        start = np.maximum(end - seconds, self.topology.start)
        end = np.maximum(end, start + 1)
        kind, client, server = (
            self.talks.kind[pick], self.talks.client[pick], self.talks.server[pick]
        )  # fmt: skip
        end = np.minimum(end, self.topology.next_change(client, start))
        far_change = self.topology.next_change(server, start)
        end = np.where(kind == INTERNET, end, np.minimum(end, far_change))
        request = (self.rng.lognormal(7.5, 1.4, exchanges)).astype(np.int64) + 52
        response = (self.rng.lognormal(9.0, 1.8, exchanges)).astype(np.int64) + 52
        full = self.topology.pod_full[client]
        base: Block = {
            "client": client, "server": server, "remote": self.talks.remote[pick],
            "port": self.talks.port[pick], "ephemeral": self.rng.integers(32768, 61000, exchanges),
            "start": start, "end": end, "request": request, "response": response,
        }  # fmt: skip
        for wanted, log in (
            (kind == SAME_VPC, self._near),
            ((kind == OTHER_VPC) & full, self._across),
            ((kind == OTHER_VPC) & ~full, self._across_from_spoke),
            ((kind == INTERNET) & full, self._through_nat),
            ((kind == INTERNET) & ~full, self._through_egress),
        ):
            part = {name: column[wanted] for name, column in base.items()}
            if len(part["start"]):
                log(part)
        self._noise(max(1, exchanges // 500))

    # -- the ways -----------------------------------------------------------------------------

    def _near(self, x: Block) -> None:
        zone = self.topology.node_zone
        a, b = x["client"] // PODS_PER_NODE, x["server"] // PODS_PER_NODE
        path = np.where(zone[a] == zone[b], "same_zone", "cross_az")
        apart = a != b  # pods of one node never meet the wire
        x = {name: column[apart] for name, column in x.items()}
        path = path[apart]
        for there, size in ((True, x["request"]), (False, x["response"])):
            sender, receiver = self._ends(x, there=there)
            self._pod_row(x, sender, receiver, size, there=there, egress=True, path=0)
            self._pod_row(x, sender, receiver, size, there=there, egress=False, path=0)
            self._book(x, "interface", "transmit", sender, receiver, size, path)
            self._book(x, "interface", "receive", receiver, sender, size, path)

    def _across(self, x: Block) -> None:
        way = np.full(len(x["start"]), "transit_gateway")
        for there, size in ((True, x["request"]), (False, x["response"])):
            sender, receiver = self._ends(x, there=there)
            self._pod_row(x, sender, receiver, size, there=there, egress=True, path=1)
            self._pod_row(x, sender, receiver, size, there=there, egress=False, path=0)
            self._tgw_rows(x, sender, receiver, size, there=there)
            self._book(x, "interface", "transmit", sender, receiver, size, way)
            self._book(x, "interface", "receive", receiver, sender, size, way)
            self._book(x, "tgw_attachment", "transmit", sender, receiver, size, way, finest=False)

    def _across_from_spoke(self, x: Block) -> None:
        way = np.full(len(x["start"]), "transit_gateway")
        for there, size in ((True, x["request"]), (False, x["response"])):
            sender, receiver = self._ends(x, there=there)
            self._pod_row(x, sender, receiver, size, there=there, egress=not there, path=1)
            self._tgw_rows(x, sender, receiver, size, there=there)
            if there:
                self._book(x, "tgw_attachment", "transmit", sender, receiver, size, way)
                self._book(x, "interface", "receive", receiver, sender, size, way)
            else:
                self._book(x, "interface", "transmit", sender, receiver, size, way)
                self._book(
                    x, "tgw_attachment", "transmit", sender, receiver, size, way, finest=False
                )

    def _through_nat(self, x: Block) -> None:
        way = np.full(len(x["start"]), "nat_gateway")
        client, remote = x["client"], x["remote"]
        self._pod_row(x, client, remote, x["request"], there=True, egress=True, path=1)
        self._pod_row(x, remote, client, x["response"], there=False, egress=False, path=0)
        self._nat_rows(x, self.topology.pod_vpc[client])
        self._book(x, "interface", "transmit", client, remote, x["request"], way)
        self._book(x, "interface", "receive", client, remote, x["response"], way)
        self._book(x, "gateway", "transmit", client, remote, x["request"], way, finest=False)
        self._book(x, "gateway", "receive", client, remote, x["response"], way, finest=False)

    def _through_egress(self, x: Block) -> None:
        way = np.full(len(x["start"]), "nat_gateway")
        client, remote = x["client"], x["remote"]
        egress = np.full(len(client), self.topology.egress.number)
        self._nat_rows(x, egress)
        for there, size in ((True, x["request"]), (False, x["response"])):
            sender, receiver = (client, remote) if there else (remote, client)
            self._egress_crossing(x, sender, receiver, size, there=there)
            self._book(x, "tgw_attachment", "transmit", sender, receiver, size, way, finest=False)
        self._book(x, "gateway", "transmit", client, remote, x["request"], way)
        self._book(x, "gateway", "receive", client, remote, x["response"], way)

    # -- rows ---------------------------------------------------------------------------------

    def _ends(self, x: Block, *, there: bool) -> tuple[np.ndarray, np.ndarray]:
        return (x["client"], x["server"]) if there else (x["server"], x["client"])

    def _add(self, x: Block, size: np.ndarray, *, there: bool, **columns: np.ndarray | int) -> None:
        rows = len(x["start"])
        sport, dport = (x["ephemeral"], x["port"]) if there else (x["port"], x["ephemeral"])
        block: Block = {
            "sport": sport, "dport": dport, "start": x["start"], "end": x["end"], "bytes": size,
            "packets": size // 1200 + 1,
        }  # fmt: skip
        defaults = {"flags": 3 if there else 19, "action": ACCEPT, "status": OK, "path": 0}
        for name, value in {**defaults, **columns}.items():
            block[name] = np.broadcast_to(np.asarray(value), rows)
        self.blocks.append(block)

    def _pod_row(
        self, x: Block, sender: np.ndarray, receiver: np.ndarray, size: np.ndarray, *,
        there: bool, egress: bool, path: int,
    ) -> None:  # fmt: skip
        own = sender if egress else receiver
        node = own // PODS_PER_NODE
        primary = self.topology.first_node_address + node
        vpc = self.topology.node_vpc[node]
        self._add(
            x, size, there=there, log=vpc, eni=node, vpc=vpc, third=self.topology.node_third[node],
            zone=self.topology.node_zone[node], instance=node,
            src=primary if egress else sender, dst=receiver if egress else primary,
            psrc=sender, pdst=receiver, direction=EGRESS if egress else INGRESS, path=path,
        )  # fmt: skip

    def _nat_rows(self, x: Block, vpc: np.ndarray) -> None:
        client, remote = x["client"], x["remote"]
        zone = self.topology.node_zone[client // PODS_PER_NODE]
        eni, nat = self.topology.nat_of(vpc, zone)
        request, response = x["request"], x["response"]
        for size, there, direction, src, dst, psrc, pdst in (
            (request, True, INGRESS, client, nat, client, remote),
            (request, True, EGRESS, nat, remote, nat, remote),
            (response, False, INGRESS, remote, nat, remote, nat),
            (response, False, EGRESS, nat, client, remote, client),
        ):
            self._add(
                x, size, there=there, log=vpc, eni=eni, vpc=vpc, third=250 + zone, zone=zone,
                instance=-1, src=src, dst=dst, psrc=psrc, pdst=pdst, direction=direction,
                path=np.where(direction == EGRESS, 8, 0),
            )  # fmt: skip

    def _tgw_eni(
        self, x: Block, vpc: np.ndarray, zone: np.ndarray, sender: np.ndarray,
        receiver: np.ndarray, size: np.ndarray, *, there: bool, into: bool,
    ) -> None:  # fmt: skip
        """Log the transit gateway's interface in one VPC: traffic into it, or out of it."""
        eni, address = self.topology.tgw_of(vpc, zone)
        self._add(
            x, size, there=there, log=vpc, eni=eni, vpc=vpc, third=250 + zone, zone=zone,
            instance=-1, src=sender if into else address, dst=address if into else receiver,
            psrc=sender, pdst=receiver, direction=INGRESS if into else EGRESS,
        )  # fmt: skip

    def _tgw_log(
        self, x: Block, from_vpc: np.ndarray, to_vpc: np.ndarray, zone: np.ndarray,
        sender: np.ndarray, receiver: np.ndarray, size: np.ndarray, *, there: bool,
    ) -> None:  # fmt: skip
        for direction in (INGRESS, EGRESS):
            self._add(
                x, size, there=there, log=-1, eni=0, vpc=from_vpc, third=to_vpc, zone=zone,
                instance=-1, src=sender, dst=receiver, psrc=sender, pdst=receiver,
                direction=direction,
            )  # fmt: skip

    def _tgw_rows(
        self, x: Block, sender: np.ndarray, receiver: np.ndarray, size: np.ndarray, *, there: bool
    ) -> None:
        near, far = self.topology.pod_vpc[sender], self.topology.pod_vpc[receiver]
        zone = self.topology.node_zone[sender // PODS_PER_NODE]
        for vpc, into in ((near, True), (far, False)):
            logged = np.array([v.kind == "full" for v in self.topology.vpcs])[vpc]
            part = {name: column[logged] for name, column in x.items()}
            self._tgw_eni(
                part, vpc[logged], zone[logged], sender[logged], receiver[logged], size[logged],
                there=there, into=into,
            )  # fmt: skip
        self._tgw_log(x, near, far, zone, sender, receiver, size, there=there)

    def _egress_crossing(
        self, x: Block, sender: np.ndarray, receiver: np.ndarray, size: np.ndarray, *, there: bool
    ) -> None:
        spoke = self.topology.pod_vpc[x["client"]]
        egress = np.full(len(spoke), self.topology.egress.number)
        zone = self.topology.node_zone[x["client"] // PODS_PER_NODE]
        self._tgw_eni(x, egress, zone, sender, receiver, size, there=there, into=not there)
        near, far = (spoke, egress) if there else (egress, spoke)
        self._tgw_log(x, near, far, zone, sender, receiver, size, there=there)

    def _noise(self, count: int) -> None:
        """Log refused packets, scans of public addresses, and records without data."""
        nats = [
            (vpc, zone, nat) for vpc in self.topology.all_vpcs for zone, nat in enumerate(vpc.nat)
        ]
        picked = self.rng.integers(0, len(nats), count)
        start = self.rng.integers(self.begin, self.end - 60, count)
        scan: Block = {
            "start": start, "end": start + 30, "ephemeral": self.rng.integers(1024, 65535, count),
            "port": self.rng.integers(1, 65535, count),
        }  # fmt: skip
        vpc = np.array([vpc.number for vpc, _, _ in nats])[picked]
        zone = np.array([zone for _, zone, _ in nats])[picked]
        eni = np.array([nat[0] for _, _, nat in nats])[picked]
        address = np.array([nat[1] for _, _, nat in nats])[picked]
        scanner = self.rng.choice(self.topology.remotes, count)
        size = np.full(count, 44)
        common = {"log": vpc, "eni": eni, "vpc": vpc, "third": 250 + zone, "zone": zone}
        self._add(
            scan, size, there=True, **common, instance=-1, src=scanner, dst=address, psrc=scanner,
            pdst=address, direction=INGRESS, action=self.rng.integers(0, 2, count),
        )  # fmt: skip
        absent = self.topology.absent
        self._add(
            scan, np.zeros(count, np.int64), there=True, **common, instance=-1, src=absent,
            dst=absent, psrc=absent, pdst=absent, direction=INGRESS,
            status=np.where(self.rng.random(count) < 0.05, SKIPDATA, NODATA),
        )  # fmt: skip

    # -- truth --------------------------------------------------------------------------------

    def _book(
        self, x: Block, observer: str, direction: str, local: np.ndarray, remote: np.ndarray,
        size: np.ndarray, path: np.ndarray, *, finest: bool = True,
    ) -> None:  # fmt: skip
        """Write what a sensor saw, split over UTC hours by overlap (floor of the running sum).

        `finest` is false where a sensor nearer to the local end saw the same bytes.
        """
        first, last = x["start"] // 3600, (x["end"] - 1) // 3600
        seconds = x["end"] - x["start"]
        packets = size // 1200 + 1
        for hour, mine in ((first, first >= 0), (last, last > first)):
            begins = np.maximum(x["start"], hour * 3600) - x["start"]
            ends = np.minimum(x["end"], hour * 3600 + 3600) - x["start"]
            parts = {
                "bytes": size * ends // seconds - size * begins // seconds,
                "packets": packets * ends // seconds - packets * begins // seconds,
            }
            self.truth.append(
                {
                    "hour": hour[mine], "local": local[mine], "remote": remote[mine],
                    "at": x["start"][mine], "path": path[mine],
                    "observer_type": np.full(int(mine.sum()), observer),
                    "direction": np.full(int(mine.sum()), direction),
                    "finest": np.full(int(mine.sum()), finest),
                    **{name: part[mine] for name, part in parts.items()},
                }
            )  # fmt: skip

    def tables(self) -> Iterator[tuple[int, Block]]:
        """Yield (log number, rows in order of their end); -1 is the transit gateway's log."""
        names = self.blocks[0].keys()
        rows = {name: np.concatenate([block[name] for block in self.blocks]) for name in names}
        order = np.lexsort((rows["end"], rows["log"]))
        rows = {name: column[order] for name, column in rows.items()}
        logs, starts = np.unique(rows["log"], return_index=True)
        for log, begin, end in zip(
            logs.tolist(), starts, [*starts[1:], len(rows["log"])], strict=True
        ):
            yield log, {name: column[begin:end] for name, column in rows.items()}
