"""A second reader of flow logs, one row at a time in plain Python, to check the first by.

Its words are the documentation of the records and of orientation (`sources.orient`), not the
reader's queries: rows of interfaces, of NAT gateways and of transit gateways, by any format.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flowcost.address import Scope, pack, scope
from flowcost.sources.knowledge import Knowledge
from flowcost.sources.report import Fate
from tests.sources.reference_words import COLUMNS, Value, words_of

_INTEGER = re.compile(r"[+-]?[0-9]+")
_LIMITS = {"packets": 1 << 46, "srcport": 65_535, "dstport": 65_535, "protocol": 255,
           "traffic-path": 255}  # fmt: skip
_SMALL = ("protocol", "traffic-path", "srcport", "dstport")
_PASSING = ("transit_gateway", "gateway_load_balancer", "gateway_load_balancer_endpoint")
_NAT = ("nat_gateway", "regional_nat_gateway")
HOUR = 3600
EARLIEST, LATEST = 1_262_304_000, 4_102_444_800

Row = dict[str, str]
Booked = tuple[Value, ...]  # hour, then `COLUMNS`


@dataclass
class Expected:
    """Rows by fate, and booked bytes and packets by flow."""

    fates: Counter[Fate] = field(default_factory=Counter)
    bytes: Counter[Booked] = field(default_factory=Counter)
    packets: Counter[Booked] = field(default_factory=Counter)


@dataclass
class Device:
    """What an interface is: `end`, `unknown`, `passing`, `forwarder`, `nat`, `regional_nat`."""

    role: str
    own: tuple[tuple[bytes, bytes], ...] = ()
    gateway: str = ""


def integer(text: str) -> int | None:
    """Return the number that a word is, or None."""
    if _INTEGER.fullmatch(text) is None or not text.isascii():
        return None
    value = int(text)
    return value if -(1 << 63) <= value < 1 << 63 else None


def rows_of(lines: Sequence[str], names: Sequence[str]) -> Iterator[Row | None]:
    """Yield the fields of each line; None where it has not as many as its format."""
    for number, line in enumerate(lines):
        if number == 0:  # a byte order mark says nothing
            line = line.removeprefix("\ufeff")  # noqa: PLW2901
        words = [word.removesuffix("\r") for word in line.split(" ")]
        more = words[len(names) :]
        if len(words) < len(names) or words[len(names) - 1] == "" or more[:1] not in ([], [""]):
            yield None  # a blank after the last field does no harm
        else:
            yield dict(zip(names, words, strict=False))


def expected(rows: Sequence[Row | None], names: Sequence[str], known: Knowledge) -> Expected:
    """Return what must become of the rows of one file."""
    book = _Book(names, known)
    result = Expected()
    kept: list[Row] = []
    for row in rows:
        fate = Fate.BROKEN if row is None else book.kind(row)
        if fate in (Fate.BOOKED, Fate.REJECT) and row is not None:
            kept.append(row)
        else:
            result.fates[fate] += 1
    book.learn(kept)
    for row in kept:
        fate, side, local = book.judge(row)
        result.fates[fate] += 1
        if fate is Fate.BOOKED:
            key = book.booked(row, side, local)
            _share(result.bytes, row, "bytes", key)
            _share(result.packets, row, "packets", key)
    return result


def _share(sizes: Counter[Booked], row: Row, name: str, key: Booked) -> None:
    """Add a row to the hours it covers: hour by hour the floor of the running sum."""
    start, end, size = (integer(row.get(name, "")) or 0 for name in ("start", "end", name))
    seconds = max(end - start, 1)
    for hour in range(start // HOUR * HOUR, max(end, start + 1), HOUR):
        upto, since = min(hour + HOUR - start, seconds), max(hour - start, 0)
        sizes[hour, *key] += size * upto // seconds - size * since // seconds


def _address(text: str) -> bytes | None:
    try:
        return pack(text)
    except ValueError:
        return None


def _private(address: bytes | None) -> bool:
    return address is not None and scope(address) is Scope.PRIVATE


class _Book:
    """The rules for one file: `kind` for single rows, `learn` all, then `judge` each."""

    def __init__(self, names: Sequence[str], known: Knowledge) -> None:
        self.names, self.known = set(names), known
        self.tgw = any(name.startswith("tgw-") for name in names)
        self.shared: dict[str, set[str]] = {}
        self.clients: set[str] = set()

    def word(self, row: Row, name: str) -> str:
        text = row.get(name, "")
        return "" if text == "-" else text

    def kind(self, row: Row) -> Fate:
        """Return BOOKED for what is a flow, else what the row is."""
        if "log-status" in self.names and row["log-status"] != "OK":
            status = row["log-status"].lower()
            return Fate(status) if row["log-status"] in ("NODATA", "SKIPDATA") else Fate.BROKEN
        if not {"bytes", "start", "end", "srcaddr", "dstaddr"} <= self.names:
            return Fate.NO_BYTES
        if "-" in (row["srcaddr"], row["dstaddr"]):
            return Fate.BROKEN
        judged = "action" in self.names and not self.tgw
        if judged and row["action"] not in ("ACCEPT", "REJECT"):
            return Fate.BROKEN
        start, end, size = (integer(row[name]) for name in ("start", "end", "bytes"))
        if start is None or end is None or size is None:
            return Fate.BROKEN
        if not (EARLIEST <= start <= end < LATEST and end - start <= 86_400):
            return Fate.BROKEN
        numbers = [(size, 1 << 46)] + [(integer(row.get(n, "")) or 0, m) for n, m in _LIMITS.items()
                                       if not (self.tgw and n == "traffic-path")]  # fmt: skip
        if not all(0 <= value <= most for value, most in numbers):
            return Fate.BROKEN
        return Fate.REJECT if judged and row["action"] == "REJECT" else Fate.BOOKED

    def ends(self, row: Row) -> tuple[str, str]:
        """Return the texts of source and destination in the packet."""
        pairs = (("pkt-srcaddr", "srcaddr"), ("pkt-dstaddr", "dstaddr"))
        source, target = (
            row[logged] if self.tgw or row.get(packet, "-") == "-" else row[packet]
            for packet, logged in pairs
        )
        return source, target

    def translated(self, row: Row) -> tuple[bool, bool]:
        """Return whether each end is another in the packet than in the log."""
        if not self.packet_ends:
            return False, False
        source, target = self.ends(row)
        return source != row["srcaddr"], target != row["dstaddr"]

    @property
    def packet_ends(self) -> bool:
        return {"pkt-srcaddr", "pkt-dstaddr"} <= self.names

    def device(self, row: Row) -> Device:
        """Return what the row's interface is: by the inventory, else by the row's words."""
        observer, device, kind = (
            self.word(row, name) for name in ("interface-id", "resource-id", "interface-type")
        )
        by_id = {name: one for one in self.known.gateways for name in (one.id, *one.interfaces)}
        gateway = by_id.get(observer) or by_id.get(device)
        if gateway:
            own = tuple((address, address) for address in gateway.addresses)
            return Device("regional_nat" if gateway.regional else "nat", own, gateway.id)
        if kind in _NAT or device.startswith("nat-"):
            name = device if device.startswith("nat-") else observer or device
            return Device("nat" if kind == "nat_gateway" else "regional_nat", gateway=name)
        interface = {one.id: one for one in self.known.interfaces}.get(observer)
        if interface is None:
            return Device("passing" if kind in _PASSING else "end" if kind else "unknown")
        role = "forwarder" if interface.forwards else "end"
        return Device("passing" if interface.type in _PASSING else role, interface.blocks)

    def side(self, row: Row) -> str:
        """Return the end that the interface, or the gateway's client, is; empty if untold."""
        source, target = self.ends(row)
        device = self.device(row)
        said = {"egress": "source", "ingress": "destination"}.get(self.word(row, "flow-direction"))
        moved_source, moved_target = self.translated(row)
        here = [_private(_address(end)) for end in (source, target)]
        by_scope = "source" if here == [True, False] else "destination"
        by_scope = by_scope if here[0] != here[1] else ""
        if device.role in ("nat", "regional_nat"):
            if moved_source != moved_target:
                return "destination" if moved_source else "source"
            opposite = {"source": "destination", "destination": "source"}
            return by_scope or opposite.get(said or "", "")
        if said:
            return said
        own = [self.own(device, end) for end in (source, target)]
        if own[0] != own[1]:
            return "source" if own[0] else "destination"
        if moved_source != moved_target:
            return "source" if moved_source else "destination"
        shared = self.shared.get(self.word(row, "interface-id"), set())
        if len(shared) == 1 and source != target:
            return "source" if source in shared else "destination"
        return by_scope

    def own(self, device: Device, end: str) -> bool:
        address = _address(end)
        return address is not None and any(first <= address <= last for first, last in device.own)

    def leg(self, row: Row, device: Device) -> bool:
        """Return whether a NAT gateway's row is the client's leg."""
        source, target = self.ends(row)
        if device.own:
            return not self.own(device, source) and not self.own(device, target)
        if device.role == "regional_nat":
            return _private(_address(source)) != _private(_address(target))
        return any(self.translated(row))

    def learn(self, rows: Sequence[Row]) -> None:
        """Note which address an interface's undirected rows share, and whom clients talk to."""
        if self.tgw:
            return
        shared: dict[str, list[set[str]]] = defaultdict(list)
        for row in rows:
            device = self.device(row)
            if device.role in ("nat", "regional_nat"):
                if self.leg(row, device):
                    source, target = self.ends(row)
                    self.clients.add(target if self.side(row) == "source" else source)
            elif self.word(row, "flow-direction") not in ("egress", "ingress"):
                shared[self.word(row, "interface-id")].append(set(self.ends(row)))
        self.shared = {name: set.intersection(*ends) for name, ends in shared.items()}

    def judge(self, row: Row) -> tuple[Fate, str, bytes | None]:
        """Return the fate of a flow, the observed side, and its address where it is another."""
        ends = self.ends(row)
        valid = None not in map(_address, ends)
        if self.tgw:
            direction = self.word(row, "flow-direction")
            peering = self.word(row, "tgw-attachment-id") in self.known.peering_attachments
            if not valid:
                return Fate.BROKEN, "", None
            if direction == "egress" or peering:
                return Fate.CROSS_CHECK, "", None
            return (Fate.BOOKED if direction == "ingress" else Fate.UNORIENTED), "source", None
        if "action" in self.names and row["action"] == "REJECT":
            return Fate.REJECT, "", None
        if not valid:
            return Fate.BROKEN, "", None
        device = self.device(row)
        if device.role in ("nat", "regional_nat"):
            return self._at_gateway(row, device), self.side(row), None
        return self._at_interface(row, device)

    def _at_gateway(self, row: Row, device: Device) -> Fate:
        source, target = self.ends(row)
        if not self.packet_ends:
            return Fate.NO_PACKET_ENDS
        if self.leg(row, device):
            return Fate.BOOKED if self.side(row) else Fate.UNORIENTED
        inward = self.own(device, target) or (not device.own and _private(_address(target)))
        stranger = not self.own(device, source) and not _private(_address(source))
        if inward and stranger and source not in self.clients:
            return Fate.UNSOLICITED
        return Fate.CROSS_CHECK

    def _at_interface(self, row: Row, device: Device) -> tuple[Fate, str, bytes | None]:
        side = self.side(row)
        if not side:
            return Fate.UNORIENTED, "", None
        number = 0 if side == "source" else 1
        own = self.own(device, self.ends(row)[number])
        if device.role == "passing" and not own:
            return Fate.TRANSIT, side, None
        if device.role == "forwarder" and not own:
            if not device.own:
                return Fate.TRANSIT, side, None
            return Fate.BOOKED, side, device.own[0][0]
        managed = self.word(row, "instance-id") == ""
        if device.role == "unknown" and self.translated(row)[number] and managed:
            hidden = Fate.TRANSIT if "instance-id" in self.names else Fate.UNORIENTED
            return hidden, side, None
        return Fate.BOOKED, side, None

    def booked(self, row: Row, side: str, local: bytes | None) -> Booked:
        """Return the columns of a flow, without the hour."""
        source, target = (pack(end) for end in self.ends(row))
        device = Device("") if self.tgw else self.device(row)
        at_nat = device.role in ("nat", "regional_nat")
        sends = self.tgw or side == "source"
        numbers = {name: integer(row[name]) for name in _SMALL if name in row}
        words = words_of(row, numbers, sends=sends, gateway=device.gateway if at_nat else "")
        sensor = "gateway" if at_nat else "interface"
        words["observer_type"] = "tgw_attachment" if self.tgw else sensor
        words["direction"] = "transmit" if sends else "receive"
        words["local_address"] = local or (source if sends else target)
        words["remote_address"] = target if sends else source
        return tuple(words[name] for name in COLUMNS)
