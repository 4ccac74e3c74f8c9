"""How a kubeconfig says to sign in."""

from __future__ import annotations

import base64
import json
import shutil
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest
import yaml

from flowcost.errors import ConfigError, NotPermittedError, UnreachableError
from flowcost.resolve import kubeconfig
from flowcost.resolve.kubernetes_facts import RESOURCES

PODS = RESOURCES[-1]
SECRET = "s3cret-token"


def write(folder: Path, cluster: dict, user: dict, **more) -> Path:
    path = folder / "config"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "prod",
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        **more,
    }
    path.write_text(yaml.safe_dump(document))
    return path


class Serving:
    """An API server without pods that remembers who asked; TLS if it has a certificate."""

    def __init__(self, tls: tuple[Path, Path] | None = None, clients: Path | None = None) -> None:
        asked = self.asked = []
        refused = self.refused = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                said = self.headers.get("Authorization", "")
                peer = self.connection.getpeercert() if tls else None
                asked.append((said, peer))
                status = 401 if said in refused else 200
                body = b'{"metadata":{"resourceVersion":"1"},"items":[]}'
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            if clients:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(clients)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)


def list_pods(path: Path, context: str = "") -> None:
    assert [page.items for page in kubeconfig.read(path, context).pages(PODS)] == [[]]


def test_a_token(tmp_path):
    with Serving() as serving:
        list_pods(write(tmp_path, {"server": serving.url}, {"token": SECRET}))
        assert serving.asked[0][0] == f"Bearer {SECRET}"


def test_a_token_file_is_beside_the_kubeconfig_and_read_each_time(tmp_path):
    (tmp_path / "token").write_text("one\n")
    with Serving() as serving:
        api = kubeconfig.read(write(tmp_path, {"server": serving.url}, {"tokenFile": "token"}))
        list(api.pages(PODS))
        (tmp_path / "token").write_text("two\n")
        list(api.pages(PODS))
        assert [said for said, _ in serving.asked] == ["Bearer one", "Bearer two"]


def plug_in(folder: Path, **status: str) -> dict:
    """A command that counts how often it is asked and tells what it was told."""
    script = folder / "login.py"
    script.write_text(
        "import json, os, pathlib, sys\n"
        f"count = pathlib.Path({str(folder / 'count')!r})\n"
        "number = int(count.read_text()) + 1 if count.exists() else 1\n"
        "count.write_text(str(number))\n"
        "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "assert info['kind'] == 'ExecCredential' and info['spec']['interactive'] is False\n"
        f"status = {status!r}\n"
        "status.setdefault('token', f\"{os.environ['PREFIX']}-{number}\")\n"
        "print(json.dumps({'apiVersion': info['apiVersion'], 'kind': 'ExecCredential',\n"
        "                  'status': status}))\n"
    )
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(script)],
            "env": [{"name": "PREFIX", "value": "token"}],
            "interactiveMode": "Never",
            "provideClusterInfo": True,
        }
    }


def test_a_command_is_asked_once_and_again_when_its_token_is_refused(tmp_path):
    with Serving() as serving:
        api = kubeconfig.read(write(tmp_path, {"server": serving.url}, plug_in(tmp_path)))
        list(api.pages(PODS))
        list(api.pages(PODS))
        serving.refused.append("Bearer token-1")
        with pytest.raises(NotPermittedError):
            list(api.pages(PODS))
        list(api.pages(PODS))
        said = [one for one, _ in serving.asked]
        assert said == ["Bearer token-1"] * 3 + ["Bearer token-2"]


def test_a_command_whose_token_runs_out_is_asked_again(tmp_path):
    user = plug_in(tmp_path, expirationTimestamp="2026-01-01T00:00:00Z")
    with Serving() as serving:
        api = kubeconfig.read(write(tmp_path, {"server": serving.url}, user))
        list(api.pages(PODS))
        list(api.pages(PODS))
        assert [one for one, _ in serving.asked] == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize("command", ["/nowhere/login", "false", "true"])
