"""Count every byte of every cgroup, and lose none: attach, drain, leave running.

The programs and their counters are pinned in a bpffs directory of ours, so counting goes on
while no agent process runs; a later `Capture.attach` on the same directories takes over, with
its own programs swapped in atomically.

A drain has five steps, and a crash after any of them is finished by the next attach:

1. point the programs at the other maps, and wait until no program uses the first;
2. read those, which nobody writes now, and write them to the spool, state `.open`;
3. delete the rows read; 4. write the next sequence number; 5. the segment becomes `.seg`.

Rows without an `.open` segment have not been spooled; with one, they only remain to be deleted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from flowcost import clock
from flowcost.agent import bpf_syscall as bpf
from flowcost.agent import host, loader
from flowcost.agent.drained import Drained, Table
from flowcost.agent.generation import Generation, layout_of
from flowcost.agent.hot import busiest
from flowcost.agent.programs import Settings, attach_links, detach_links, load_programs, refused
from flowcost.agent.ring import DnsAnswer, Ring
from flowcost.agent.spool import Spool
from flowcost.errors import NotPermittedError, NotSupportedError

__all__ = ["DEFAULT_PINS", "Capture", "DnsAnswer", "Settings"]

DEFAULT_PINS = Path("/sys/fs/bpf/flowcost")


class Capture:
    """The kernel's counters of one node, held by one process.

    `programs` are the descriptors of the loaded programs by name, for statistics.
    """

    def __init__(
        self,
        spool: Spool,
        generation: Generation,
        programs: dict[str, int],
        links: dict[str, int],
        pins: Path | None,
    ) -> None:
        self.spool, self.programs = spool, programs
        self._generation, self._links, self._pins = generation, links, pins
        self.settings = Settings()
        self._busy: list[bytes] = []
        self._boot = host.boot_id()
        answers = generation.maps["answers"]
        self._ring = Ring(answers, bpf.map_info(answers).max_entries)

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

        `cgroup` is the cgroup-v2 directory below which everything is counted: the root on a
        node. `pins` is a directory on a bpffs, made if its parent is there; None pins nothing,
        and counting then ends with the process. `flowcost.agent.probe` says beforehand what is
        missing. Segments of what was counted meanwhile are in `spool.pending()` afterwards.

        Raises:
            NotSupportedError: the kernel is too old, or `pins` is not on a bpffs.
            NotPermittedError: a capability is missing, or another program holds the cgroup.
        """
        settings = settings or Settings()
        if pins is not None:
            _make_private(pins)
        source = loader.packaged_object()
        shapes = settings.sized(loader.shapes(source))
        try:
            earlier = _generations(pins)
            same = [old for old in earlier if old.layout == layout_of(shapes)]
            if same:
                generation = same[-1]
            else:
                now = clock.now()
                generation = Generation.create(
                    shapes,
                    epoch=_nanoseconds(now.timestamp()),
                    start=_microseconds(now.timestamp()),
                    parent=pins,
                )
            programs = load_programs(source, generation.maps, settings)
            links = attach_links(cgroup, programs, pins)
        except OSError as error:
            raise refused(error, cgroup) from error
        capture = cls(spool, generation, programs, links, pins)
        capture.settings = settings
        capture._finish([old for old in earlier if old is not generation])
        return capture

    def adjust(self, settings: Settings) -> None:
        """Go on counting with another packet size or other Service ranges; no packet is missed.

        Map sizes stay as they are until the next attach.

        Raises:
            NotSupportedError, NotPermittedError: the kernel refused; counting goes on as before.
        """
        source = loader.packaged_object()
        try:
            programs = load_programs(source, self._generation.maps, settings)
            for name, program in programs.items():
                bpf.link_update(self._links[name], program)
        except OSError as error:
            raise refused(error, Path("its cgroup")) from error
        for program in self.programs.values():
            os.close(program)
        self.programs, self.settings = programs, settings

    def drain(self) -> Drained | None:
        """Take everything counted since the last drain, durable in the spool when it returns.

        Returns None, and writes nothing, if no packet was counted. Call it every few seconds; at
        most ten, so that conntrack still knows connections that were reset.

        Raises:
            NotPermittedError: the spool cannot be written; the counters stay in the kernel.
        """
        left = self._take(self._generation)
        if left is not None:
            return left
        self._generation.expect(self._busy)
        self._generation.flip()
        drained = self._take(self._generation)
        self._busy = busiest(drained.flows4) if drained else []
        return drained

    def dns_answers(self) -> Iterator[DnsAnswer]:
        """Yield, and forget, the DNS answers captured since the last call, oldest first."""
        return self._ring.answers()

    def kernel_bytes(self) -> int:
        """Return the memory of the maps in bytes, which is the kernel's and not this process's."""
        return self._generation.kernel_bytes()

    def close(self) -> None:
        """Let go; with pins the kernel keeps counting for the next process."""
        self._ring.close()
        self._generation.close()
        for descriptor in (*self.programs.values(), *self._links.values()):
            os.close(descriptor)

    def detach(self) -> None:
        """Stop counting and remove every pin; what was counted is drained to the spool first."""
        detach_links(self._links, self._pins)
        for _ in range(2):
            self.drain()
        self.close()
        if self._generation.directory is not None and self._pins is not None:
            self._generation.remove()
            self._pins.rmdir()

    def _finish(self, earlier: list[Generation]) -> None:
        """Settle what a crash left open, and empty generations that no program counts into."""
        everything = {old.epoch: old for old in (*earlier, self._generation)}
        for path, left in self.spool.open_segments():
            owner = everything.get(left.epoch) if left.boot == self._boot else None
            # A lower number than the next was written after its rows had been deleted.
            if owner is not None and owner.sequence == left.sequence:
                owner.forget()
                owner.note(left)
            self.spool.settle(path)
        self._take(self._generation)
        for old in earlier:
            self._take(old)
            # Programs that began before the links were changed have ended when the first flip
            # returns; what they counted during it is in the other map.
            for _ in range(2):
                old.flip()
                self._take(old)
            old.remove()

    def _take(self, generation: Generation) -> Drained | None:
        """Move the rows of the quiet maps to the spool."""
        now = _microseconds(clock.now().timestamp())
        tables, hot = generation.read(), generation.expected()
        if not any(len(table) for table in (*tables, hot)):
            return None
        drained = Drained(
            boot=self._boot,
            epoch=generation.epoch,
            sequence=generation.sequence,
            window_start=min(generation.window_start, now),
            window_end=now,
            flows4=Table(tables[0].keys + hot.keys, tables[0].values + hot.values),
            flows6=tables[1],
            overflow=tables[2],
            lost=generation.lost(),
            lost_before=generation.lost_before,
        )
        path = self.spool.write(drained)
        generation.forget(tables)
        generation.note(drained)
        self.spool.settle(path)
        return drained


def _generations(pins: Path | None) -> list[Generation]:
    """Return the generations pinned, oldest first."""
    if pins is None:
        return []
    found = [Generation.found(path) for path in pins.iterdir() if path.is_dir()]
    return sorted((one for one in found if one is not None), key=lambda one: one.epoch)


def _make_private(pins: Path) -> None:
    if host.filesystem(pins, host.mounts()) != "bpf":
        raise NotSupportedError(
            f"{pins} is not on a bpffs, so counting would end with the agent",
            hint="Mount one (mount -t bpf bpf /sys/fs/bpf) or name a directory on one.",
        )
    try:
        pins.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise NotPermittedError(
            f"pins {pins}: {error.strerror}", hint="Name a directory whose parent is there."
        ) from None


def _microseconds(seconds: float) -> int:
    return int(seconds * 1_000_000)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000) * 1000
