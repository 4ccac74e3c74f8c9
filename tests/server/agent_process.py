"""A node's posting half as a process: drains stand in its spool, the real outbox and poster.

    python -m tests.server.agent_process FOLDER URL NODE HOUR

Every file `spool/N.seg` is a drain; it becomes a segment whose content follows from N alone, and
goes when the segment is in the outbox. The process ends when the server has taken everything.
"""

import sys
import time
from datetime import datetime
from pathlib import Path

from flowcost.agent.endpoint import Endpoint
from flowcost.agent.outbox import Outbox
from flowcost.agent.poster import Poster
from flowcost.model import Direction
from tests.server.posting import flow, posted


def flows(node, number):
    """Return what drain `number` of a node holds."""
    here, there = ("cart", "checkout") if node == "node-a" else ("checkout", "cart")
    size = 1000 * (number + 1)
    sent, received = (size, size // 10) if node == "node-a" else (size // 10, size)
    return [
        flow(here, there, Direction.TRANSMIT, sent),
        flow(here, there, Direction.RECEIVE, received),
    ]


def main(folder, url, node, hour):
    spool = folder / "spool"
    outbox = Outbox(spool / "outbox", spool, epoch=time.time_ns(), limit_bytes=1 << 30)
    poster = Poster(outbox, Endpoint(url, what="server", timeout_s=20), jitter=lambda: 0.0)
    poster.start()
    for source in sorted(spool.glob("*.seg")):
        number = int(source.stem)
        one = posted(
            node,
            outbox.next_sequence(),
            flows(node, number),
            at=number,
            seconds=1,
            hour=hour,
            epoch=outbox.epoch,
        )
        replacement = outbox.replacing(source)
        replacement.stage(one)
        replacement.commit()
        poster.wake()
        time.sleep(0.05)
    while len(outbox):
        poster.wake()
        time.sleep(0.1)
    poster.close(5)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], datetime.fromisoformat(sys.argv[4]))