def test_a_command_that_gives_nothing_is_named(tmp_path, command):
    user = {"exec": {"command": command, "installHint": "install the login plug-in"}}
    api = kubeconfig.read(write(tmp_path, {"server": "http://127.0.0.1:9"}, user))
    with Serving() as serving:
        api = kubeconfig.read(write(tmp_path, {"server": serving.url}, user))
        with pytest.raises(NotPermittedError, match="install the login plug-in") as refused:
            list(api.pages(PODS))
    assert command in str(refused.value)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    for name, extra in (("server", ["-addext", "subjectAltName=IP:127.0.0.1"]), ("client", [])):
        subprocess.run(
            [
                *[
                    "openssl",
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:prime256v1",
                ],
                *f"-nodes -days 1 -subj /CN={name} -keyout {name}.key -out {name}.crt".split(),
                *extra,
            ],
            cwd=folder,
            check=True,
            capture_output=True,
        )
    return folder


def test_authority_and_client_certificate_from_files_and_from_the_text(tmp_path, certificates):
    tls = certificates / "server.crt", certificates / "server.key"

    def data(name: str) -> str:
        return base64.b64encode((certificates / name).read_bytes()).decode()

    with Serving(tls, certificates / "client.crt") as serving:
        for cluster, user in (
            (
                {"certificate-authority": str(certificates / "server.crt")},
                {
                    "client-certificate": str(certificates / "client.crt"),
                    "client-key": str(certificates / "client.key"),
                },
            ),
            (
                {"certificate-authority-data": data("server.crt")},
                {
                    "client-certificate-data": data("client.crt"),
                    "client-key-data": data("client.key"),
                },
            ),
        ):
            list_pods(write(tmp_path, {"server": serving.url, **cluster}, user))
        assert [peer["subject"] for _, peer in serving.asked] == [
            ((("commonName", "client"),),)
        ] * 2


def test_an_unknown_authority_is_not_trusted_unless_the_file_says_so(tmp_path, certificates):
    tls = certificates / "server.crt", certificates / "server.key"
    with Serving(tls) as serving:
        with pytest.raises(UnreachableError, match=r"certificate|CERTIFICATE"):
            list_pods(write(tmp_path, {"server": serving.url}, {"token": SECRET}))
        assert not serving.asked
        trusting = {"server": serving.url, "insecure-skip-tls-verify": True}
        list_pods(write(tmp_path, trusting, {"token": SECRET}))


def test_another_context_is_chosen_by_name(tmp_path):
    with Serving() as serving:
        contexts = [{"name": "dev", "context": {"cluster": "c", "user": "u"}}]
        path = write(tmp_path, {"server": serving.url}, {"token": SECRET}, contexts=contexts)
        list_pods(path, "dev")
        with pytest.raises(ConfigError, match="no context named 'prod'") as refused:
            kubeconfig.read(path)
        assert "there are: dev" in str(refused.value)


@pytest.mark.parametrize(
    ("cluster", "user", "what"),
    [
        ({}, {"username": "admin", "password": SECRET}, "a password"),
        ({}, {"auth-provider": {"name": "gcp"}}, "auth-provider"),
        ({"proxy-url": "http://proxy"}, {}, "proxy-url"),
        ({"tls-server-name": "x"}, {}, "tls-server-name"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, cluster, user, what):
    path = write(tmp_path, {"server": "https://127.0.0.1:9", **cluster}, user)
    with pytest.raises(ConfigError, match=what) as refused:
        kubeconfig.read(path)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "a: [", f"users: {SECRET}", f"token: '{SECRET}"])
def test_what_is_no_kubeconfig_is_refused_without_quoting_it(tmp_path, text):
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        kubeconfig.read(path)
    assert SECRET not in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_json_kubeconfig_is_one_too(tmp_path):
    with Serving() as serving:
        path = write(tmp_path, {"server": serving.url}, {"token": SECRET})
        path.write_text(json.dumps(yaml.safe_load(path.read_text())))
        list_pods(path)
