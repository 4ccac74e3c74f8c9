"""What the Kubernetes API says, as `kubectl get … -o json` would print it.

Read-only lists over HTTPS with the pod's own token. Lists are taken from the API server's watch
cache (`resourceVersion=0`), so that they cost etcd nothing; the agent asks for pods of its own
node only.
"""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from flowcost.errors import NotPermittedError, UnreachableError, UsageError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

# resource -> collection path; the names are those of the inventory's files.
COLLECTIONS = {
    "pods": "/api/v1/pods",
    "nodes": "/api/v1/nodes",
    "services": "/api/v1/services",
    "endpointslices": "/apis/discovery.k8s.io/v1/endpointslices",
}


class ApiServer:
    """A Kubernetes API server; `token_file` is read again for every request (tokens rotate).

    Raises:
        UsageError: `url` is not an http or https URL.
    """

    def __init__(
        self,
        url: str,
        *,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        timeout_s: float = 15.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise UsageError(f"{url!r} is not the URL of an API server", hint="https://host:port")
        self.url = url
        self._https = parts.scheme == "https"
        self._where = parts.netloc
        self._token_file = token_file
        self._ca_file = ca_file
        self._timeout_s = timeout_s

    def list(self, resource: str, *, field_selector: str = "") -> bytes:
        """Return one collection as the JSON of a list document with `items`.

        Raises:
            NotPermittedError: the token may not list it; the RBAC rule is named.
            UnreachableError: the server cannot be reached or answers in error.
        """
        query = {"resourceVersion": "0"}
        if field_selector:
            query["fieldSelector"] = field_selector
        return self._get(resource, f"{COLLECTIONS[resource]}?{urlencode(query, quote_via=quote)}")

    def snapshot(self, node: str) -> dict[str, bytes]:
        """Return everything the agent on `node` needs, by resource."""
        selectors = {"pods": f"spec.nodeName={node}"} if node else {}
        return {
            resource: self.list(resource, field_selector=selectors.get(resource, ""))
            for resource in COLLECTIONS
        }

    def _get(self, resource: str, path: str) -> bytes:
        headers = {"Accept": "application/json", "User-Agent": "flowcost-agent"}
        if self._token_file:
            headers["Authorization"] = f"Bearer {_token(self._token_file)}"
        try:
            with closing(self._connection()) as connection:
                connection.request("GET", path, headers=headers)
                response = connection.getresponse()
                body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(
                f"API server {self.url}: {error or type(error).__name__}",
                hint="Traffic is counted all the same; without identities it is unattributed.",
            ) from None
        if response.status in {http.client.UNAUTHORIZED, http.client.FORBIDDEN}:
            raise NotPermittedError(
                f"API server {self.url}: may not list {resource} ({response.status})",
                hint=f"Give the agent's service account a ClusterRole with list on {resource}.",
            )
        if response.status != http.client.OK:
            raise UnreachableError(
                f"API server {self.url}: list of {resource} answered {response.status}"
            )
        return body

    def _connection(self) -> http.client.HTTPConnection:
        if not self._https:
            return http.client.HTTPConnection(self._where, timeout=self._timeout_s)
        context = ssl.create_default_context(
            cafile=os.fspath(self._ca_file) if self._ca_file else None
        )
        return http.client.HTTPSConnection(self._where, timeout=self._timeout_s, context=context)


def _token(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise NotPermittedError(f"token {path}: {error.strerror}") from None


def in_cluster(environment: Mapping[str, str], account: Path = ACCOUNT) -> ApiServer | None:
    """Return the API server of the cluster this process runs in, None outside of one."""
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    if not host or not (account / "token").exists():
        return None
    host = f"[{host}]" if ":" in host else host
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    return ApiServer(
        f"https://{host}:{port}", token_file=account / "token", ca_file=account / "ca.crt"
    )
