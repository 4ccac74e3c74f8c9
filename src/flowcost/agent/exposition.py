"""Prometheus text exposition format 0.0.4, written with exact numbers.

A sample's value is an integer or a decimal text, so bytes and dollars leave this process without
ever having been floats.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from msgspec import Struct

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
COUNTER, GAUGE = "counter", "gauge"

Labels = tuple[str, ...]
Sample = tuple[Labels, int | str]


class Family(Struct, frozen=True):
    """One metric: its name, type, what it says, its label names, and its samples.

    A sample's label values are in the order of `labels`. Counters are named `…_total`.
    """

    name: str
    type: str
    help: str
    labels: Labels
    samples: Iterable[Sample]


def render(families: Iterable[Family]) -> str:
    """Return the text of all families."""
    return "".join(_lines(families))


def _lines(families: Iterable[Family]) -> Iterator[str]:
    for family in families:
        yield f"# HELP {family.name} {_escaped(family.help)}\n"
        yield f"# TYPE {family.name} {family.type}\n"
        for values, value in family.samples:
            pairs = ",".join(
                f'{name}="{_escaped(text, quote=True)}"'
                for name, text in zip(family.labels, values, strict=True)
            )
            yield f"{family.name}{{{pairs}}} {value}\n" if pairs else f"{family.name} {value}\n"


def _escaped(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quote else text


class MetricsServer:
    """Serves `/metrics` and `/healthz` on its own thread until closed.

    `page` and `health` (is the agent doing its work, and what is to be said of it) are called from
    the server's thread.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        page: Callable[[], str],
        health: Callable[[], tuple[bool, str]],
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                if self.path.partition("?")[0] == "/metrics":
                    self._answer(200, CONTENT_TYPE, page())
                elif self.path == "/healthz":
                    fine, text = health()
                    self._answer(200 if fine else 503, "text/plain", text)
                else:
                    self._answer(404, "text/plain", "try /metrics\n")

            def _answer(self, status: int, kind: str, text: str) -> None:
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                """Scrapes are not news."""

        class Server(ThreadingHTTPServer):
            address_family = _family(listen[0])
            daemon_threads = True

        self._server = Server(listen, Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _family(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
