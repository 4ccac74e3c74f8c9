"""Can this machine count, and if not, what does it need? Asked of the kernel, not of its version.

Each check tries the thing itself where that changes nothing: it makes a map, has the shipped
programs verified, links them to the cgroup for an instant (they pass every packet).
"""

from __future__ import annotations

import os
import platform
import resource
import sys
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from flowcost.agent import bpf_syscall as bpf
from flowcost.agent import host, loader
from flowcost.agent.capture import DEFAULT_PINS
from flowcost.agent.programs import Settings, attach_links, load_programs

FLOOR = (5, 8)


class Status(StrEnum):
    """What a check found."""

    AVAILABLE = "available"
    LIMITED = "limited"
    MISSING = "missing"


class Check(Struct, frozen=True):
    """One answer: `words` say what is there or what is needed."""

    name: str
    status: Status
    words: str


def checks(cgroup: Path | None = None, pins: Path = DEFAULT_PINS) -> list[Check]:
    """Return the answers for counting below `cgroup` (the v2 root if None), most basic first.

    The list ends with the first of machine, kernel and bpf that is missing: the rest follows.
    """
    table = host.mounts()
    found = [_machine(), _kernel()]
    if all(check.status is not Status.MISSING for check in found):
        found += [_capabilities(), _call()]
    if any(check.status is Status.MISSING for check in (found[0], found[-1])):
        return found
    root, hybrid = host.cgroup_root(table)
    found += [_cgroup(root, hybrid), _programs(cgroup or root), _pins(pins, table)]
    return found


def missing(found: list[Check]) -> str:
    """Return the first missing thing in one line; empty if the machine can count."""
    for check in found:
        if check.status is Status.MISSING:
            return f"{check.name}: {check.words}"
    return ""


def _machine() -> Check:
    name = platform.machine()
    if sys.platform != "linux":
        return Check("machine", Status.MISSING, f"needs Linux, this is {sys.platform}")
    if name not in bpf.NUMBERS or sys.byteorder != "little":
        return Check("machine", Status.MISSING, f"needs one of {', '.join(bpf.NUMBERS)}: {name}")
    return Check("machine", Status.AVAILABLE, name)


def _kernel() -> Check:
    version = host.kernel()
    if version < FLOOR:
        return Check(
            "kernel", Status.MISSING, f"needs kernel 5.8 or newer, this is {platform.release()}"
        )
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if version < (5, 11) and limit != resource.RLIM_INFINITY:
        return Check(
            "kernel",
            Status.LIMITED,
            f"{platform.release()}: maps count against RLIMIT_MEMLOCK before 5.11; "
            f"raise it from {limit} bytes to unlimited",
        )
    return Check("kernel", Status.AVAILABLE, platform.release())


def _capabilities() -> Check:
    held = host.capabilities()
    needed = {"CAP_BPF", "CAP_NET_ADMIN"}
    lacking = needed - held - ({"CAP_BPF"} if "CAP_SYS_ADMIN" in held else set())
    if lacking:
        return Check("capabilities", Status.MISSING, f"needs {' and '.join(sorted(lacking))}")
    if not held & {"CAP_PERFMON", "CAP_SYS_ADMIN"}:
        return Check(
            "capabilities",
            Status.AVAILABLE,
            "CAP_BPF and CAP_NET_ADMIN; with CAP_PERFMON too the kernel leaves out speculation "
            "barriers, and a packet costs some 40 ns less",
        )
    return Check("capabilities", Status.AVAILABLE, " and ".join(sorted(needed)))


def _call() -> Check:
    try:
        os.close(bpf.map_create(bpf.RING, 0, 0, os.sysconf("SC_PAGESIZE"), name="fc_probe"))
    except OSError as error:
        return Check("bpf", Status.MISSING, f"the kernel refuses to make a map: {error.strerror}")
    return Check("bpf", Status.AVAILABLE, "maps and ring buffers can be made")


def _cgroup(root: Path | None, hybrid: bool) -> Check:  # noqa: FBT001 - a found fact
    if root is None:
        return Check("cgroup", Status.MISSING, "needs cgroup v2, which is not mounted")
    if hybrid:
        return Check(
            "cgroup",
            Status.LIMITED,
            f"v2 at {root}, but this node is cgroup-v1 hybrid: pods may live in v1 only, and are "
            "then told apart by address; hostNetwork pods are not",
        )
    return Check("cgroup", Status.AVAILABLE, f"v2 at {root}")


def _programs(cgroup: Path | None) -> Check:
    source = loader.packaged_object()
    small = Settings(flows=16, cgroups=16, dns_bytes=os.sysconf("SC_PAGESIZE"))
    held: list[int] = []
    step = "verify"
    try:
        maps = loader.create_maps(small.sized(loader.shapes(source)))
        held += maps.values()
        programs = load_programs(source, maps, small)
        held += programs.values()
        if cgroup is not None:
            step = f"attach to {cgroup}"
            held += attach_links(cgroup, programs, None).values()
    except OSError as error:
        return Check("programs", Status.MISSING, f"the kernel refuses to {step}: {error.strerror}")
    finally:
        for descriptor in held:
            os.close(descriptor)
    return Check("programs", Status.AVAILABLE, "verified and attached for an instant")


def _pins(pins: Path, table: list[host.Mount]) -> Check:
    if host.filesystem(pins, table) != "bpf":
        return Check(
            "pins",
            Status.MISSING,
            f"needs a bpffs at {pins}: mount -t bpf bpf {DEFAULT_PINS.parent}",
        )
    return Check("pins", Status.AVAILABLE, str(pins))
