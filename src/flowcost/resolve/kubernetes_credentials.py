"""Who we are to a cluster: the pod's own service account, files, or a kubeconfig.

Tokens rotate, so files are read for every request, and a command's token is asked for again when
it runs out or is refused. Nothing of a credential enters an error or a log.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from flowcost.errors import NotPermittedError, UsageError
from flowcost.resolve.kubernetes_api import ApiServer

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class FileCredentials:
    """A token and an authority in files, as Kubernetes mounts them into a pod."""

    def __init__(self, token_file: Path | None = None, ca_file: Path | None = None) -> None:
        self._token_file = token_file
        self._ca_file = ca_file

    def token(self) -> str:
        """Return the token of the file, "" without one.

        Raises:
            NotPermittedError: the file cannot be read.
        """
        if self._token_file is None:
            return ""
        try:
            return self._token_file.read_text().strip()
        except OSError as error:
            raise NotPermittedError(f"token {self._token_file}: {error.strerror}") from None

    def context(self) -> ssl.SSLContext:
        """Return the authority of the file, the system's without one.

        Raises:
            UsageError: the file holds no certificate.
        """
        try:
            return ssl.create_default_context(cafile=self._ca_file)
        except OSError as error:
            raise UsageError(f"{self._ca_file}: not a certificate authority: {error}") from None

    def refused(self) -> None:
        """Do nothing: the file is read again for the next request."""


def in_cluster(environment: Mapping[str, str], account: Path = ACCOUNT) -> ApiServer | None:
    """Return the API server of the cluster this process runs in, None outside of one."""
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    if not host or not (account / "token").exists():
        return None
    host = f"[{host}]" if ":" in host else host
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    return ApiServer(
        f"https://{host}:{port}", FileCredentials(account / "token", account / "ca.crt")
    )
