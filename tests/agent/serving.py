import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Recorder(BaseHTTPRequestHandler):
    """Answers from `server.answer(method, path, headers)` and remembers what it was asked.

    An answer is (status, body), or (status, body, headers).
    """

    def _respond(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        status, body, *more = self.server.answer(self.command, self.path, self.headers)
        self.send_response(status)
        for name, value in dict(*more).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = _respond  # noqa: N815 - the base class's spelling

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


@pytest.fixture
def certificate(tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    names = "-subj /CN=kubernetes -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        f"{command} {names} -keyout key.pem -out cert.pem".split(),
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    return tmp_path / "cert.pem", tmp_path / "key.pem"
