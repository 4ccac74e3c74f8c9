"""A small server that takes segments, and misbehaves as it is told."""

import contextlib
import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flowcost import segment
from flowcost.errors import SourceError

TOKEN = "s3cret-of-the-agent"


class Ingest:
    """What a server has taken: `segments` by identity, `posts` in order.

    `moods` are consumed one per request, "fine" when there are none left: a status code, a
    (status, headers) pair, "hang", "reset" (in the middle of the answer, the segment being
    durable), "refuse to answer", "lie" (200 without acknowledgement).
    """

    def __init__(self):
        self.segments, self.posts, self.moods, self.repeated = {}, [], [], 0
        self.lock = threading.Lock()
        self.most_flows = segment.MAX_FLOWS
        self.moods_of = {}
        self.hang_s = 1.0

    def flows(self):
        return [flow for one in self.segments.values() for flow in one.flows]

    def mood(self, identity):
        if identity in self.moods_of:
            return self.moods_of[identity]
        return self.moods.pop(0) if self.moods else "fine"

    def take(self, handler, body):
        assert handler.headers["Content-Encoding"] == "deflate"
        assert handler.headers["Content-Type"] == segment.CONTENT_TYPE
        if handler.headers["Authorization"] != f"Bearer {TOKEN}":
            return handler.answer(401)
        try:
            posted = segment.decode(segment.inflate(body, "post"), "post")
        except SourceError as error:
            return handler.answer(422, str(error).encode())
        identity = (posted.cluster, posted.node, posted.boot, posted.epoch, posted.sequence)
        mood = self.mood((posted.epoch, posted.sequence))
        self.posts.append((posted.epoch, posted.sequence))
        if mood == "hang":
            time.sleep(self.hang_s)
            return handler.hang_up()
        if mood == "refuse to answer":
            return handler.hang_up()
        if mood == "lie":
            return handler.answer(200, b"<html>welcome to the hotel</html>")
        if isinstance(mood, int):
            return handler.answer(mood)
        if isinstance(mood, tuple):
            return handler.answer(mood[0], headers=mood[1])
        if len(posted.flows) > self.most_flows:
            return handler.answer(413)
        with self.lock:
            if identity in self.segments:
                self.repeated += 1
                assert self.segments[identity] == posted, "one identity, two contents"
            self.segments[identity] = posted
        told = json.dumps({"acknowledged": [posted.epoch, posted.sequence]}).encode()
        return handler.reset(told) if mood == "reset" else handler.answer(200, told)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_POST(self):
        assert self.path == "/v1/segments"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.ingest.take(self, body)

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self):
        self.close_connection = True

    def reset(self, body):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:5])
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.connections = []

    def process_request(self, request, client_address):
        self.connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, *arguments):
        """A connection this server broke itself is no news."""


def serve(port=0, ingest=None):
    """Start a server on loopback; return it, its `ingest` and `url` set."""
    server = Server(("127.0.0.1", port), Handler)
    server.ingest = ingest or Ingest()
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def stop(server):
    server.shutdown()
    server.server_close()
    for connection in server.connections:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def ingest():
    server = serve()
    yield server
    stop(server)


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path
