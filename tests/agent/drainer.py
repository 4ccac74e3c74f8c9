"""An agent to be killed: attaches, drains without pause, and dies where it is told to.

usage: drainer.py CGROUP SPOOL PINS FLOWS SERVICE_RANGE CRASH
CRASH is empty, or `<owner>.<function>:<n>`: exit, as by kill -9, right after its n-th call.
"""

import os
import sys
import time
from pathlib import Path

from flowcost.agent import bpf_syscall, capture, generation, programs, spool

OWNERS = {
    "bpf": bpf_syscall,
    "generation": generation.Generation,
    "spool": spool.Spool,
    "path": Path,
}


def die_after(owner, name, count):
    true = getattr(owner, name)
    calls = 0

    def wrapper(*args, **kwargs):
        nonlocal calls
        result = true(*args, **kwargs)
        calls += 1
        if calls == count:
            os._exit(9)
        return result

    setattr(owner, name, wrapper)


def main(cgroup, directory, pins, flows, service_range, crash):
    if crash:
        place, _, count = crash.partition(":")
        owner, _, name = place.partition(".")
        die_after(OWNERS[owner], name, int(count))
    held = spool.Spool(Path(directory))
    settings = programs.Settings(
        flows=int(flows), cgroups=64, dns_bytes=1 << 16, service_ranges=(service_range,)
    )
    running = capture.Capture.attach(Path(cgroup), held, pins=Path(pins), settings=settings)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        running.drain()
        time.sleep(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
