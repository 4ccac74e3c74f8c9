"""A second reader of text flow logs, one line at a time in plain Python, to check the first by.

It knows interface rows with a direction, which is what the line fuzzer writes; its words are the
record's documentation, not the reader's queries.
"""

from __future__ import annotations

import re
from collections import Counter

from flowcost.address import pack
from flowcost.sources.report import Fate

_INTEGER = re.compile(r"[+-]?[0-9]+")
_LIMITS = {"packets": 1 << 46, "srcport": 65_535, "dstport": 65_535, "protocol": 255,
           "traffic-path": 255}  # fmt: skip
HOUR = 3600
EARLIEST, LATEST = 1_262_304_000, 4_102_444_800


def _integer(text: str) -> int | None:
    if _INTEGER.fullmatch(text) is None:
        return None
    value = int(text)
    return value if -(1 << 63) <= value < 1 << 63 else None


def _valid_address(text: str) -> bool:
    try:
        pack(text)
    except ValueError:
        return False
    return True


def fate_of(line: str, names: list[str]) -> tuple[Fate, dict[str, str]]:
    """Return what must become of one line, and its fields."""
    words = line.split(" ")
    if len(words) < len(names) or words[len(names) - 1] == "":
        return Fate.BROKEN, {}
    if words[len(names) :][:1] not in ([], [""]):  # a blank after the last field does no harm
        return Fate.BROKEN, {}
    row = dict(zip(names, words, strict=False))
    if row["log-status"] in ("NODATA", "SKIPDATA"):
        return Fate(row["log-status"].lower()), row
    if row["log-status"] != "OK" or row["action"] not in ("ACCEPT", "REJECT"):
        return Fate.BROKEN, row
    start, end, size = (_integer(row[name]) for name in ("start", "end", "bytes"))
    if start is None or end is None or size is None:
        return Fate.BROKEN, row
    if not (EARLIEST <= start <= end < LATEST and end - start <= 86_400):
        return Fate.BROKEN, row
    if not 0 <= size <= 1 << 46 or "-" in (row["srcaddr"], row["dstaddr"]):
        return Fate.BROKEN, row
    for name, most in _LIMITS.items():
        if not 0 <= (_integer(row[name]) or 0) <= most:
            return Fate.BROKEN, row
    if row["action"] == "REJECT":
        return Fate.REJECT, row
    ends = [
        row[packet] if row[packet] != "-" else row[logged]
        for packet, logged in (("pkt-srcaddr", "srcaddr"), ("pkt-dstaddr", "dstaddr"))
    ]
    if not all(map(_valid_address, ends)):
        return Fate.BROKEN, row
    return Fate.BOOKED, row


def expected(lines: list[str], names: list[str]) -> tuple[Counter[Fate], Counter[tuple[int, str]]]:
    """Return lines by fate, and booked bytes by (hour, direction)."""
    fates: Counter[Fate] = Counter()
    sizes: Counter[tuple[int, str]] = Counter()
    for line in lines:
        fate, row = fate_of(line, names)
        fates[fate] += 1
        if fate is Fate.BOOKED:
            direction = "transmit" if row["flow-direction"] == "egress" else "receive"
            start, end = int(row["start"]), int(row["end"])
            size, seconds = int(row["bytes"]), max(end - start, 1)
            for hour in range(start // HOUR * HOUR, max(end, start + 1), HOUR):
                upto = min(hour + HOUR - start, seconds)
                since = max(hour - start, 0)
                sizes[hour, direction] += size * upto // seconds - size * since // seconds
    return fates, sizes
