"""What this machine has: mounts, cgroup layout, kernel release, boot id, capabilities."""

from __future__ import annotations

import fcntl
import platform
import re
import socket
import struct
from pathlib import Path
from typing import NamedTuple

_SIOCGIFMTU = 0x8921  # linux/sockios.h

# linux/capability.h
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}


class Mount(NamedTuple):
    """One line of proc(5) mountinfo, as far as it is used."""

    point: Path
    type: str


def mounts(text: str | None = None) -> list[Mount]:
    """Return this process's mounts in mount order; `text` is a mountinfo to read instead."""
    lines = (
        Path("/proc/self/mountinfo").read_text(encoding="utf-8") if text is None else text
    ).splitlines()
    found = []
    for line in lines:
        left, _, right = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), left.split()[4])
        found.append(Mount(Path(point), right.split()[0]))
    return found


def filesystem(path: Path, table: list[Mount]) -> str:
    """Return the type of the file system that `path` (or its nearest parent) lies on."""
    best = Mount(Path("/"), "")
    for mount in table:
        if path.is_relative_to(mount.point) and len(mount.point.parts) >= len(best.point.parts):
            best = mount
    return best.type


def cgroup_root(table: list[Mount]) -> tuple[Path | None, bool]:
    """Return where cgroup v2 is mounted, and whether v1 hierarchies stand beside it (hybrid).

    On a hybrid node runtimes put containers into the v1 hierarchies, so every socket belongs to
    the v2 root: bytes are counted, but pods are told apart by address only.
    """
    root = next((mount.point for mount in table if mount.type == "cgroup2"), None)
    return root, any(mount.type == "cgroup" for mount in table)


def kernel() -> tuple[int, int]:
    """Return the running kernel's major and minor version."""
    major, minor = re.match(r"(\d+)\.(\d+)", platform.release()).groups()  # type: ignore[union-attr]
    return int(major), int(minor)


def boot_id() -> str:
    """Return the id the kernel drew at boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def capabilities() -> set[str]:
    """Return the names, of those the agent could use, that are in effect for this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = int(re.search(r"^CapEff:\s+(\w+)$", status, re.MULTILINE)[1], 16)  # type: ignore[index]
    return {name for name, bit in CAPABILITIES.items() if effective >> bit & 1}


def uplink_mtu() -> int:
    """Return the MTU of the default route's interface, in this network namespace; 1500 if none.

    An IPv4 route is asked for first (proc(5) net/route: a destination and a mask of zero).
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            request = struct.pack("16s16x", _uplink().encode())
            answer = fcntl.ioctl(any_socket, _SIOCGIFMTU, request)
    except OSError:
        return 1500
    (mtu,) = struct.unpack_from("<i", answer, 16)
    return int(mtu)


def _uplink() -> str:
    for line in _net("route")[1:]:
        name, destination, _, _, _, _, _, mask, *_ = line.split()
        if destination == mask == "00000000":
            return name
    for line in _net("ipv6_route"):
        fields = line.split()
        if fields[1] == "00" and fields[9] != "lo":
            return fields[9]
    return ""


def _net(name: str) -> list[str]:
    # Of this thread: /proc/net is the main thread's namespace.
    try:
        text = Path("/proc/thread-self/net", name).read_text(encoding="ascii")
    except OSError:
        return []
    return text.splitlines()
