"""A long outage must not fill the disk: segments of one hour become one, and then a coarser one.

Merging sums flows with equal keys, so an hour of steady traffic takes little more than one drain
of it. Coarser means without ports and DNS names: rows fall together, no byte is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec.structs import replace

from flowcost.agent.outbox import Entry, Outbox
from flowcost.errors import SourceError
from flowcost.segment import MAX_FLOWS, Flow, Packer, Segment

RUN = 12  # neighbours of one hour that are worth a merge
GROWN = 256 << 10  # bytes on disk: a segment this large is left alone, unless space is short


def compact(outbox: Outbox, *, coarse: bool = False) -> int:
    """Merge neighbours of the same hour; return how many segments went into others.

    `coarse` gives up ports and names, and takes every segment, however few or large.

    Raises:
        NotPermittedError: the disk refuses.
    """
    with outbox.reserved() as entries:
        return sum(_merge_run(outbox, run, coarse=coarse) for run in _runs(entries, coarse=coarse))


def _runs(entries: Sequence[Entry], *, coarse: bool) -> Iterator[list[Entry]]:
    def kind(entry: Entry) -> tuple[int, bool]:
        return entry.start // 3600, not coarse and entry.size >= GROWN

    for (_, grown), group in groupby(entries, key=kind):
        run = list(group)
        if not grown and len(run) >= (1 if coarse else RUN):
            yield run


def _merge_run(outbox: Outbox, run: Sequence[Entry], *, coarse: bool) -> int:
    """Merge a run into as few segments as have room for it."""
    merged, taken = 0, Merger(coarse=coarse)
    for entry in run:
        try:
            read = outbox.read(entry)
        except SourceError:
            outbox.refused(entry)
            continue
        if not taken.fits(read):
            merged += taken.write(outbox)
            taken = Merger(coarse=coarse)
        taken.take(entry, read)
    return merged + taken.write(outbox)


class Merger:
    """Segments on their way to be one."""

    def __init__(self, *, coarse: bool) -> None:
        self._coarse = coarse
        self._segments: list[Segment] = []
        self._entries: list[Entry] = []
        self._sums: dict[Flow, list[int]] = {}

    def fits(self, other: Segment) -> bool:
        """Return whether `other` is of the same node and boot, and there is room for it."""
        if not self._segments:
            return True
        first = self._segments[0]
        same = (first.cluster, first.node, first.boot) == (other.cluster, other.node, other.boot)
        return same and len(self._sums) + len(other.flows) <= MAX_FLOWS

    def take(self, entry: Entry, other: Segment) -> None:
        """Add the flows of one segment."""
        self._entries.append(entry)
        for flow in other.flows:
            key = flow._replace(bytes=0, packets=0)
            if self._coarse:
                key = key._replace(local_port=0, remote_port=0, dns_name="")
            sums = self._sums.setdefault(key, [0, 0])
            sums[0] += flow.bytes
            sums[1] += flow.packets
        # Only what stands around the flows is still needed of it.
        self._segments.append(replace(other, flows=Packer().flows()))

    def write(self, outbox: Outbox) -> int:
        """Replace the segments by their sum, under the identity of the first; return how many."""
        if len(self._entries) < (1 if self._coarse else 2):
            return 0
        packer = Packer()
        for key, (size, packets) in self._sums.items():
            packer.add(key._replace(bytes=size, packets=packets))
        pods = {pod.uid: pod for one in self._segments for pod in one.pods}
        merged = replace(
            self._segments[0],
            window_start=min(one.window_start for one in self._segments),
            window_end=max(one.window_end for one in self._segments),
            counted_since=min(one.counted_since for one in self._segments),
            node_identity=self._segments[-1].node_identity,
            pods=tuple(pods.values()),
            flows=packer.flows(),
        )
        replacement = outbox.replacing(*map(outbox.path, self._entries))
        replacement.stage(merged)
        replacement.commit()
        return len(self._entries)
