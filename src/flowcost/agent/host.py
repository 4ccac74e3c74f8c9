"""What this machine has: mounts, cgroup layout, kernel release, boot id, capabilities."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import NamedTuple

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
