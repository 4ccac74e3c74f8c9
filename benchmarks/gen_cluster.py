"""A large Kubernetes cluster as an API server would show it: objects of realistic size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.kubernetes_server import KubernetesServer

STARTED = "2026-11-25T08:00:00Z"
PODS_PER_NODE = 100
PODS_PER_WORKLOAD = 20
ZONES = ("use1-az1", "use1-az2", "use1-az3")


def fill(server: KubernetesServer, pods: int) -> None:
    """Put nodes, workloads, Services, slices and `pods` pods."""
    for number in range(-(-pods // PODS_PER_NODE)):
        server.put("nodes", node(number))
    for number in range(20):
        meta = {"name": f"team-{number}", "labels": {"team": f"team-{number}"}}
        server.put("namespaces", {"metadata": meta})
    for workload in range(-(-pods // PODS_PER_WORKLOAD)):
        meta = {**_workload(workload), "name": f"app-{workload}-6d5f7c", "uid": f"r{workload}"}
        owner = {"kind": "Deployment", "name": f"app-{workload}", "controller": True}
        server.put("replicasets", {"metadata": {**meta, "ownerReferences": [owner]}})
        server.put("services", _service(workload))
        server.put("endpointslices", _slice(workload, pods))
    for number in range(pods):
        server.put("pods", pod(number))


def node(number: int) -> dict[str, Any]:
    labels = {
        "topology.k8s.aws/zone-id": ZONES[number % 3],
        "topology.kubernetes.io/region": "us-east-1",
        "kubernetes.io/hostname": f"node-{number}",
    }
    return {
        "metadata": {"name": f"node-{number}", "labels": labels, "managedFields": _managed()},
        "spec": {"providerID": f"aws:///us-east-1a/i-{number:017x}"},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": f"172.16.{number // 250}.{number % 250}"}
            ],
            "images": [{"names": [f"example.invalid/app-{n}:1.2.{n}"]} for n in range(50)],
        },
    }


def _workload(number: int) -> dict[str, Any]:
    return {"namespace": f"team-{number % 20}", "labels": {"app": f"app-{number}"}}


def _service(number: int) -> dict[str, Any]:
    address = f"10.96.{number // 250}.{number % 250}"
    meta = {**_workload(number), "name": f"app-{number}"}
    return {"metadata": meta, "spec": {"clusterIP": address, "clusterIPs": [address]}}


def _slice(workload: int, pods: int) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": f"app-{workload}"}
    first = workload * PODS_PER_WORKLOAD
    return {
        "metadata": {**_workload(workload), "name": f"app-{workload}-x", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [address(number)],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": f"node-{number % (pods // PODS_PER_NODE or 1)}",
                "targetRef": {"kind": "Pod", "name": f"p{number}", "uid": uid(number)},
            }
            for number in range(first, min(first + PODS_PER_WORKLOAD, pods))
        ],
    }


def address(number: int) -> str:
    return f"10.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def uid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def pod(number: int, *, nodes: int = 500, generation: int = 0) -> dict[str, Any]:
    """Return a running pod of about five kilobytes, as kube-apiserver prints one."""
    workload = number // PODS_PER_WORKLOAD
    ip = address(number)
    container = {
        "name": "app",
        "image": f"example.invalid/team/app-{workload}:1.{generation}",
        "env": [{"name": f"VARIABLE_{n}", "value": "x" * 24} for n in range(16)],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        "volumeMounts": [{"name": f"v{n}", "mountPath": f"/data/{n}"} for n in range(4)],
    }
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            **_workload(workload),
            "name": f"app-{workload}-6d5f7c-{number:05x}",
            "uid": uid(number),
            "creationTimestamp": STARTED,
            "labels": {
                "app": f"app-{workload}",
                "pod-template-hash": "6d5f7c",
                "generation": str(generation),
            },
            "annotations": {"checksum/config": "c" * 64},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": f"app-{workload}-6d5f7c",
                    "uid": f"r{workload}",
                    "controller": True,
                }
            ],
            "managedFields": _managed(),
        },
        "spec": {"nodeName": f"node-{number % nodes}", "containers": [container]},
        "status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "startTime": STARTED,
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": STARTED}
                for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
            ],
            "containerStatuses": [
                {
                    "name": "app",
                    "ready": True,
                    "restartCount": 0,
                    "state": {"running": {"startedAt": STARTED}},
                    "imageID": "example.invalid/app@sha256:" + "a" * 64,
                }
            ],
        },
    }


def _managed() -> list[dict[str, Any]]:
    fields = {f"f:field-{n}": {".": {}, f"f:inner-{n}": {}} for n in range(24)}
    return [
        {
            "manager": name,
            "operation": "Update",
            "apiVersion": "v1",
            "fieldsV1": {"f:status": fields},
        }
        for name in ("kube-controller-manager", "kubelet")
    ]


def changes(pods: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield `count` pods changed: every second one has a new identity, the others only status."""
    for number in range(count):
        one = pod(number % pods, generation=1 + number // pods)
        if number % 2:
            one["metadata"]["labels"]["team"] = f"moved-{number % 7}"
        yield one
