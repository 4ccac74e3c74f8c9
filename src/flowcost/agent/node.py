"""What the node itself tells: its name, its network's packet size, where it is."""

from __future__ import annotations

import fcntl
import logging
import platform
import socket
import struct
from pathlib import Path

from msgspec.structs import replace

from flowcost.agent import imds
from flowcost.agent.imds import Place
from flowcost.errors import FlowcostError

LOG = logging.getLogger("flowcost.agent")
SIOCGIFMTU = 0x8921  # linux/sockios.h
ETHERNET = 1500


def name() -> str:
    """Return the host name: what kubelet registers a node by, unless told otherwise."""
    return platform.node()


def mtu(routes: Path = Path("/proc/thread-self/net/route")) -> int:
    """Return the largest packet of the interface that holds the default route, in bytes.

    Where there is none, Ethernet's 1500.
    """
    try:
        rows = [line.split() for line in routes.read_text().splitlines()[1:]]
    except OSError:
        return ETHERNET
    device = next((row[0] for row in rows if len(row) > 7 and row[1] == row[7] == "00000000"), "")
    if not device:
        return ETHERNET
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket, SIOCGIFMTU, struct.pack("16si12x", device.encode(), 0))
        except OSError:
            return ETHERNET
    found: int = struct.unpack("16si12x", answer)[1]
    return found


def place(given: Place, *, ask: bool, endpoint: str = imds.ENDPOINT) -> Place:
    """Return where the node is: what is `given`, the rest from instance metadata if we may ask.

    Metadata that does not answer is said once and leaves the rest unknown.
    """
    known = all((given.provider, given.region, given.zone_id))
    if known or not ask:
        return given
    try:
        told = imds.place(endpoint)
    except FlowcostError as error:
        LOG.warning("%s", error)
        return given
    options = {field: getattr(given, field) for field in Place.__struct_fields__}
    return replace(told, **{field: value for field, value in options.items() if value})
