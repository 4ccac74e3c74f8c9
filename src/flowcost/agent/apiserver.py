"""What the Kubernetes API says, as `kubectl get … -o json` would print it.

Read-only lists over HTTPS with the pod's own token. Lists are taken from the API server's watch
cache (`resourceVersion=0`), so that they cost etcd nothing; the agent asks for pods of its own
node only.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

from flowcost.agent.endpoint import Endpoint
from flowcost.errors import NotPermittedError, UnreachableError

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
        self._endpoint = Endpoint(
            url, what="API server", token_file=token_file, ca_file=ca_file, timeout_s=timeout_s
        )
        self.url = url

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
        try:
            return {
                resource: self.list(resource, field_selector=selectors.get(resource, ""))
                for resource in COLLECTIONS
            }
        finally:
            self._endpoint.close()

    def _get(self, resource: str, path: str) -> bytes:
        try:
            answer = self._endpoint.ask("GET", path, headers={"Accept": "application/json"})
        except UnreachableError as error:
            raise UnreachableError(
                error.message,
                hint="Traffic is counted all the same; without identities it is unattributed.",
            ) from None
        if answer.status in {http.client.UNAUTHORIZED, http.client.FORBIDDEN}:
            raise NotPermittedError(
                f"API server {self.url}: may not list {resource} ({answer.status})",
                hint=f"Give the agent's service account a ClusterRole with list on {resource}.",
            )
        if answer.status != http.client.OK:
            raise UnreachableError(
                f"API server {self.url}: list of {resource} answered {answer.status}"
            )
        return answer.body


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
