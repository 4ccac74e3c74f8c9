"""The two programs: their settings, and their links to the cgroup."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from flowcost.address import V4_MAPPED, family, network
from flowcost.agent import bpf_syscall as bpf
from flowcost.agent import loader
from flowcost.agent.elf import Object
from flowcost.errors import FlowcostError, NotPermittedError, NotSupportedError, UsageError

ATTACH = {"egress": bpf.EGRESS, "ingress": bpf.INGRESS}
_RANGES = {4: 4, 6: 2}  # as many as bpf/flow.bpf.c compares


class Settings(Struct, frozen=True, kw_only=True):
    """What is fixed when the programs are loaded; a change takes effect at the next attach.

    Attributes:
        mtu: largest IP packet of the node's uplink, in bytes; a bigger datagram is counted as the
            fragments it becomes (`node.mtu` asks the interface of the default route).
        service_ranges: CIDR blocks of Service addresses (at most four IPv4 and two IPv6); the
            local port of a flow to one is kept, for the join with conntrack.
        flows: rows each of the IPv4 and IPv6 flow maps has room for between two drains.
        cgroups: rows of the overflow map.
        dns_bytes: size of the ring of DNS answers, a power of two of at least one page.
    """

    mtu: int = 1500
    service_ranges: tuple[str, ...] = ()
    flows: int = 131_072
    cgroups: int = 4_096
    dns_bytes: int = 1 << 20

    def sized(self, shapes: Mapping[str, loader.Shape]) -> dict[str, loader.Shape]:
        """Return the map definitions with their rows."""
        rows = {"flows4": self.flows, "flows6": self.flows, "overflow": self.cgroups}

        def size(name: str, shape: loader.Shape) -> loader.Shape:
            if shape.type == bpf.HASH:
                return shape._replace(max_entries=rows[name.rpartition("_")[0]])
            return shape._replace(max_entries=self.dns_bytes) if shape.type == bpf.RING else shape

        return {name: size(name, shape) for name, shape in shapes.items()}

    def symbols(self) -> dict[str, bytes]:
        """Return the bytes of the object's settings, by symbol.

        Raises:
            UsageError: a range is no CIDR block, or there are too many.
        """
        blocks: dict[int, list[bytes]] = {4: [], 6: []}
        for text in self.service_ranges:
            try:
                first, last = network(text)
            except ValueError as error:
                raise UsageError(f"service range: {error}") from None
            mask = bytes(~(a ^ b) & 0xFF for a, b in zip(first, last, strict=True))
            version = family(first)
            start = len(V4_MAPPED) if version == 4 else 0
            blocks[version].append(first[start:] + mask[start:])
        for version, limit in _RANGES.items():
            if len(blocks[version]) > limit:
                raise UsageError(
                    f"{len(blocks[version])} IPv{version} service ranges, at most {limit}",
                    hint="Name the block that holds them all.",
                )
            width = 4 if version == 4 else 16
            no_range = bytes(2 * width)
            blocks[version] += [no_range] * (limit - len(blocks[version]))
        return {
            "mtu": struct.pack("<I", self.mtu),
            "service4": b"".join(blocks[4]),
            "service6": b"".join(blocks[6]),
        }


def load_programs(source: Object, maps: Mapping[str, int], settings: Settings) -> dict[str, int]:
    """Return the descriptors of the verified programs by direction.

    Raises:
        OSError: the kernel refused.
    """
    rodata = loader.settings_map(source, settings.symbols())
    try:
        return {
            name: loader.load(
                source, f"cgroup_skb/{name}", maps, rodata, kind=bpf.CGROUP_SKB, attach=attach
            )
            for name, attach in ATTACH.items()
        }
    finally:
        os.close(rodata)


def attach_links(cgroup: Path, programs: Mapping[str, int], pins: Path | None) -> dict[str, int]:
    """Return links by direction: the pinned one with its program replaced, or a new one.

    A pinned link of another cgroup, or of one that is gone, is removed first.

    Raises:
        OSError: the kernel refused.
    """
    target = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return {
            name: _link(program, target, ATTACH[name], pins / f"link_{name}" if pins else None)
            for name, program in programs.items()
        }
    finally:
        os.close(target)


def _link(program: int, target: int, attach_type: int, pin: Path | None) -> int:
    if pin is not None and pin.exists():
        link = bpf.pinned(str(pin))
        if bpf.link_cgroup(link) == os.fstat(target).st_ino:
            try:
                bpf.link_update(link, program)
            except OSError as error:
                if error.errno != errno.ENOLINK:
                    raise
            else:
                return link
        pin.unlink()
        os.close(link)
    link = bpf.link_create(program, target, attach_type)
    if pin is not None:
        bpf.pin(link, str(pin))
    return link


def detach_links(links: dict[str, int], pins: Path | None) -> None:
    """Remove the links and their pins: the programs run no more."""
    for name, link in links.items():
        if pins is not None:
            (pins / f"link_{name}").unlink(missing_ok=True)
        os.close(link)
    links.clear()


def refused(error: OSError, cgroup: Path) -> FlowcostError:
    """Return the operator's words for a refusal of the kernel."""
    # A refusal of the verifier is EACCES or EINVAL; a missing right is EPERM.
    if error.errno == errno.EPERM:
        return NotPermittedError(
            f"the kernel refused to count at {cgroup}: {error.strerror}",
            hint="The agent needs CAP_BPF and CAP_NET_ADMIN; `flowcost doctor` names what is "
            "missing. With both, another program holds this cgroup without sharing it.",
        )
    return NotSupportedError(
        f"the kernel cannot count at {cgroup}: {error.strerror or error}",
        hint="Linux 5.8 or newer with cgroup v2 is needed; `flowcost doctor` says what is missing.",
    )
