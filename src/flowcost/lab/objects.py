"""The plan as its cluster's API server would list it, and as its operator would declare it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flowcost.agent.imds import Place
from flowcost.agent.kubernetes import Objects, decode
from flowcost.lab import plan as p
from flowcost.lab.plan import Node, Plan, Pod, Service

HASH = "6d4b75cb6d"
Object = dict[str, Any]


def documents(plan: Plan, *, node: str = "") -> dict[str, bytes]:
    """Return list documents by resource; with `node`, only the pods of that node."""
    found = {
        "pods": [_pod(pod) for pod in plan.pods if node in {"", pod.node.name}],
        "nodes": [_node(one) for one in plan.nodes],
        "services": [_service(service) for service in plan.services],
        "endpointslices": [
            _slice(service, family) for service in plan.services for family in (4, 6)
        ],
    }
    return {
        resource: json.dumps({"kind": "List", "apiVersion": "v1", "items": items}).encode()
        for resource, items in found.items()
    }


def objects(plan: Plan, *, node: str = "") -> Objects:
    """Return the same, read back as the agent reads it."""
    return decode(documents(plan, node=node))


def write(plan: Plan, directory: Path) -> None:
    """Write the documents as `kubectl get … -o json` would, one file per resource."""
    for resource, body in documents(plan).items():
        (directory / f"{resource}.json").write_bytes(body)


def place(node: Node) -> Place:
    """Return what instance metadata would say on `node`."""
    return Place(
        provider="aws",
        account=p.ACCOUNT,
        region=p.REGION,
        zone_id=node.zone_id,
        zone_name=node.zone_name,
        vpc=p.VPC,
        subnet=node.subnet_id,
        instance=f"i-0lab{node.number}",
    )


def declaration(plan: Plan) -> str:
    """Return the `declared.toml` that tells the ways out: IPv4 by the NAT gateway."""
    zone = plan.nodes[0].zone_id
    ways = [
        f'[[route]]\nfrom = "{p.VPC}"\nto = "{to}"\nvia = "{via}"\n'
        for to, via in (
            (p.CLUSTER_V4, "local"),
            (p.CLUSTER_V6, "local"),
            ("0.0.0.0/0", "nat-0lab"),
            ("::/0", "egress_only_gateway"),
        )
    ]
    gateway = (
        '[[gateway]]\nid = "nat-0lab"\nkind = "nat_gateway"\n'
        f'addresses = ["{p.NAT_PRIVATE_V4}", "{p.NAT_PUBLIC_V4}"]\n'
        f'cloud.provider = "aws"\ncloud.region = "{p.REGION}"\n'
        f'cloud.availability_zone = "{zone}"\ncloud.vpc_id = "{p.VPC}"\n'
    )
    return "\n".join((gateway, *ways))


def _pod(pod: Pod) -> Object:
    owner = {"kind": "ReplicaSet", "name": f"{pod.workload}-{HASH}", "controller": True}
    addresses = [{"ip": pod.v4}, {"ip": pod.v6}]
    return {
        "metadata": {
            "name": pod.name,
            "namespace": pod.namespace,
            "uid": pod.uid,
            "labels": {"pod-template-hash": HASH, "app": pod.workload},
            "ownerReferences": [owner],
        },
        "spec": {"nodeName": pod.node.name, "hostNetwork": pod.host_network},
        "status": {"podIP": pod.v4, "podIPs": addresses, "phase": "Running"},
    }


def _node(node: Node) -> Object:
    return {
        "metadata": {
            "name": node.name,
            "labels": {
                "topology.kubernetes.io/region": p.REGION,
                "topology.kubernetes.io/zone": node.zone_name,
                "topology.k8s.aws/zone-id": node.zone_id,
            },
        },
        "spec": {
            "providerID": f"aws:///{node.zone_name}/i-0lab{node.number}",
            "podCIDRs": [node.pods_v4, node.pods_v6],
        },
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": node.v4},
                {"type": "InternalIP", "address": node.v6},
                {"type": "Hostname", "address": node.name},
            ]
        },
    }


def _service(service: Service) -> Object:
    return {
        "metadata": {"name": service.name, "namespace": service.namespace},
        "spec": {"clusterIP": service.v4, "clusterIPs": [service.v4, service.v6]},
    }


def _slice(service: Service, family: int) -> Object:
    return {
        "metadata": {
            "name": f"{service.name}-{family}",
            "namespace": service.namespace,
            "labels": {"kubernetes.io/service-name": service.name},
        },
        "addressType": f"IPv{family}",
        "endpoints": [
            {
                "addresses": [pod.address(family)],
                "nodeName": pod.node.name,
                "zone": pod.node.zone_name,
                "targetRef": {
                    "kind": "Pod",
                    "name": pod.name,
                    "namespace": pod.namespace,
                    "uid": pod.uid,
                },
            }
            for pod in service.backends
        ],
    }
