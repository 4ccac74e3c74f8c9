"""The process: one socket, one event loop, threads behind it, and an orderly end.

At SIGTERM it stops accepting, lets requests in flight finish, then stops what runs behind them;
what was acknowledged is durable at any instant, so nothing else is needed.
"""

from __future__ import annotations

import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from flowcost.errors import NotPermittedError
from flowcost.server.settings import Server

KEEP_ALIVE_S = 75  # agents post every few seconds, on one connection

# Seconds a thread may keep the interpreter from others. A thread that answers must get it back
# after each of its system calls, and the live pipeline computes for seconds on end.
SWITCH_S = 0.0005

LOG = logging.getLogger("flowcost.server")


def listen(settings: Server) -> socket.socket:
    """Return a listening socket.

    Raises:
        NotPermittedError: the address is taken, or not ours.
    """
    host, port = settings.address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise NotPermittedError(
            f"{settings.listen}: {error.strerror}",
            hint="another server may listen there; choose with --listen",
        ) from None


def url(settings: Server, sock: socket.socket) -> str:
    """Return where the server answers."""
    host, port = sock.getsockname()[:2]
    scheme = "https" if settings.tls.certificate else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def run(application: ASGIApp, settings: Server, sock: socket.socket) -> None:
    """Serve until a signal ends it."""
    sys.setswitchinterval(SWITCH_S)
    tls = settings.tls
    loop = uvicorn.Config(
        application,
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        server_header=False,
        proxy_headers=False,  # who sends is who connects; `[access.proxy]` decides whom to believe
        timeout_graceful_shutdown=int(settings.drain.total_seconds()),
        ssl_certfile=tls.certificate,
        ssl_keyfile=tls.key,
    )
    with _ends_quietly(), sock:
        LOG.info("serving on %s", url(settings, sock))
        uvicorn.Server(loop).run(sockets=[sock])
    LOG.info("drained and stopped")


@contextmanager
def _ends_quietly() -> Iterator[None]:
    """Let uvicorn raise a signal again after its orderly end without ending the process by it."""
    before = {
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
