"""A real kube-apiserver on loopback, with a real etcd, and a day in the life of its cluster.

python -m tests.resolve.kube_apiserver FOLDER     # record its lists and watches as test data

It is found on the path (`kube-apiserver`, `etcd`), or by FLOWCOST_KUBE_APISERVER. There are no
controllers and no kubelet: the scenario does what they would do.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import IO, Any

from flowcost.resolve.kubernetes_api import ApiServer
from flowcost.resolve.kubernetes_credentials import FileCredentials
from flowcost.resolve.kubernetes_facts import RESOURCES

TOKEN = "a-token-for-tests"


def missing() -> str:
    """Return what a real API server cannot be had for, "" if it can."""
    for name, found in (("kube-apiserver", _binary()), ("etcd", shutil.which("etcd"))):
        if not found:
            return f"{name} is not installed"
    return "" if shutil.which("openssl") else "openssl is not installed"


def _binary() -> str | None:
    return os.environ.get("FLOWCOST_KUBE_APISERVER") or shutil.which("kube-apiserver")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


class RealCluster:
    """The API of a server that can be stopped and started again."""

    def __init__(self, port: int, folder: Path, command: list[str]) -> None:
        self.url = f"https://127.0.0.1:{port}"
        self._port = port
        self._ca = folder / "certs" / "apiserver.crt"
        self._token = folder / "token"
        self._token.write_text(TOKEN)
        self._command = command
        self._log = folder / "log"
        self._serving = ExitStack()

    def start(self) -> None:
        log = self._serving.enter_context(self._log.open("ab"))
        process = self._serving.enter_context(_process(self._command, log))
        _wait(lambda: self.call("GET", "/readyz") == "ok", process, self._log)

    def stop_serving(self) -> None:
        self._serving.close()

    def api(self) -> ApiServer:
        return ApiServer(self.url, FileCredentials(self._token, self._ca))

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        connection = HTTPSConnection(
            "127.0.0.1",
            self._port,
            context=ssl.create_default_context(cafile=self._ca),
            timeout=20,
        )
        connection.request(
            method,
            path,
            json.dumps(body) if body is not None else None,
            {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind, **headers},
        )
        response = connection.getresponse()
        text = response.read()
        connection.close()
        assert response.status < 300, text
        return json.loads(text) if text.startswith(b"{") else text.decode()

    # -- what controllers and kubelets do ----------------------------------------------------------

    def node(self, name: str, address: str) -> None:
        labels = {
            "topology.kubernetes.io/region": "us-east-1",
            "topology.k8s.aws/zone-id": "use1-az1",
        }
        spec = {"providerID": f"aws:///us-east-1a/i-0{name[-1]}", "podCIDRs": [], "podCIDR": ""}
        body = {"metadata": {"name": name, "labels": labels}, "spec": spec}
        self.call("POST", "/api/v1/nodes", body)
        status = {"addresses": [{"type": "InternalIP", "address": address}]}
        self.call("PATCH", f"/api/v1/nodes/{name}/status", {"status": status})

    def replica_set(self, deployment: str) -> str:
        name = f"{deployment}-5d9c7b"
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment, "uid": "d-1"}
        meta = {"name": name, "ownerReferences": [{**owner, "controller": True}]}
        labels = {"app": deployment}
        body = {
            "metadata": meta,
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": _CONTAINERS},
            },
        }
        self.call("POST", "/apis/apps/v1/namespaces/shop/replicasets", body)
        return name

    def schedule(self, name: str, node: str, owner: str = "") -> str:
        """Create a pod on a node and return its uid."""
        meta: dict[str, Any] = {"name": name, "labels": {"team": "basket"}}
        if owner:
            reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": "r-1"}
            meta["ownerReferences"] = [{**reference, "controller": True}]
        body = {"metadata": meta, "spec": {**_CONTAINERS, "nodeName": node}}
        made = self.call("POST", "/api/v1/namespaces/shop/pods", body)
        return str(made["metadata"]["uid"])

    def status(self, name: str, **status: object) -> None:
        self.call("PATCH", f"/api/v1/namespaces/shop/pods/{name}/status", {"status": status})

    def run(self, name: str, address: str, started: str) -> None:
        self.status(
            name,
            phase="Running",
            podIP=address,
            podIPs=[{"ip": address}],
            startTime=started,
            containerStatuses=[_container({"running": {"startedAt": started}})],
        )

    def stop(self, name: str, started: str, finished: str) -> None:
        """Delete a pod as a kubelet does: gracefully, last words, then for good."""
        path = f"/api/v1/namespaces/shop/pods/{name}"
        self.call("DELETE", path)
        ended = {"exitCode": 0, "startedAt": started, "finishedAt": finished}
        self.status(name, containerStatuses=[_container({"terminated": ended})])
        self.call("DELETE", path, {"gracePeriodSeconds": 0})

    def service(self, name: str, *uids: str) -> str:
        """Create a Service with an endpoint slice and return its address."""
        made = self.call(
            "POST",
            "/api/v1/namespaces/shop/services",
            {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}},
        )
        slice_ = {
            "metadata": {"name": f"{name}-x", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.244.0.9"], "targetRef": {"kind": "Pod", "uid": uid}}
                for uid in uids
            ],
            "ports": [],
        }
        self.call("POST", "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices", slice_)
        return str(made["spec"]["clusterIP"])


_CONTAINERS = {"containers": [{"name": "c", "image": "example.invalid/shop:1"}]}


def _container(state: dict[str, object]) -> dict[str, object]:
    return {
        "name": "c",
        "image": "example.invalid/shop:1",
        "imageID": "",
        "ready": "running" in state,
        "restartCount": 0,
        "state": state,
    }


@contextmanager
def running() -> Iterator[RealCluster]:
    """Yield a fresh cluster with the namespace `shop`."""
    with tempfile.TemporaryDirectory(prefix="flowcost-apiserver-") as name:
        folder = Path(name)
        clients, peers, port = _free_port(), _free_port(), _free_port()
        key = folder / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        (folder / "tokens.csv").write_text(f"{TOKEN},admin,admin,system:masters\n")
        etcd = [
            shutil.which("etcd") or "",
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls=http://127.0.0.1:{clients}",
            f"--advertise-client-urls=http://127.0.0.1:{clients}",
            f"--listen-peer-urls=http://127.0.0.1:{peers}",
        ]
        server = [
            _binary() or "",
            f"--etcd-servers=http://127.0.0.1:{clients}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={folder / 'certs'}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=RBAC",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--disable-admission-plugins=ServiceAccount",
        ]
        cluster = RealCluster(port, folder, server)
        with (folder / "log").open("wb") as log, _process(etcd, log):
            try:
                cluster.start()
                cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
                yield cluster
            finally:
                cluster.stop_serving()


@contextmanager
def _process(command: list[str], log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            if ready():
                return
        except (OSError, AssertionError, HTTPException):
            pass
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < end, log.read_text()[-2000:]
        time.sleep(0.5)


def before(cluster: RealCluster) -> dict[str, str]:
    """Make what is there when a watch begins; return uids by name."""
    cluster.node("node-1", "10.0.0.1")
    owner = cluster.replica_set("cart")
    uids = {}
    for number in range(3):
        uids[f"cart-{number}"] = cluster.schedule(f"cart-{number}", "node-1", owner)
        cluster.run(f"cart-{number}", f"10.244.0.{number}", "2026-11-25T09:00:00Z")
    cluster.service("cart", *uids.values())
    return uids


def after(cluster: RealCluster) -> None:
    """Let a day pass: a pod comes, a pod goes, a job ends, labels and nodes change."""
    cluster.schedule("stock-0", "node-1")
    cluster.run("stock-0", "10.244.0.8", "2026-11-25T10:01:00Z")
    cluster.stop("cart-1", "2026-11-25T09:00:00Z", "2026-11-25T10:02:00Z")
    cluster.schedule("cart-9", "node-1", "cart-5d9c7b")
    cluster.run("cart-9", "10.244.0.1", "2026-11-25T10:03:00Z")
    cluster.schedule("job-0", "node-1")
    cluster.run("job-0", "10.244.0.7", "2026-11-25T10:03:00Z")
    ended = {
        "exitCode": 0,
        "startedAt": "2026-11-25T10:03:00Z",
        "finishedAt": "2026-11-25T10:04:00Z",
    }
    cluster.status(
        "job-0", phase="Succeeded", containerStatuses=[_container({"terminated": ended})]
    )
    cluster.call("PATCH", "/api/v1/namespaces/shop", {"metadata": {"labels": {"stage": "prod"}}})
    cluster.node("node-2", "10.0.0.2")


def record(folder: Path) -> None:
    """Write `folder/<resource>.json`: pages of a list, lines of the watch after it, and a 410."""
    folder.mkdir(parents=True, exist_ok=True)
    with running() as cluster:
        before(cluster)
        lists = {one.name: _pages(cluster, one.path, bare=one.bare) for one in RESOURCES}
        watched: dict[str, list[str]] = {one.name: [] for one in RESOURCES}
        threads = [
            threading.Thread(
                target=_watch,
                args=(cluster, one.path, lists[one.name][-1], watched[one.name], one.bare),
            )
            for one in RESOURCES
        ]
        for thread in threads:
            thread.start()
        time.sleep(2)
        after(cluster)
        for thread in threads:
            thread.join()
        cluster.stop_serving()
        cluster.start()
        gone = cluster.call(
            "GET", f"{RESOURCES[-1].path}?watch=1&timeoutSeconds=5&resourceVersion=1"
        )
    for one in RESOURCES:
        found = {"pages": lists[one.name], "watch": watched[one.name], "gone": gone}
        (folder / f"{one.name}.json").write_text(json.dumps(found, indent=1) + "\n")


_BARE = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1,application/json"


def _pages(cluster: RealCluster, path: str, *, bare: bool) -> list[Any]:
    accept = _BARE.format("List") if bare else "application/json"
    pages, token = [], ""
    while True:
        page = cluster.call("GET", f"{path}?limit=2&continue={token}", Accept=accept)
        pages.append(page)
        token = page["metadata"].get("continue", "")
        if not token:
            return pages


def _watch(cluster: RealCluster, path: str, last: Any, lines: list[str], bare: bool) -> None:
    accept = _BARE.format("") if bare else "application/json"
    version = last["metadata"]["resourceVersion"]
    # Bookmarks come with the end of a watch: they move the place to resume from.
    query = f"watch=1&resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds=75"
    connection = HTTPSConnection(
        cluster.url.removeprefix("https://"),
        context=ssl.create_default_context(cafile=cluster._ca),
        timeout=120,
    )
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": accept}
    connection.request("GET", f"{path}?{query}", headers=headers)
    lines += connection.getresponse().read().decode().splitlines()
    connection.close()


if __name__ == "__main__":
    record(Path(sys.argv[1]))
