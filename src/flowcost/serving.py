"""The server put together from its configuration."""

from __future__ import annotations

from flowcost.config import Config
from flowcost.ledger import Ledger
from flowcost.server import application, process


def serve(config: Config) -> None:
    """Run the server until a signal ends it.

    Raises:
        FlowcostError: it cannot start; what is in the way is named.
    """
    Ledger.open(config.ledger.path, create=True)
    sock = process.listen(config.server)
    process.run(application.build([]), config.server, sock)
