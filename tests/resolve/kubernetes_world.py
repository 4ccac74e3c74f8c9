"""A cluster in a small API server, and a recorder that follows it; the test moves the clock."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from benchmarks.kubernetes_server import KubernetesServer

from flowcost.address import pack
from flowcost.clock import parse
from flowcost.resolve import recorded
from flowcost.resolve.chronicle import places
from flowcost.resolve.inventory import Inventory
from flowcost.resolve.kubernetes_api import ApiServer
from flowcost.resolve.kubernetes_credentials import FileCredentials
from flowcost.resolve.kubernetes_recorder import Recorder
from flowcost.resolve.kubernetes_watch import Patience
from flowcost.resolve.lookup import lookup
from flowcost.resolve.timeline import build

START = parse("2026-11-25T10:00:00Z")
QUICK = Patience(idle=1.0, watch=60, first=0.02, most=0.1)
FAR = parse("2026-12-25T00:00:00Z")


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


def text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(name: str, ip: str, started: datetime, *, uid: str = "", node="node-1", **status) -> dict:
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": uid or f"uid-{name}",
            "labels": {"team": "basket", "pod-template-hash": "6d5f", "irrelevant": "x"},
            "annotations": {"noise": "y" * 100},
            "creationTimestamp": text(started),
            "ownerReferences": [
                {"kind": "ReplicaSet", "name": f"{name}-6d5f", "controller": True, "uid": "r"}
            ],
        },
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
        "status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}] if ip else [],
            "startTime": text(started),
            "containerStatuses": [{"state": {"running": {}}}],
            **status,
        },
    }


def ended(at: datetime) -> dict:
    return {"containerStatuses": [{"state": {"terminated": {"finishedAt": text(at)}}}]}


NODE = {
    "metadata": {
        "name": "node-1",
        "creationTimestamp": text(minute(-600)),
        "labels": {
            "topology.k8s.aws/zone-id": "use1-az1",
            "topology.kubernetes.io/region": "us-east-1",
        },
    },
    "spec": {"providerID": "aws:///us-east-1a/i-0abc"},
    "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]},
}


def waiting(holds, seconds: float, say=lambda: None) -> None:
    """Wait until something holds; fail with what `say` returns after `seconds`."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, say()
        time.sleep(0.01)


class World:
    """A server, a clock that the test moves, and a recorder that can be started again."""

    def __init__(self, folder: Path, server: KubernetesServer) -> None:
        self.folder = folder
        self.server = server
        self.at = minute(0)
        self.recorder: Recorder | None = None
        server.put("nodes", json.loads(json.dumps(NODE)))

    def start(self, *, ready: bool = True, page: int = 2, patience: Patience = QUICK) -> Recorder:
        self.recorder = Recorder(
            ApiServer(self.server.url, FileCredentials()),
            recorded.place(self.folder, "prod"),
            keep=timedelta(days=40),
            patience=patience,
            page=page,
            now=lambda: self.at,
        )
        self.recorder.start()
        if ready:
            self.until(lambda: self.state.watch == "watching")
        return self.recorder

    def stop(self) -> None:
        if self.recorder:
            self.recorder.close()
            self.recorder = None

    @property
    def state(self):
        assert self.recorder
        return self.recorder.state

    def until(self, holds, seconds: float = 10.0) -> None:
        waiting(holds, seconds, lambda: self.recorder and self.state)

    def settled(self) -> None:
        """Wait until everything the server has said is on disk."""
        want = self.server.version
        folder = recorded.place(self.folder, "prod")
        self.until(lambda: all(int(one.version) >= want for one in places(folder).values()))

    def who(self, address: str, at: datetime):
        layers = recorded.layers(self.folder, minute(-600), FAR, Inventory())
        return lookup(build(layers), pack(address), at)

    def pod_at(self, address: str, at: datetime) -> str:
        return self.who(address, at).k8s_pod_name


@contextmanager
def made(folder: Path) -> Iterator[World]:
    """Yield a world; afterwards no thread of it is left."""
    server = KubernetesServer()
    world = World(folder, server)
    before = set(threading.enumerate())
    try:
        yield world
    finally:
        world.stop()
        server.close()
        left = [one for one in set(threading.enumerate()) - before if one.name.startswith("watch")]
        for one in left:
            one.join(5)
        assert not [one for one in left if one.is_alive()]


def service(name: str, address: str) -> dict:
    return {
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": text(minute(-60))},
        "spec": {"clusterIP": address, "clusterIPs": [address]},
    }


def slice_of(name: str, *uids: str, outside: str = "") -> dict:
    endpoints: list[dict] = [
        {"addresses": ["10.9.9.9"], "targetRef": {"kind": "Pod", "uid": uid}} for uid in uids
    ]
    if outside:
        endpoints.append({"addresses": [outside]})
    return {
        "metadata": {
            "name": f"{name}-x1",
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
    }
