"""An agent that reports what it may do and what it wrote. usage: confined.py CGROUP SPOOL PINS"""

import os
import sys
from pathlib import Path

from flowcost.agent import host
from flowcost.agent.capture import Capture, Settings
from flowcost.agent.spool import Spool

WRITES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.link")


def watch(event, arguments):
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, (str, bytes)) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            print("wrote", os.fsdecode(path))
    elif event in WRITES:
        print("wrote", os.fsdecode(arguments[0]))


def main(cgroup, spool, pins):
    sys.addaudithook(watch)
    print("holds", *sorted(host.capabilities()))
    settings = Settings(flows=64, cgroups=4, dns_bytes=1 << 16)
    for _ in range(2):
        held = Spool(Path(spool))
        capture = Capture.attach(Path(cgroup), held, pins=Path(pins), settings=settings)
        capture.drain()
        capture.close()
        held.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
