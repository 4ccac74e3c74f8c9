"""A line: who sent how much to whom, by which path, at which price."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from flowcost.model import Direction, Identity, Path, Verdict

OVERFLOW = Verdict(
    path=Path.UNKNOWN,
    rule="agent.overflow",
    evidence=("the kernel's flow map was full; bytes are known by cgroup only",),
    priced=False,
)
LOST = Verdict(
    path=Path.UNKNOWN,
    rule="agent.lost",
    evidence=("both kernel maps were full; bytes are known for the node only",),
    priced=False,
)


class Line(Struct, frozen=True, gc=False):
    """One attributed sum. `dialed` is `namespace/service`, `name` a DNS name, empty if none.

    `cost` is a numerator over `money.ONE` at the marginal rate; `unpriced_bytes` are those of
    `bytes` that some meter, or the verdict itself, had no price for.
    """

    local: Identity
    remote: Identity
    dialed: str
    name: str
    direction: Direction
    verdict: Verdict
    bytes: int
    packets: int
    cost: int
    unpriced_bytes: int


def bare(
    local: Identity, verdict: Verdict, sent: tuple[int, int], received: tuple[int, int]
) -> Iterator[Line]:
    """Yield the lines of (bytes, packets) that are known without their far end."""
    nobody = Identity()
    for direction, (size, packets) in (
        (Direction.TRANSMIT, sent),
        (Direction.RECEIVE, received),
    ):
        if packets:
            yield Line(local, nobody, "", "", direction, verdict, size, packets, 0, size)
