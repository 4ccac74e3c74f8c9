"""What a row is, and how its small facts are packed into one number.

`code` is part of the key that rows are grouped by: integers group several times faster than texts.
"""

from __future__ import annotations

from typing import Any

# What a row is before anyone asks whose it is.
FLOW, NODATA, SKIPDATA, REJECT, BROKEN, NO_BYTES = range(6)

# A record longer than a day or larger than 64 TiB is a broken one, not a flow: ten minutes of
# 800 Gbit/s are 55 TiB. The product of both fits in 63 bits, which keeps the split in integers.
LONGEST = 86_400
LARGEST = 1 << 46

# Where `code` keeps each small number: (first bit, bits).
CODE = {
    "kind": (0, 3),
    "translated": (3, 2),  # 1: the source differs from the packet's, 2: the destination does
    "protocol": (5, 8),
    "path": (13, 8),
    "port": (21, 17),  # the service's port times two, plus one where it is the source's
    "part": (38, 12),  # which of the files that are read together
}
MOST_PARTS = 1 << 12

# Linux hands out client ports from EPHEMERAL up (net.ipv4.ip_local_port_range); system ports
# (RFC 6335) are services' even against a NAT gateway's ports, which start at 1024.
EPHEMERAL = 32_768
SYSTEM = 1_024


def bits(name: str) -> str:
    """Return the expression that reads one small number out of `code`."""
    first, width = CODE[name]
    return f"((code >> {first}) & {(1 << width) - 1})"


def small(name: str, code: Any) -> Any:  # noqa: ANN401 - Arrow array
    """Return the column of one small number of the column `code`."""
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    first, width = CODE[name]
    moved = pc.shift_right(code, first) if first else code
    return pc.bit_wise_and(moved, (1 << width) - 1)
