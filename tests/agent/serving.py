import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Recorder(BaseHTTPRequestHandler):
    """Answers from `server.answer(method, path, headers)` and remembers what it was asked."""

    def _respond(self):
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        status, body = self.server.answer(self.command, self.path, self.headers)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = _respond  # noqa: N815 - the base class's spelling

    def log_message(self, *arguments):
        pass


@pytest.fixture
def serve():
    """Start a loopback server that answers by a function; return (url, what it was asked)."""
    servers = []

    def start(answer, tls=None):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.answer, server.asked = answer, []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}", server.asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
