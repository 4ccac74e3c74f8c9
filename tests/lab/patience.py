"""How long the server may take from a drain to what it tells."""

import os
import time

WITHIN_S = 30


def half_a_minute():
    """Return its end; where more work waits than there are processors, it lasts longer so much."""
    return time.monotonic() + WITHIN_S * max(1, os.getloadavg()[0] / os.cpu_count())
