"""Lines of a flow log, most of them whole, some damaged in ways that damage happens."""

from __future__ import annotations

import random

from tests.sources.logs import NOON, ROW

NAMES = list(ROW)
_ODD = (
    *("-", "", "0", "-1", "+7", "007", "1.5", "1e3", "NaN", "x", "OK", "ok", "256", "65536"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808"),
    *("70368744177664", "70368744177665", "4611686018427387904", "1262303999", "4102444800"),
    *("NODATA", "SKIPDATA", "REJECT", "::1", "10.0.0.256", "10.0.0", "010.0.0.1"),
    *("fe80::1%eth0", "2001:db8::1", "::ffff:10.0.0.1", "é", '"', "'", "\\", "\t", "#"),
)
_KEPT = ("flow-direction", "instance-id", "interface-id")  # what the reference takes as given


def line(draw: random.Random) -> str:
    """Return one line in the field order `NAMES`."""
    start = NOON + draw.randrange(7200)
    egress = draw.random() < 0.5
    row = {
        **ROW,
        "srcaddr": f"10.0.{draw.randrange(4)}.{draw.randrange(256)}",
        "dstaddr": f"10.1.{draw.randrange(4)}.{draw.randrange(256)}",
        "bytes": draw.choice((0, 40, 1500, draw.randrange(1 << 40))),
        "start": start,
        "end": start + draw.choice((0, 1, 59, 60, 600, 3600, 7300, 86_400, 86_401)),
        "flow-direction": "egress" if egress else "ingress",
        "traffic-path": draw.choice((None, 1, 8)),
    }
    words = ["-" if row[name] is None else str(row[name]) for name in NAMES]
    if draw.random() < 0.4:
        for _ in range(draw.choice((1, 1, 2))):
            place = draw.randrange(len(NAMES))
            if NAMES[place] not in _KEPT:
                words[place] = draw.choice(_ODD)
    kind = draw.random()
    if kind < 0.02:
        words = words[: draw.randrange(len(words))]
    elif kind < 0.04:
        words.insert(draw.randrange(len(words)), draw.choice(_ODD))
    elif kind < 0.05:
        words = [draw.choice(_ODD) for _ in range(draw.randrange(40))]
    return " ".join(words)
