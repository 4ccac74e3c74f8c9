"""The ground truth: what the router saw, packet by packet, before and after losses."""

from __future__ import annotations

import time

import msgspec

from flowcost import address
from flowcost.lab.namespaces import NetworkNamespace

Pair = tuple[bytes, bytes]  # source, destination: 16-byte addresses as on the wire


class Count(msgspec.Struct, frozen=True):
    """Wire packets and their IP bytes."""

    bytes: int = 0
    packets: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.bytes + other.bytes, self.packets + other.packets)

    def __sub__(self, other: Count) -> Count:
        return Count(self.bytes - other.bytes, self.packets - other.packets)


class Wire(msgspec.Struct, frozen=True):
    """Counts per (source, destination): `entered` before the lossy link, `left` behind it."""

    entered: dict[Pair, Count]
    left: dict[Pair, Count]

    def since(self, earlier: Wire) -> Wire:
        """Return what was counted after `earlier`."""
        return Wire(_minus(self.entered, earlier.entered), _minus(self.left, earlier.left))

    def total(self, source: str, destination: str, *, left: bool = False) -> Count:
        """Return the count from one address to another."""
        pair = address.pack(source), address.pack(destination)
        return (self.left if left else self.entered).get(pair, Count())


def _minus(now: dict[Pair, Count], then: dict[Pair, Count]) -> dict[Pair, Count]:
    changed = {pair: count - then.get(pair, Count()) for pair, count in now.items()}
    return {pair: count for pair, count in changed.items() if count.packets}


def read(router: NetworkNamespace) -> Wire:
    """Return the router's counters as they are."""
    counts: dict[str, dict[Pair, Count]] = {"entered": {}, "left": {}}
    document = msgspec.json.decode(router.run("nft", "-j", "list", "sets"))
    for entry in document["nftables"]:
        for element in entry.get("set", {}).get("elem", ()):
            source, destination = element["elem"]["val"]["concat"]
            counter = element["elem"]["counter"]
            pair = address.pack(source), address.pack(destination)
            kind = entry["set"]["name"].rstrip("46")
            counts[kind][pair] = Count(counter["bytes"], counter["packets"])
    return Wire(counts["entered"], counts["left"])


def settled(router: NetworkNamespace, *, quiet_s: float = 0.06, patience_s: float = 10.0) -> Wire:
    """Return the counters once nothing has moved for `quiet_s` seconds."""
    deadline = time.monotonic() + patience_s
    last = read(router)
    while time.monotonic() < deadline:
        time.sleep(quiet_s)
        now = read(router)
        if now == last:
            return now
        last = now
    return last
