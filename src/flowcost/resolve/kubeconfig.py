"""A kubeconfig file: which API server, and how to sign in there.

Read as kubectl reads it: token, token file, client certificate, or a command that prints an
ExecCredential (`client.authentication.k8s.io/v1`), which is how EKS, GKE and AKS sign in. Relative
paths are relative to the file. Plug-ins named `auth-provider` are gone since Kubernetes 1.26.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import tempfile
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, field

from flowcost import clock
from flowcost.errors import ConfigError, NotPermittedError
from flowcost.resolve.kubernetes_api import ApiServer

_EARLY = timedelta(minutes=1)
_COMMAND_SECONDS = 60

S = TypeVar("S", bound=Struct)


class _Cluster(Struct, rename="kebab"):
    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""


class _Variable(Struct):
    name: str
    value: str = ""


class _Exec(Struct, rename="camel"):
    command: str
    api_version: str = "client.authentication.k8s.io/v1"
    args: list[str] | None = None
    env: list[_Variable] | None = None
    provide_cluster_info: bool = False
    install_hint: str = ""


class _User(Struct, rename="kebab"):
    token: str = ""
    token_file: str = field(name="tokenFile", default="")
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    username: str = ""
    exec: _Exec | None = None
    auth_provider: Any = None


class _Context(Struct):
    cluster: str = ""
    user: str = ""


class _NamedCluster(Struct):
    name: str
    cluster: _Cluster


class _NamedUser(Struct):
    name: str
    user: _User


class _NamedContext(Struct):
    name: str
    context: _Context


class _File(Struct, rename="kebab"):
    current_context: str = ""
    contexts: list[_NamedContext] | None = None
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None


class _Status(Struct, rename="camel"):
    token: str = ""
    expiration_timestamp: str | None = None
    client_certificate_data: str = ""


class _Credential(Struct):
    status: _Status = field(default_factory=_Status)


def read(path: Path, context: str = "") -> ApiServer:
    """Return the API server of a context, by default the current one.

    Raises:
        ConfigError: the file is no kubeconfig, has no such context, or asks what is not supported.
    """
    import yaml  # noqa: PLC0415 - only where a kubeconfig is read

    try:
        file = msgspec.convert(yaml.safe_load(path.read_text()), _File)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError):
        # The parser's words may quote a secret.
        raise ConfigError(f"{path}: not a kubeconfig") from None
    name = context or file.current_context
    chosen = _named(path, "context", name, {one.name: one.context for one in file.contexts or ()})
    cluster = _named(
        path, "cluster", chosen.cluster, {one.name: one.cluster for one in file.clusters or ()}
    )
    user = _User()
    if chosen.user:
        user = _named(path, "user", chosen.user, {one.name: one.user for one in file.users or ()})
    for thing, found in (
        ("a password", user.username),
        ("auth-provider", user.auth_provider),
        ("proxy-url", cluster.proxy_url),
        ("tls-server-name", cluster.tls_server_name),
    ):
        if found:
            raise ConfigError(
                f"{path}: context {name}: {thing} is not supported",
                hint="use a token, a certificate or an exec plug-in",
            )
    return ApiServer(cluster.server, _Credentials(path, cluster, user))


def _named(path: Path, kind: str, name: str, there: dict[str, S]) -> S:
    if name not in there:
        raise ConfigError(
            f"{path}: no {kind} named {name!r}",
            hint=f"there are: {', '.join(sorted(there)) or 'none'}",
        )
    return there[name]


class _Credentials:
    """What a kubeconfig says of authorities and of us."""

    def __init__(self, path: Path, cluster: _Cluster, user: _User) -> None:
        self._path = path
        self._cluster = cluster
        self._user = user
        self._lock = threading.Lock()
        self._token = ""
        self._until: datetime | None = None

    def token(self) -> str:
        """Return the token in use; a command is asked when the last one runs out."""
        user = self._user
        if user.token_file:
            return self._text(user.token_file, "token")
        if user.exec is None:
            return user.token
        with self._lock:
            if not self._token or (self._until and clock.now() >= self._until - _EARLY):
                self._token, self._until = self._ask(user.exec)
            return self._token

    def refused(self) -> None:
        """Ask the command anew next time."""
        with self._lock:
            self._token = ""

    def context(self) -> ssl.SSLContext:
        """Return authorities and client certificate."""
        cluster, user = self._cluster, self._user
        try:
            if cluster.certificate_authority_data:
                context = ssl.create_default_context(
                    cadata=self._data(cluster.certificate_authority_data).decode()
                )
            elif cluster.certificate_authority:
                context = ssl.create_default_context(
                    cafile=self._beside(cluster.certificate_authority)
                )
            else:
                context = ssl.create_default_context()
            if cluster.insecure_skip_tls_verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if user.client_certificate_data or user.client_certificate:
                self._present(context)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self._path}: certificates: {type(error).__name__}") from None
        return context

    def _present(self, context: ssl.SSLContext) -> None:
        """Load the client certificate; what is written in the file goes through a private one."""
        user = self._user
        if user.client_certificate and user.client_key:
            context.load_cert_chain(
                self._beside(user.client_certificate), self._beside(user.client_key)
            )
            return
        certificate = (
            self._data(user.client_certificate_data)
            if user.client_certificate_data
            else self._beside(user.client_certificate).read_bytes()
        )
        key = (
            self._data(user.client_key_data)
            if user.client_key_data
            else self._beside(user.client_key).read_bytes()
        )
        with tempfile.NamedTemporaryFile() as file:  # only its owner may read it
            file.write(certificate + b"\n" + key)
            file.flush()
            context.load_cert_chain(file.name)

    def _ask(self, command: _Exec) -> tuple[str, datetime | None]:
        info = {"apiVersion": command.api_version, "kind": "ExecCredential", "spec": {}}
        spec: dict[str, Any] = {"interactive": False}
        if command.provide_cluster_info:
            spec["cluster"] = {
                "server": self._cluster.server,
                "certificate-authority-data": self._cluster.certificate_authority_data,
            }
        environment = {
            **os.environ,
            **{one.name: one.value for one in command.env or ()},
            "KUBERNETES_EXEC_INFO": json.dumps({**info, "spec": spec}),
        }
        try:
            done = subprocess.run(  # noqa: S603 - the operator's own kubeconfig names it
                [self._program(command.command), *(command.args or ())],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_COMMAND_SECONDS,
                check=False,
            )
            status = msgspec.json.decode(done.stdout, type=_Credential).status
        except (OSError, subprocess.TimeoutExpired, msgspec.MsgspecError) as error:
            raise NotPermittedError(
                f"{self._path}: {command.command} gave no credential ({type(error).__name__})",
                hint=command.install_hint or "run `kubectl get nodes` with this file",
            ) from None
        if done.returncode or not status.token:
            raise NotPermittedError(
                f"{self._path}: {command.command} gave no token (exit {done.returncode})",
                hint=command.install_hint or "run `kubectl get nodes` with this file",
            )
        until = status.expiration_timestamp
        return status.token, clock.parse(until) if until else None

    def _program(self, command: str) -> str:
        """Return a command as kubectl finds it: with a slash beside the file, else on the path."""
        return os.fspath(self._beside(command)) if os.sep in command else command

    def _text(self, name: str, what: str) -> str:
        try:
            return self._beside(name).read_text().strip()
        except OSError as error:
            raise NotPermittedError(f"{what} {self._beside(name)}: {error.strerror}") from None

    def _beside(self, name: str) -> Path:
        return self._path.parent / name

    def _data(self, text: str) -> bytes:
        return base64.b64decode(text, validate=False)
