"""Flow logs whose lines are mostly whole and sometimes damaged in ways that damage happens.

Everything is drawn from a `Draw`: a seeded generator, or the bytes that a fuzzer made up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

from flowcost.sources.knowledge import Knowledge
from flowcost.sources.tgw_flow_logs import TGW
from flowcost.sources.vpc_flow_logs import VPC
from tests.sources.logs import NOON, ROW, interface, nat, pack

T = TypeVar("T")


class Draw(Protocol):
    """The part of `random.Random` that is used."""

    def randrange(self, stop: int, /) -> int: ...
    def random(self) -> float: ...
    def choice(self, among: Sequence[T], /) -> T: ...


# Gateways and interfaces of every role; `eni-a` and `eni-b` are in no inventory.
KNOWN = Knowledge(
    gateways=(
        nat("nat-1", ("eni-n",), "10.0.0.220", "3.3.3.3"),
        nat("nat-2", ("eni-m",)),
        nat("nat-9", (), "3.3.3.9", regional=True),
    ),
    interfaces=(
        interface("eni-i", "10.0.1.5", "10.0.1.6"),
        interface("eni-j"),
        interface("eni-t", "10.0.2.9", kind="transit_gateway"),
        interface("eni-f", "10.0.3.3", forwards=True),
        interface("eni-g", forwards=True),
    ),
    peering_attachments=frozenset({"tgw-attach-peer"}),
    changes=frozenset({(pack("10.0.1.5"), NOON + 1800), (pack("10.1.1.7"), NOON + 5000)}),
)
_OBSERVERS = (
    *("eni-a", "eni-a", "eni-a", "eni-b", "eni-i", "eni-i", "eni-j", "eni-n", "eni-n", "eni-n"),
    *("eni-m", "eni-t", "eni-f", "eni-g", "-"),
)
_ENDS = (
    *("10.0.0.220", "3.3.3.3", "3.3.3.9", "10.0.1.5", "10.0.1.6", "10.0.2.9", "10.0.3.3"),
    *("10.1.1.7", "8.8.8.8", "52.216.10.10", "185.1.2.3", "fd00::1", "2600:1f18::1"),
)
_ODD = (
    *("-", "", "0", "-1", "+7", "007", "1.5", "1e3", "NaN", "x", "OK", "ok", "256", "65536"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808"),
    *("70368744177664", "70368744177665", "4611686018427387904", "1262303999", "4102444800"),
    *("NODATA", "SKIPDATA", "REJECT", "::1", "10.0.0.256", "10.0.0", "010.0.0.1"),
    *("fe80::1%eth0", "2001:db8::1", "::ffff:10.0.0.1", "é", '"', "'", "\\", "\t", "#"),
    *("\0", "\r", "1_0", "٣", "0x10", "--", "null", "None", "inf", "1,5", "\ufeff1", "nat-9"),
)
_PATTERN = dict.fromkeys(VPC.default, "-") | {n: "-" if v is None else v for n, v in ROW.items()}
_OPTIONAL = (
    *("resource-id", "interface-type", "next-hop-interface-type", "next-hop-az-id"),
    *("pkt-src-aws-service", "pkt-dst-aws-service"),
)
_TYPES = ("-", "-", "-", "nat_gateway", "regional_nat_gateway", "transit_gateway", "vpc_endpoint")


def names(draw: Draw) -> list[str]:
    """Return the fields of one format, in some order, most often all that a flow needs."""
    if draw.random() < 0.15:
        chosen = [name for name in TGW.default if draw.random() < 0.97]
        if not any(name.startswith("tgw-") for name in chosen):
            chosen.append("tgw-id")
    else:
        kept = 0.96 if draw.random() < 0.7 else 0.8
        chosen = [name for name in ROW if draw.random() < kept]
        chosen += [name for name in _OPTIONAL if draw.random() < 0.4]
        if draw.random() < 0.1:
            chosen.append("quantum-state")
        if len(VPC.names & set(chosen)) < 2:
            chosen = list(ROW)
    for place in range(len(chosen) - 1, 0, -1):
        other = draw.randrange(place + 1)
        chosen[place], chosen[other] = chosen[other], chosen[place]
    return chosen


def row(draw: Draw) -> dict[str, str]:
    """Return one whole record, with every field that any format here has."""
    start = NOON + draw.randrange(7200)
    source, target = (
        draw.choice(_ENDS) if draw.random() < 0.8 else f"10.{n}.{draw.randrange(4)}.{n}"
        for n in (0, 1)
    )
    words: dict[str, object] = {
        **_PATTERN,
        "interface-id": draw.choice(_OBSERVERS),
        "srcaddr": source,
        "dstaddr": target,
        "pkt-srcaddr": draw.choice((source, source, source, "-", draw.choice(_ENDS))),
        "pkt-dstaddr": draw.choice((target, target, target, "-", draw.choice(_ENDS))),
        "srcport": draw.choice((443, 80, 0, 1024, 40_000, 32_768, 65_535)),
        "dstport": draw.choice((443, 22, 0, 1023, 40_000, 50_000)),
        "bytes": draw.choice((0, 40, 1500, 1 << 46, draw.randrange(1 << 40))),
        "packets": draw.choice((0, 1, 10)),
        "start": start,
        "end": start + draw.choice((0, 1, 59, 60, 60, 600, 3600, 7300, 86_400, 86_401)),
        "action": draw.choice(("ACCEPT",) * 7 + ("REJECT",)),
        "log-status": draw.choice(("OK",) * 12 + ("NODATA", "SKIPDATA")),
        "flow-direction": draw.choice(("egress", "ingress", "-")),
        "instance-id": draw.choice(("i-1", "-")),
        "traffic-path": draw.choice(("-", 1, 8)),
        "resource-id": draw.choice(("-", "-", "nat-9", "nat-7", "eni-a")),
        "interface-type": draw.choice(_TYPES),
        "next-hop-interface-type": draw.choice(("-", "nat_gateway")),
        "pkt-dst-aws-service": draw.choice(("-", "S3")),
        "quantum-state": "up",
        "account-id": draw.choice(("123456789010", "111111111111")),
        "az-id": draw.choice(("use1-az1", "use1-az2", "-")),
        "subnet-id": draw.choice(("subnet-1", "subnet-2")),
        "protocol": draw.choice((6, 6, 17, 1, 255)),
        "next-hop-az-id": draw.choice(("-", "use1-az3")),
        "pkt-src-aws-service": draw.choice(("-", "DYNAMODB")),
        "tgw-src-az-id": draw.choice(("-", "use1-az1", "use1-az2")),
        "tgw-src-vpc-id": draw.choice(("vpc-1", "vpc-2")),
        "tgw-id": "tgw-1",
        "tgw-attachment-id": draw.choice(("tgw-attach-a", "tgw-attach-b", "tgw-attach-peer", "-")),
        "tgw-src-vpc-account-id": draw.choice(("222222222222", "-")),
    }
    return {name: str(word) for name, word in words.items()}


def damaged(draw: Draw, words: list[str]) -> list[str]:
    """Return the words of a line after some harm, which may be none."""
    if draw.random() < 0.4:
        for _ in range(draw.choice((1, 1, 2))):
            words[draw.randrange(len(words))] = draw.choice(_ODD)
    kind = draw.random()
    if kind < 0.02:
        return words[: draw.randrange(len(words))]
    if kind < 0.04:
        words.insert(draw.randrange(len(words) + 1), draw.choice(_ODD))
    elif kind < 0.05:
        return [draw.choice(_ODD) for _ in range(draw.randrange(40))]
    return words


def line(draw: Draw, fields: Sequence[str]) -> str:
    """Return one line in the given field order."""
    whole = row(draw)
    return " ".join(damaged(draw, [whole.get(name, "-") for name in fields]))


def columns(draw: Draw, fields: Sequence[str], rows: int) -> list[dict[str, str]]:
    """Return rows for Parquet: of every field a word, whatever harm it took."""
    found = []
    for _ in range(rows):
        whole = row(draw)
        words = [whole.get(name, "-") for name in fields]
        if draw.random() < 0.4:
            words[draw.randrange(len(words))] = draw.choice(_ODD)
        found.append(dict(zip(fields, words, strict=True)))
    return found


class Bytes:
    """Draws from the bytes of a fuzzer; zeros when they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def randrange(self, stop: int, /) -> int:
        width = max(1, math.ceil((stop - 1).bit_length() / 8))
        taken = self._data[self._place : self._place + width]
        self._place += width
        return int.from_bytes(taken) % stop

    def random(self) -> float:
        return self.randrange(256) / 256

    def choice(self, among: Sequence[T], /) -> T:
        return among[self.randrange(len(among))]
