"""Count every byte of every cgroup, and lose none: attach, drain, leave running.

The programs and their counters are pinned in a bpffs directory of ours, so counting goes on
while no agent process runs; a later `Capture.attach` on the same directories takes over, with
its own programs swapped in atomically.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from flowcost.agent.drained import Drained
from flowcost.agent.spool import Spool

DEFAULT_PINS = Path("/sys/fs/bpf/flowcost")


class Settings(Struct, frozen=True, kw_only=True):
    """What is fixed when the programs are loaded; a change takes effect at the next attach.

    Attributes:
        mtu: largest IP packet of the node's interfaces, in bytes; a bigger datagram is counted as
            the fragments it becomes.
        service_ranges: CIDR blocks of Service addresses (at most four IPv4 and two IPv6); the
            local port of a flow to one is kept, for the join with conntrack.
        flows: rows each of the IPv4 and IPv6 flow maps has room for between two drains.
        cgroups: rows of the overflow map.
        dns_bytes: size of the ring of DNS answers, a power of two.
    """

    mtu: int = 1500
    service_ranges: tuple[str, ...] = ()
    flows: int = 131_072
    cgroups: int = 4_096
    dns_bytes: int = 1 << 20


class DnsAnswer(Struct, frozen=True, gc=False):
    """One DNS message received from port 53 by a socket of `cgroup`; response bit set, no error.

    `message` is the message itself (over TCP without the length prefix), cut at 1408 bytes;
    `size` is its full size in the segment or datagram. Addresses are 16 bytes.
    """

    cgroup: int
    server: bytes
    client: bytes
    client_port: int
    transport: int
    size: int
    message: bytes


class Capture:
    """The kernel's counters of one node, held by one process.

    `cgroup` is the cgroup-v2 directory below which everything is counted: the root on a node.
    """

    @classmethod
    def attach(
        cls,
        cgroup: Path,
        spool: Spool,
        *,
        pins: Path | None = DEFAULT_PINS,
        settings: Settings | None = None,
    ) -> Capture:
        """Start counting, or take over from an earlier process, and finish what it left open.

        `pins` is a directory on a bpffs, made if its parent is there; None pins nothing, and
        counting then ends with the process. `flowcost.agent.probe` says beforehand what is
        missing.

        Raises:
            NotSupportedError: the kernel is too old, or `pins` is not on a bpffs.
            NotPermittedError: a capability is missing, or another program holds the cgroup.
        """
        raise NotImplementedError

    def drain(self) -> Drained | None:
        """Take everything counted since the last drain, durable in the spool when it returns.

        Returns None, and writes nothing, if no packet was counted. Call it every few seconds; at
        most ten, so that conntrack still knows connections that were reset.

        Raises:
            NotPermittedError: the spool cannot be written; the counters stay in the kernel.
        """
        raise NotImplementedError

    def dns_answers(self) -> Iterator[DnsAnswer]:
        """Yield, and forget, the DNS answers captured since the last call, oldest first."""
        raise NotImplementedError

    def kernel_bytes(self) -> int:
        """Return the memory of the maps in bytes, which is the kernel's and not this process's."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go; with pins the kernel keeps counting for the next process."""
        raise NotImplementedError

    def detach(self) -> None:
        """Stop counting and remove every pin; drain first, or what is counted is gone."""
        raise NotImplementedError
