"""A cgroup id becomes a pod: the path of its directory says which.

The id that BPF reports is the inode number of the cgroup directory (kernfs, 64-bit kernels). Ids
outlive their directory here: late packets of a dead pod still find their owner.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from msgspec import Struct

ROOT_ID = 1  # the cgroup-v2 root; also what control sockets (RST, ICMP errors) are charged to

_UID = r"[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32}"
_POD = re.compile(
    r"kubepods(?:[-/.][a-z]+)*[-/]pod"
    rf"(?P<uid>{_UID})(?:\.slice)?"
    r"(?:[/:](?:(?:cri-containerd|crio|docker|libpod)[-:])?(?P<container>[0-9a-f]{64})(?:\.scope)?)?"
)


class Owner(Struct, frozen=True):
    """Who a cgroup belongs to.

    `pod_uid` is empty for processes of the node itself; then `path` says which unit. A static
    pod's uid is its configuration hash (annotation `kubernetes.io/config.hash` of its mirror).
    """

    path: str
    pod_uid: str = ""
    container_id: str = ""


def owner_of(path: str) -> Owner:
    """Return who the cgroup at `path` (below the mount point) belongs to."""
    found = _POD.search(path)
    if not found:
        return Owner(path)
    return Owner(path, found["uid"].replace("_", "-"), found["container"] or "")


class Cgroups:
    """Cgroup id -> owner, below one directory; ids of removed cgroups are kept `keep_s` seconds.

    `now` arguments are monotonic seconds.
    """

    def __init__(self, root: Path, *, keep_s: float = 900.0, rescan_s: float = 1.0) -> None:
        self.root = root
        self.keep_s = keep_s
        self.rescan_s = rescan_s
        self._owners: dict[int, Owner] = {}
        self._last_seen: dict[int, float] = {}
        self._scanned_at = float("-inf")

    def __len__(self) -> int:
        return len(self._owners)

    def scan(self, now: float) -> None:
        """Read the tree again and forget what has been gone for longer than `keep_s`."""
        prefix = len(os.fspath(self.root))
        for directory in _directories(os.fspath(self.root)):
            path, inode = directory
            if inode not in self._owners or self._owners[inode].path != path[prefix:]:
                self._owners[inode] = owner_of(path[prefix:] or "/")
            self._last_seen[inode] = now
        self._scanned_at = now
        for inode in [i for i, seen in self._last_seen.items() if now - seen > self.keep_s]:
            del self._owners[inode], self._last_seen[inode]

    def owner(self, cgroup_id: int, now: float) -> Owner | None:
        """Return the owner of a cgroup id, scanning again if the id is new; None if unknown.

        A socket created before its cgroup was removed still reports the old id.
        """
        owner = self._owners.get(cgroup_id)
        if owner is None and now - self._scanned_at >= self.rescan_s:
            self.scan(now)
            owner = self._owners.get(cgroup_id)
        return owner


def _directories(root: str) -> list[tuple[str, int]]:
    """Return (path, inode) of a directory and everything below; removals on the way are normal."""
    try:
        found = [(root, os.stat(root).st_ino)]  # noqa: PTH116 - strings: ten thousand entries
    except FileNotFoundError:
        return []
    pending = [root]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        found.append((entry.path, entry.inode()))
                        pending.append(entry.path)
        except (FileNotFoundError, OSError):
            continue
    return found
